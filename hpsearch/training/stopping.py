"""Stopping: which trials of a batch end after an epoch, and why."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from engine.training.state import State
from engine.training.stopping import EarlyStopping, Plateau, TargetReached
from engine.types import Booleans
from hpsearch.config.spec import Spec


class Verdict(NamedTuple):
    """The state of each trial of a batch after an epoch; every array is `(trials,)`.

    Attributes:
        continues: the trial is not at its last epoch, has not stopped and has not diverged.
        reached: the monitored metric has reached `train.stop.value`.
        diverged: a loss is not finite, or the trial ends without a finite value of the monitored metric.
    """

    continues: Booleans
    reached: Booleans
    diverged: Booleans


class Stopping(NamedTuple):
    """The rules that end the trials of a batch before or at their last epoch."""

    spec: Spec
    folds: int
    early: EarlyStopping
    target: TargetReached | None
    plateau: Plateau | None

    @classmethod
    def of(cls, spec: Spec, folds: int) -> "Stopping":
        """Return the stopping rules of a study file."""
        early, stop, every = spec.train.early_stopping, spec.train.stop, spec.train.check_every
        value = stop.value if stop else None
        return cls(
            spec,
            folds,
            EarlyStopping(early.patience * every, early.min_delta) if early else EarlyStopping(),
            None if value is None else TargetReached(spec.metric.sign * value),
            Plateau(stop.change, stop.checks) if stop and stop.change else None,
        )

    def update(self, state: State, scores: Mapping[str, np.ndarray]) -> Verdict:
        """Update the best weights in `state`, and return which trials continue.

        Args:
            state: one row for each fold of each trial.
            scores: name → `(trials,)`; all folds of a trial share its value and stop together.
        """
        values = np.repeat(self.spec.metric.sign * scores[self.spec.metric.monitored], self.folds)
        continues = self.early.update(state, values)
        reached = ~self.target.update(state, values) if self.target else np.zeros(len(state), dtype=np.bool_)
        if self.plateau:
            continues &= self.plateau.update(state, values)
        monitored = scores[self.spec.metric.monitored]
        losses = [scores[name] for name in ("train/loss", "val/loss") if name in scores] or [monitored]
        finite = np.logical_and.reduce([np.isfinite(loss) for loss in losses])
        continues = (continues & ~reached)[:: self.folds] & finite & (state.epoch < self.spec.train.epochs)
        diverged = ~finite | (~continues & (state.best_epoch[:: self.folds] == 0))
        return Verdict(continues, reached[:: self.folds], diverged)
