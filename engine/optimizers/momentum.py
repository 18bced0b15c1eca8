"""Momentum: the step follows a decaying average of the gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from engine.optimizers.base import Matrices, check_decay
from engine.types import column


@final
@dataclass(frozen=True)
class Momentum:
    """v = βv + (1−β)g; w −= αv: an exponentially weighted average, as in the texts on tuning.

    With `classical=True` v = βv + g (Polyak 1964; PyTorch's and scikit-learn's), whose α is 1−β times as large for the
    same path.

    Raises:
        EngineError: β outside [0, 1).
    """

    beta: float = 0.9
    classical: bool = False
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self) -> None:
        check_decay("momentum", beta=self.beta)

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        theta, grad, scratch, velocity = matrices.theta, matrices.grad, matrices.scratch, matrices.slots["velocity"]
        beta = column([t.beta for t in trials], theta.dtype)
        # The slot holds u = v / (1−β), so that u = βu + g in both forms, and (1−β) goes into the learning rate.
        shares = [1.0 if t.classical else 1 - t.beta for t in trials]
        rate = column([r * share for r, share in zip(rates, shares, strict=True)], theta.dtype)

        def step(number: int) -> None:
            np.multiply(velocity, beta, out=velocity)
            np.add(velocity, grad, out=velocity)
            np.multiply(velocity, rate, out=scratch)
            np.subtract(theta, scratch, out=theta)

        return step
