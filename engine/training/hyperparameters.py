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
    """A switch to another optimizer, with new optimizer state ("Adam first, then SGD"). Keskar and Socher 2017.

    The schedule continues across the switch.

    Attributes:
        epoch: number of epochs with the first optimizer.
        optimizer: the second optimizer.
        learning_rate: α₀ of the second optimizer; None for the first optimizer's.

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
    """Hyperparameters of one trial; see `kind` for the differences that trials trained together may have.

    Attributes:
        optimizer: the optimizer.
        learning_rate: α₀, before the schedule.
        batch_size: rows per step; the rows left over at the end of an epoch form a smaller batch.
        l2: λ; adds λ/2 · Σw² over the weights to the minimized loss.
        schedule: schedule of the learning rate, per epoch.
        l1: λ₁; adds λ₁ · Σ|w| over the weights to the minimized loss.
        divide_by_batch: divide λ and λ₁ by the rows of the batch m, for the convention (λ/2m)·Σw².
        clip: clipping of the gradient, including the regularizers; None for no clipping.
        label_smoothing: s; targets of k classes are (1 − s)y + s/k in training. Szegedy et al. 2016, section 7.
        augment: augmentations of the rows of each batch, in this order.
        row_sampling: the rows of an epoch and their order.
        switch: a switch to another optimizer; None for no switch.

    Raises:
        EngineError: a number outside its range.
    """

    optimizer: Optimizer = field(default_factory=SGD)
    learning_rate: float = 0.01
    batch_size: int = 32
    l2: float = 0.0
    schedule: Schedule = field(default_factory=Constant)
    l1: float = 0.0
    divide_by_batch: bool = False
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
        """Names of the state matrices of all its optimizers."""
        later = self.switch.optimizer.slots if self.switch else ()
        return tuple(dict.fromkeys((*self.optimizer.slots, *later)))

    @property
    def kind(self) -> tuple[object, ...]:
        """Settings that must be equal for trials to train together.

        Learning rates, schedules and other numbers may differ, but trials with and without a penalty or smoothing
        cannot train together.
        """
        later = self.switch
        return (
            self.batch_size,
            _kind(self.optimizer),
            type(self.clip),
            (bool(self.l2), bool(self.l1), self.divide_by_batch, bool(self.label_smoothing)),
            self.augment,
            self.row_sampling,
            (later.epoch, _kind(later.optimizer)) if later else None,
        )


def _kind(optimizer: Optimizer) -> tuple[object, ...]:
    """Return an optimizer's class and its Boolean settings; other settings may differ."""
    return (type(optimizer), *(value for value in vars(optimizer).values() if isinstance(value, bool)))
