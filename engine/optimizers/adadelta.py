"""AdaDelta: RMSProp with the average size of its own steps as the learning rate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np

from engine.kernels.rules import UpdateKind, UpdateRule
from engine.optimizers.base import Matrices, check_decay, check_positive
from engine.types import column


@final
@dataclass(frozen=True)
class Adadelta:
    """S = ρS + (1−ρ)g²; d = g √(D + ε) / √(S + ε); D = ρD + (1−ρ)d²; w −= d. Zeiler 2012, algorithm 1.

    There is no α: the learning rate and its schedule are ignored, as in PyTorch at a learning rate of 1. Each weight's
    first step is about √(ε / (1−ρ)). The defaults of ρ and ε are those of the paper's section 4.1.

    Raises:
        EngineError: ρ outside [0, 1), ε not above 0.
    """

    rho: float = 0.95
    epsilon: float = 1e-6
    slots: ClassVar[tuple[str, ...]] = ("square", "moved")

    def __post_init__(self) -> None:
        check_decay("adadelta", rho=self.rho)
        check_positive("adadelta", epsilon=self.epsilon)

    def update_rule(self, rate: float) -> UpdateRule:
        return UpdateRule(UpdateKind.ADADELTA, (self.rho, self.epsilon / (1 - self.rho)))

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        theta, grad, scratch = matrices.theta, matrices.grad, matrices.scratch
        square, moved = matrices.slots["square"], matrices.slots["moved"]
        numerator = np.empty_like(theta)
        rho = column([t.rho for t in trials], theta.dtype)
        # The slots hold S / (1−ρ) and D / (1−ρ), which saves two calls; 1−ρ cancels if ε is divided by it too.
        epsilon = column([t.epsilon / (1 - t.rho) for t in trials], theta.dtype)

        def step(number: int) -> None:
            np.multiply(square, rho, out=square)
            np.multiply(grad, grad, out=scratch)
            np.add(square, scratch, out=square)
            np.add(square, epsilon, out=scratch)
            np.add(moved, epsilon, out=numerator)
            np.divide(numerator, scratch, out=scratch)
            np.sqrt(scratch, out=scratch)
            np.multiply(grad, scratch, out=grad)  # d
            np.multiply(moved, rho, out=moved)
            np.multiply(grad, grad, out=scratch)
            np.add(moved, scratch, out=moved)
            np.subtract(theta, grad, out=theta)

        return step
