"""AdaGrad: each weight's learning rate falls with the sum of its squared gradients so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from engine.kernels.rules import UpdateKind, UpdateRule
from engine.optimizers.base import Matrices, check_positive
from engine.types import column


@final
@dataclass(frozen=True)
class Adagrad:
    """S = S + g²; w −= αg / (√S + ε). Duchi et al. 2011, figure 1, with ε for δ.

    Raises:
        EngineError: ε not above 0.
    """

    epsilon: float = 1e-10
    slots: ClassVar[tuple[str, ...]] = ("square",)

    def __post_init__(self) -> None:
        check_positive("adagrad", epsilon=self.epsilon)

    def update_rule(self, rate: float) -> UpdateRule:
        return UpdateRule(UpdateKind.ADAGRAD, (rate, self.epsilon))

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        theta, grad, scratch, square = matrices.theta, matrices.grad, matrices.scratch, matrices.slots["square"]
        epsilon = column([t.epsilon for t in trials], theta.dtype)
        rate = column(rates, theta.dtype)

        def step(number: int) -> None:
            np.multiply(grad, grad, out=scratch)
            np.add(square, scratch, out=square)
            np.sqrt(square, out=scratch)
            np.add(scratch, epsilon, out=scratch)
            np.divide(grad, scratch, out=grad)
            np.multiply(grad, rate, out=grad)
            np.subtract(theta, grad, out=theta)

        return step
