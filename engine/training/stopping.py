"""Conditions for stopping: who goes on, and which weights were the best."""

from dataclasses import dataclass
from typing import final

import numpy as np

from engine.training.state import State
from engine.types import Booleans, EngineError, Floats


@final
@dataclass(frozen=True)
class EarlyStopping:
    """Ends a trial after `patience` epochs without an improvement of more than `min_delta`. Prechelt 1998.

    With `patience=None` nobody is ended and the best weights are remembered all the same.

    Raises:
        EngineError: patience below 1, min_delta below 0.
    """

    patience: int | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise EngineError(f"early stopping: patience must be at least 1, got {self.patience}")
        if not self.min_delta >= 0:
            raise EngineError(f"early stopping: min_delta must be at least 0, got {self.min_delta}")

    def update(self, state: State, values: Floats) -> Booleans:
        """Remembers the weights of those that improved, in `state`, and says who goes on.

        Args:
            values: `(trials,)` after this epoch, lower is better; one that is not finite improves nothing.

        Returns:
            `(trials,)`: True for those whose patience is not used up.
        """
        better = np.isfinite(values) & (values < state.best_value - self.min_delta)
        state.best_theta[better] = state.theta[better]
        state.best_value[better] = values[better]
        state.best_epoch[better] = state.epoch
        if self.patience is None:
            return np.ones(len(state), dtype=np.bool_)
        return np.asarray(state.epoch - state.best_epoch < self.patience)


@final
@dataclass(frozen=True)
class TargetReached:
    """Ends a trial whose value is at most `value`."""

    value: float

    def update(self, state: State, values: Floats) -> Booleans:
        """Who goes on, `(trials,)`; a value that is not finite has reached nothing."""
        return ~(values <= self.value)


@final
@dataclass(frozen=True)
class Plateau:
    """Ends a trial whose value has changed by less than `change` in each of `checks` checks in a row.

    Raises:
        EngineError: a change not above 0, checks below 1.
    """

    change: float
    checks: int = 1

    def __post_init__(self) -> None:
        if not self.change > 0:
            raise EngineError(f"stop: change must be above 0, got {self.change}")
        if self.checks < 1:
            raise EngineError(f"stop: checks must be at least 1, got {self.checks}")

    def update(self, state: State, values: Floats) -> Booleans:
        """Counts in `state`, and says who goes on, `(trials,)`."""
        with np.errstate(invalid="ignore"):  # inf − inf of a diverged trial
            little = np.abs(values - state.last_value) < self.change
        state.calm = np.where(little, state.calm + 1, 0)
        state.last_value = np.array(values, dtype=np.float64)
        return np.asarray(state.calm < self.checks)
