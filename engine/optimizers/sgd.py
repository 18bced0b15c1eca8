"""Stochastic gradient descent: w −= αg."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from engine.kernels.rules import UpdateKind, UpdateRule
from engine.optimizers.base import Matrices
from engine.types import column


@final
@dataclass(frozen=True)
class SGD:
    """w −= αg. Robbins and Monro 1951."""

    slots: ClassVar[tuple[str, ...]] = ()

    def update_rule(self, rate: float) -> UpdateRule:
        return UpdateRule(UpdateKind.SGD, (rate,))

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        theta, grad = matrices.theta, matrices.grad
        rate = column(rates, theta.dtype)

        def step(number: int) -> None:
            np.multiply(grad, rate, out=grad)
            np.subtract(theta, grad, out=theta)

        return step
