"""Nesterov momentum: the gradient is taken at the look-ahead point of the velocity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from engine.kernels.rules import UpdateKind, UpdateRule
from engine.optimizers.base import Matrices, check_decay, check_rate_inside
from engine.types import column


@final
@dataclass(frozen=True)
class Nesterov:
    """v = βv + (1−β)g; w −= α(βv + (1−β)g). Sutskever et al. 2013, equations 3 and 4, in look-ahead form.

    The weights are the look-ahead point, w = θ + βv in the paper's notation, so g = ∇f(w) is the look-ahead gradient,
    and the step by βv and g leads to the next look-ahead point.

    With `classical=True`: v = βv + g; w −= α(βv + g), as in PyTorch; the path is the same for 1−β times the α. With
    `rate_inside=True` in addition: v = βv + αg; w −= βv + αg, as in scikit-learn and Keras; the path is the same while
    α is constant, but when α falls, the velocity keeps the old rate.

    Raises:
        EngineError: β outside [0, 1), `rate_inside` without `classical`.
    """

    beta: float = 0.9
    classical: bool = False
    rate_inside: bool = False
    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self) -> None:
        check_decay("nesterov", beta=self.beta)
        check_rate_inside("nesterov", self.classical, self.rate_inside)

    def update_rule(self, rate: float) -> UpdateRule:
        scaled = rate if self.classical else rate * (1 - self.beta)
        inside, outside = (scaled, 1.0) if self.rate_inside else (1.0, scaled)
        return UpdateRule(UpdateKind.NESTEROV, (self.beta, inside, outside))

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        theta, grad, velocity = matrices.theta, matrices.grad, matrices.slots["velocity"]
        beta = column([t.beta for t in trials], theta.dtype)
        # The slot holds βu, with u = v / (1−β), so that u = βu + g in both forms. The factor 1−β is part of the
        # learning rate, which scales either the gradient before the velocity or the step after it.
        shares = [1.0 if t.classical else 1 - t.beta for t in trials]
        scaled = [r * share for r, share in zip(rates, shares, strict=True)]
        inside = column([r if t.rate_inside else 1.0 for r, t in zip(scaled, trials, strict=True)], theta.dtype)
        outside = column([1.0 if t.rate_inside else r for r, t in zip(scaled, trials, strict=True)], theta.dtype)
        some_inside = any(t.rate_inside for t in trials)

        def step(number: int) -> None:
            if some_inside:
                np.multiply(grad, inside, out=grad)
            np.add(velocity, grad, out=velocity)
            np.multiply(velocity, beta, out=velocity)
            np.add(grad, velocity, out=grad)
            np.multiply(grad, outside, out=grad)
            np.subtract(theta, grad, out=theta)

        return step
