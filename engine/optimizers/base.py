"""What an optimizer is: frozen configuration and, bound to matrices, a handful of in-place calls a step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from engine.types import EngineError, Floats


@dataclass(frozen=True, eq=False)
class Matrices:
    """What one step reads and writes, each `(trials, parameters)`.

    Attributes:
        theta: the parameters, changed in place.
        grad: dL/dtheta with regularization; the step may overwrite it.
        slots: slot name → what the optimizer remembers, zero before the first step.
        scratch: free.
    """

    theta: Floats
    grad: Floats
    slots: Mapping[str, Floats]
    scratch: Floats


class Optimizer(Protocol):
    """Configuration of one trial's optimizer; a frozen dataclass on the menu of `engine.optimizers`."""

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
