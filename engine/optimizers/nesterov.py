"""Nesterov's momentum: the gradient counts where the velocity is about to lead."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from engine.optimizers.base import Matrices, check_decay, check_rate_inside
from engine.types import column


@final
@dataclass(frozen=True)
class Nesterov:
    """v = βv + (1−β)g; w −= α(βv + (1−β)g). Sutskever et al. 2013, equations 3 and 4, at the point looked ahead to.

    The weights are that point, w = θ + βv in the paper's letters, so that g = ∇f(w) is already looked ahead, and βv
    beside g moves on to the next such point: nothing looks ahead twice.

    With `classical=True` v = βv + g; w −= α(βv + g) (PyTorch's), whose α is 1−β times as large for the same path.
    With `rate_inside=True` as well v = βv + αg; w −= βv + αg (scikit-learn's and Keras'): the same path for as long as
    α stays, but when it falls the velocity continues at the old rate.

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

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        theta, grad, velocity = matrices.theta, matrices.grad, matrices.slots["velocity"]
        beta = column([t.beta for t in trials], theta.dtype)
        # The slot holds βu, which this step adds and the next one needs, where u = v / (1−β), so that u = βu + g in
        # both forms, and (1−β) goes into the learning rate, which scales what goes into the velocity or what comes out.
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
