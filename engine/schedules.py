"""How the learning rate changes from epoch to epoch: a factor for α₀."""

from dataclasses import dataclass
from typing import Protocol, final

from engine.registry import Menu
from engine.types import EngineError


class Schedule(Protocol):
    """A factor for each epoch."""

    def factor(self, epoch: int) -> float:
        """α / α₀ in that epoch, counted from 0."""
        ...


@final
@dataclass(frozen=True)
class Constant:
    """α = α₀."""

    def factor(self, epoch: int) -> float:
        return 1.0


@final
@dataclass(frozen=True)
class InverseTime:
    """α = α₀ / (1 + d·epoch), with d the decay.

    Raises:
        EngineError: d below 0.
    """

    decay: float = 0.1

    def __post_init__(self) -> None:
        if not self.decay >= 0:
            raise EngineError(f"inverse_time: decay must be at least 0, got {self.decay}")

    def factor(self, epoch: int) -> float:
        return 1 / (1 + self.decay * epoch)


SCHEDULES: Menu[Schedule] = Menu(
    "schedule",
    {
        "constant": Constant,
        "inverse_time": InverseTime,
    },
)
