"""Stopping conditions: they determine which trials continue, and record the best weights."""

from dataclasses import dataclass
from typing import final

import numpy as np

from engine.training.state import State
from engine.types import Booleans, EngineError, Floats


@final
@dataclass(frozen=True)
class EarlyStopping:
    """End a trial after `patience` epochs without an improvement of more than `min_delta`. Prechelt 1998.

    With `patience=None`, no trial ends, and only the best weights are recorded.

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
        """Record the weights of trials that improved, in `state`; return which trials continue.

        Args:
            values: `(trials,)` after this epoch, lower is better; a value that is not finite is not an improvement.

        Returns:
            `(trials,)`: True for trials whose patience is not exhausted.
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
    """End a trial whose value is at most `value`."""

    value: float

    def update(self, state: State, values: Floats) -> Booleans:
        """Return which trials continue, `(trials,)`; values that are not finite never reach the target."""
        return ~(values <= self.value)


@final
@dataclass(frozen=True)
class Plateau:
    """End a trial whose value has changed by less than `change` in each of `checks` checks in a row.

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
        """Count small changes in `state`; return which trials continue, `(trials,)`."""
        with np.errstate(invalid="ignore"):  # inf − inf of a diverged trial
            small = np.abs(values - state.last_value) < self.change
        state.small_changes = np.where(small, state.small_changes + 1, 0)
        state.last_value = np.array(values, dtype=np.float64)
        return np.asarray(state.small_changes < self.checks)
