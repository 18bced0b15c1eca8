"""AdamW: Adam with decoupled weight decay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from engine.kernels.rules import UpdateKind, UpdateRule
from engine.optimizers.adam import Adam
from engine.optimizers.base import Matrices, check_decay, check_positive
from engine.types import EngineError, column


@final
@dataclass(frozen=True)
class AdamW:
    """w −= αλw, then Adam's step, with λ the weight decay. Loshchilov and Hutter 2019, algorithm 2.

    λ is multiplied by α, as in PyTorch; the paper multiplies it only by the schedule's factor. Weights decay, biases do
    not. An L2 penalty differs from weight decay: its gradient is part of Adam's averages.

    Raises:
        EngineError: β₁ or β₂ outside [0, 1), ε not above 0, λ below 0.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    slots: ClassVar[tuple[str, ...]] = Adam.slots

    def __post_init__(self) -> None:
        check_decay("adamw", beta1=self.beta1, beta2=self.beta2)
        check_positive("adamw", epsilon=self.epsilon)
        if not self.weight_decay >= 0:
            raise EngineError(f"adamw: weight_decay must be at least 0, got {self.weight_decay}")

    def update_rule(self, rate: float) -> UpdateRule:
        numbers = (rate, self.beta1, self.beta2, self.epsilon)
        return UpdateRule(UpdateKind.ADAM, numbers, kept=1 - rate * self.weight_decay)

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        theta = matrices.theta
        adam = Adam.bind([Adam(t.beta1, t.beta2, t.epsilon) for t in trials], rates, matrices)
        kept = column([1 - r * t.weight_decay for r, t in zip(rates, trials, strict=True)], theta.dtype)
        kept = np.where(matrices.regularized, kept, theta.dtype.type(1))

        def step(number: int) -> None:
            np.multiply(theta, kept, out=theta)
            adam(number)

        return step
