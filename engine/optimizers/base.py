"""The optimizer protocol: frozen configuration and, bound to matrices, a few in-place calls per step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from engine.types import Booleans, EngineError, Floats


@dataclass(frozen=True, eq=False)
class Matrices:
    """The matrices that one step reads and writes, each `(trials, parameters)`.

    Attributes:
        theta: the parameters, changed in place.
        grad: dL/dtheta with regularization; the step may overwrite it.
        slots: slot name → what the optimizer remembers, zero before the first step.
        scratch: free.
        regularized: `(parameters,)`: which are weights; biases and the like are never decayed.
    """

    theta: Floats
    grad: Floats
    slots: Mapping[str, Floats]
    scratch: Floats
    regularized: Booleans


class Optimizer(Protocol):
    """Configuration of one trial's optimizer; a frozen dataclass in the registry of `engine.optimizers`."""

    slots: ClassVar[tuple[str, ...]]

    @classmethod
    def bind(cls, trials: Sequence[Self], rates: Sequence[float], matrices: Matrices) -> Callable[[int], None]:
        """The step of trials that train together, for as long as their learning rates stay.

        Args:
            trials: one configuration a trial; what is not a number is the same in all.
            rates: one learning rate a trial.

        Returns:
            A function of the step's number, counted from 1 over the whole training.
        """
        ...


def check_decay(optimizer: str, **rates: float) -> None:
    """Decay rates lie in [0, 1).

    Raises:
        EngineError: naming the optimizer and the rate.
    """
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise EngineError(f"{optimizer}: {name} must be at least 0 and below 1, got {rate}")


def check_positive(optimizer: str, **values: float) -> None:
    """Check that divisors are above 0.

    Raises:
        EngineError: naming the optimizer and the value.
    """
    for name, value in values.items():
        if not value > 0:
            raise EngineError(f"{optimizer}: {name} must be above 0, got {value}")


def check_rate_inside(optimizer: str, classical: bool, rate_inside: bool) -> None:
    """The learning rate is inside the velocity in the classical form only.

    Raises:
        EngineError: naming the optimizer.
    """
    if rate_inside and not classical:
        raise EngineError(f"{optimizer}: rate_inside must be False unless classical is True, got {rate_inside}")
