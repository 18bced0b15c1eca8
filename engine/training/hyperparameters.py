"""Hyperparameters of one trial."""

from dataclasses import dataclass, field
from typing import final

from engine.data.augmentation import Augmentation
from engine.data.row_sampling import RowSampling, Shuffle
from engine.optimizers import SGD, Optimizer
from engine.training.clipping import Clip
from engine.training.schedules import Constant, Schedule
from engine.types import EngineError


@final
@dataclass(frozen=True)
class Switch:
    """Another optimizer from an epoch on ("Adam first, then SGD"), which begins afresh.

    Keskar and Socher 2017. The schedule continues over both.

    Attributes:
        epoch: how many epochs the first one gets.
        learning_rate: α₀ of the second; None for that of the first.

    Raises:
        EngineError: an epoch below 1, a learning rate below 0.
    """

    epoch: int
    optimizer: Optimizer
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if self.epoch < 1:
            raise EngineError(f"switch: epoch must be at least 1, got {self.epoch}")
        if self.learning_rate is not None and not self.learning_rate >= 0:
            raise EngineError(f"switch: learning_rate must be at least 0, got {self.learning_rate}")


@final
@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of one trial. Trials that train together may differ in all numbers except the batch size.

    A penalty or a smoothing of 0 is none, and trials with and without one train apart.

    Attributes:
        optimizer: its numbers may differ, its kind may not.
        learning_rate: α₀, before the schedule.
        batch_size: rows a step; the rows left over at the end of an epoch are a smaller batch.
        l2: λ; adds λ/2 · Σw² over the weights to what is minimized, not divided by the batch size.
        schedule: of the learning rate, by epochs.
        l1: λ₁; adds λ₁ · Σ|w| over the weights.
        by_batch: divides λ and λ₁ by the rows of the batch, as texts do that write (λ/2m)·Σw².
        clip: of the gradient, regularizers included.
        label_smoothing: s; targets of k classes are (1 − s)y + s/k while training. Szegedy et al. 2016, section 7.
        augment: what is done to the rows of every batch, in this order.
        draw: which rows an epoch takes, in which order.
        switch: to another optimizer.

    Raises:
        EngineError: a number outside of its range.
    """

    optimizer: Optimizer = field(default_factory=SGD)
    learning_rate: float = 0.01
    batch_size: int = 32
    l2: float = 0.0
    schedule: Schedule = field(default_factory=Constant)
    l1: float = 0.0
    by_batch: bool = False
    clip: Clip | None = None
    label_smoothing: float = 0.0
    augment: tuple[Augmentation, ...] = ()
    row_sampling: RowSampling = field(default_factory=Shuffle)
    switch: Switch | None = None

    def __post_init__(self) -> None:
        for name in ("learning_rate", "l2", "l1"):
            if not getattr(self, name) >= 0:
                raise EngineError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.batch_size < 1:
            raise EngineError(f"batch_size must be at least 1, got {self.batch_size}")
        if not 0 <= self.label_smoothing < 1:
            raise EngineError(f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing}")

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of what its optimizers remember."""
        later = self.switch.optimizer.slots if self.switch else ()
        return tuple(dict.fromkeys((*self.optimizer.slots, *later)))

    @property
    def kind(self) -> tuple[object, ...]:
        """Everything that must be equal for trials to train together."""
        later = self.switch
        return (
            self.batch_size,
            _kind(self.optimizer),
            type(self.clip),
            (bool(self.l2), bool(self.l1), self.by_batch, bool(self.label_smoothing)),
            self.augment,
            self.row_sampling,
            (later.epoch, _kind(later.optimizer)) if later else None,
        )


def _kind(optimizer: Optimizer) -> tuple[object, ...]:
    """An optimizer's class and its switches; numbers may differ."""
    return (type(optimizer), *(value for value in vars(optimizer).values() if isinstance(value, bool)))
