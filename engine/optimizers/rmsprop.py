"""RMSProp: the gradient divided by the root of its average square."""

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
class RMSprop:
    """S = βS + (1−β)g²; w −= αg / (√S + ε). Tieleman and Hinton 2012, lecture 6e, whose β is 0.9.

    S starts at zero without a correction, so each weight's first step is about α/√(1−β).

    Raises:
        EngineError: β outside [0, 1), ε not above 0.
    """

    beta: float = 0.9
    epsilon: float = 1e-8
    slots: ClassVar[tuple[str, ...]] = ("square",)

    def __post_init__(self) -> None:
        check_decay("rmsprop", beta=self.beta)
        check_positive("rmsprop", epsilon=self.epsilon)

    def update_rule(self, rate: float) -> UpdateRule:
        root = sqrt(1 - self.beta)
        return UpdateRule(UpdateKind.RMSPROP, (rate / root, self.beta, self.epsilon / root))

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        theta, grad, scratch, square = matrices.theta, matrices.grad, matrices.scratch, matrices.slots["square"]
        beta = column([t.beta for t in trials], theta.dtype)
        # The slot holds S / (1−β), which saves a call; numerator and denominator are divided by √(1−β).
        roots = [sqrt(1 - t.beta) for t in trials]
        rate = column([r / root for r, root in zip(rates, roots, strict=True)], theta.dtype)
        epsilon = column([t.epsilon / root for t, root in zip(trials, roots, strict=True)], theta.dtype)

        def step(number: int) -> None:
            np.multiply(square, beta, out=square)
            np.multiply(grad, grad, out=scratch)
            np.add(square, scratch, out=square)
            np.sqrt(square, out=scratch)
            np.add(scratch, epsilon, out=scratch)
            np.divide(grad, scratch, out=grad)
            np.multiply(grad, rate, out=grad)
            np.subtract(theta, grad, out=theta)

        return step
