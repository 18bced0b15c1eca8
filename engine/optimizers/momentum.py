"""Momentum: the step follows a decaying average of the gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from engine.kernels.rules import UpdateKind, UpdateRule
from engine.optimizers.base import Matrices, check_decay, check_rate_inside
from engine.types import column


@final
@dataclass(frozen=True)
class Momentum:
    """v = βv + (1−β)g; w −= αv: v is an exponentially weighted average of the gradients.

    With `classical=True`: v = βv + g (Polyak 1964), as in PyTorch; the path is the same for 1−β times the α. With
    `rate_inside=True` in addition: v = βv + αg; w −= v, as in scikit-learn and Keras; the path is the same while α is
    constant, but when α falls, the velocity keeps the old rate.

    Raises:
        EngineError: β outside [0, 1), `rate_inside` without `classical`.
    """

    beta: float = 0.9
    classical: bool = False
    rate_inside: bool = False
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self) -> None:
        check_decay("momentum", beta=self.beta)
        check_rate_inside("momentum", self.classical, self.rate_inside)

    def update_rule(self, rate: float) -> UpdateRule:
        scaled = rate if self.classical else rate * (1 - self.beta)
        inside, outside = (scaled, 1.0) if self.rate_inside else (1.0, scaled)
        return UpdateRule(UpdateKind.MOMENTUM, (self.beta, inside, outside))

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        theta, grad, scratch, velocity = matrices.theta, matrices.grad, matrices.scratch, matrices.slots["velocity"]
        beta = column([t.beta for t in trials], theta.dtype)
        # The slot holds u = v / (1−β), so that u = βu + g in both forms. The factor 1−β is part of the learning rate,
        # which scales either the gradient before the velocity or the step after it.
        shares = [1.0 if t.classical else 1 - t.beta for t in trials]
        scaled = [r * share for r, share in zip(rates, shares, strict=True)]
        inside = column([r if t.rate_inside else 1.0 for r, t in zip(scaled, trials, strict=True)], theta.dtype)
        outside = column([1.0 if t.rate_inside else r for r, t in zip(scaled, trials, strict=True)], theta.dtype)
        some_inside = any(t.rate_inside for t in trials)

        def step(number: int) -> None:
            if some_inside:
                np.multiply(grad, inside, out=grad)
            np.multiply(velocity, beta, out=velocity)
            np.add(velocity, grad, out=velocity)
            np.multiply(velocity, outside, out=scratch)
            np.subtract(theta, scratch, out=theta)

        return step
