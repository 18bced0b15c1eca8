"""Adam: momentum divided by the root of the average squared gradient, both corrected for their start at zero."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Self, final

import numpy as np

from engine.kernels.rules import UpdateKind, UpdateRule
from engine.optimizers.base import Matrices, check_decay, check_positive
from engine.types import column


@final
@dataclass(frozen=True)
class Adam:
    """m = β₁m + (1−β₁)g; s = β₂s + (1−β₂)g²; w −= α m̂ / (√ŝ + ε). Kingma and Ba 2015, algorithm 1.

    Raises:
        EngineError: β₁ or β₂ outside [0, 1), ε not above 0.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    def __post_init__(self) -> None:
        check_decay("adam", beta1=self.beta1, beta2=self.beta2)
        check_positive("adam", epsilon=self.epsilon)

    def update_rule(self, rate: float) -> UpdateRule:
        return UpdateRule(UpdateKind.ADAM, (rate, self.beta1, self.beta2, self.epsilon))

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        theta, grad, scratch = matrices.theta, matrices.grad, matrices.scratch
        mean, square = matrices.slots["mean"], matrices.slots["square"]
        dtype = theta.dtype
        beta1 = column([t.beta1 for t in trials], dtype)
        beta2 = column([t.beta2 for t in trials], dtype)

        def step(number: int) -> None:
            # The slots hold m / (1−β₁) and s / (1−β₂), which saves two calls. Both factors and the corrections
            # 1/(1−β₁ᵗ) and 1/(1−β₂ᵗ) are combined into a factor of the fraction and a term next to the root.
            corrections = [sqrt((1 - t.beta2**number) / (1 - t.beta2)) for t in trials]
            factor = column(
                [
                    r * (1 - t.beta1) / (1 - t.beta1**number) * c
                    for r, t, c in zip(rates, trials, corrections, strict=True)
                ],
                dtype,
            )
            epsilon = column([t.epsilon * c for t, c in zip(trials, corrections, strict=True)], dtype)
            np.multiply(mean, beta1, out=mean)
            np.add(mean, grad, out=mean)
            np.multiply(square, beta2, out=square)
            np.multiply(grad, grad, out=grad)
            np.add(square, grad, out=square)
            np.sqrt(square, out=scratch)
            np.add(scratch, epsilon, out=scratch)
            np.divide(mean, scratch, out=scratch)
            np.multiply(scratch, factor, out=scratch)
            np.subtract(theta, scratch, out=theta)

        return step
