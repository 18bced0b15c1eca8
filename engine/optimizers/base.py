"""The optimizer protocol: frozen configuration that, bound to matrices, makes a few in-place calls per step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from engine.types import Booleans, EngineError, Floats

if TYPE_CHECKING:
    from engine.kernels.rules import UpdateRule


@dataclass(frozen=True, eq=False)
class Matrices:
    """The matrices that one step reads and writes, each `(trials, parameters)`.

    Attributes:
        theta: the parameters, changed in place.
        grad: dL/dtheta with regularization; the step may overwrite it.
        slots: slot name → state matrix of the optimizer, zero before the first step.
        scratch: the step may overwrite it.
        regularized: mask of the weights, `(parameters,)`; other parameters are never decayed.
    """

    theta: Floats
    grad: Floats
    slots: Mapping[str, Floats]
    scratch: Floats
    regularized: Booleans


class Optimizer(Protocol):
    """Configuration of one trial's optimizer; a frozen dataclass in the registry of `engine.optimizers`."""

    slots: ClassVar[tuple[str, ...]]

    def update_rule(self, rate: float) -> "UpdateRule":
        """Return what the compiled kernel does in the steps of an epoch with this learning rate."""
        ...

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        """Return the step function of trials that train together, for constant learning rates.

        Args:
            trials: the configuration of each trial; Boolean settings are equal in all trials.
            rates: the learning rate of each trial.
            matrices: the matrices to read and write.

        Returns:
            A function of the step number, counted from 1 since the optimizer's first step.
        """
        ...


def check_decay(optimizer: str, **rates: float) -> None:
    """Check that decay rates are in [0, 1).

    Raises:
        EngineError: a rate is not; the message names the optimizer and the rate.
    """
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise EngineError(f"{optimizer}: {name} must be at least 0 and below 1, got {rate}")


def check_positive(owner: str, **values: float) -> None:
    """Check that settings of an optimizer or a schedule are above 0.

    Raises:
        EngineError: a value is not; the message names the owner and the value.
    """
    for name, value in values.items():
        if not value > 0:
            raise EngineError(f"{owner}: {name} must be above 0, got {value}")


def check_rate_inside(optimizer: str, classical: bool, rate_inside: bool) -> None:
    """Check that the learning rate is inside the velocity only in the classical form.

    Raises:
        EngineError: `rate_inside` is True without `classical`; the message names the optimizer.
    """
    if rate_inside and not classical:
        raise EngineError(f"{optimizer}: rate_inside must be False unless classical is True, got {rate_inside}")
