"""Defaults for a table: split, sizes of the network and the search, and the metric."""

import os
from typing import Any, NamedTuple

from hpsearch.core.text import format_percent
from hpsearch.data.dataset import Dataset
from hpsearch.data.profile import TableProfile
from hpsearch.data.splits import default_split

CROSS_VALIDATION_ROWS = 2000  # with fewer rows a validation part is too small, so the study is cross-validated
FOLDS = 5
IMBALANCED = 0.2  # share of the rarer of two classes, below which accuracy is misleading
ACCURACY_ROWS = 2000  # validation rows below which accuracy is too coarse
TRIALS_A_TRAINING = 3.2  # trials that a full training's worth of epochs is used for
WIDE_INPUTS = 500  # inputs above which wide layers would be slow


class StudySize(NamedTuple):
    """The size of a study.

    Attributes:
        batches, units: values to choose from.
        depth: largest number of hidden layers.
        coarse, fine: epochs of the two stages, in full trainings.
        parallel: number of virtual workers.
        duration: about how long the study takes on two cores, in words.
    """

    epochs: int
    batches: tuple[int, ...]
    units: tuple[int, ...]
    depth: int
    coarse: int
    fine: int
    parallel: int
    duration: str

    @property
    def first_rung(self) -> int:
        """The first rung of the coarse stage, in epochs."""
        return max(1, round(self.epochs / 25))

    @property
    def late_rungs(self) -> list[int]:
        """The rungs of the fine stage, in epochs."""
        return sorted({max(1, round(self.epochs / part)) for part in (8, 4, 2)})


def choose_split(profile: TableProfile) -> dict[str, Any]:
    """Return folds for a small table whose classes have enough rows for them, else fractions by the number of rows."""
    test = 0.0 if profile.test else default_split(profile.rows).test
    remaining = profile.rows * (1 - test)
    rarest = min(profile.classes.values(), default=profile.rows) * (1 - test)
    if remaining < CROSS_VALIDATION_ROWS and remaining >= 4 * FOLDS and rarest >= FOLDS + 1:
        return {"folds": FOLDS} if profile.test else {"folds": FOLDS, "test": test}
    chosen = default_split(profile.rows)
    if not profile.test:
        return {"train": chosen.train, "val": chosen.val, "test": chosen.test}
    val = {0.2: 0.2, 0.1: 0.1}.get(chosen.val, 0.01)
    return {"train": round(1 - val, 2), "val": val, "test": 0}


def choose_size(dataset: Dataset) -> StudySize:
    """Return the size of a study that takes minutes; the estimated duration is based on measurements."""
    rows, inputs = dict(dataset.rows)["train"], dataset.inputs[0]
    smallest = next((2**k for k in range(9, 4, -1) if 2**k <= rows / 64), 16)
    batches = [b for b in (smallest, 2 * smallest, 4 * smallest, 8 * smallest) if b <= rows] or [smallest]
    epochs = next(e for most, e in ((10_000, 60), (100_000, 30), (500_000, 12), (10**18, 6)) if rows <= most)
    units: tuple[int, ...] = (16, 32, 64) if inputs > WIDE_INPUTS else (16, 32, 64, 128)
    depth = 2 if rows < CROSS_VALIDATION_ROWS else 3
    passes = epochs * rows
    # Duration of one trial in about milliseconds: arithmetic, plus the overhead of the steps.
    load = passes * dataset.folds * (inputs + 2 * max(units)) / 1e6 + passes / smallest / 20
    coarse, fine = next(t for most, t in ((900, (5, 20)), (2000, (3, 12)), (1e18, (2, 8))) if load <= most)
    minutes = (5 + load * TRIALS_A_TRAINING * (coarse + fine) / 1000) / 60
    duration = "about a minute" if minutes < 1.75 else f"about {minutes:.0f} minutes" if minutes < 100 else "hours"
    parallel = 2 if (os.cpu_count() or 1) <= 2 else 4
    return StudySize(epochs, tuple(batches), units, depth, coarse, fine, parallel, duration)


def choose_metric(profile: TableProfile, dataset: Dataset) -> tuple[str, str]:
    """Return the metric and the reason for it."""
    if not profile.classes:
        return "val/rmse", "root mean squared error, in the units of the target; also val/mae, val/r2, val/loss"
    val = dict(dataset.rows)["val"] * dataset.folds
    share = format_percent(profile.rarest)
    imbalanced = profile.rarest * len(profile.classes) < 2 * IMBALANCED
    misleading = f"the rarest class has {share} of the rows, so accuracy is misleading"
    if imbalanced and profile.rarest * dict(dataset.rows)["val"] >= 3:
        if len(profile.classes) == 2:
            return "val/roc_auc", f"{misleading}; also val/f1, val/balanced_accuracy"
        return "val/balanced_accuracy", f"{misleading}; also val/f1, val/roc_auc"
    if imbalanced or val < ACCURACY_ROWS:
        step = format_percent(1 / val)
        return "val/loss", f"finer than accuracy, which has steps of {step} with {val:,} validation rows"
    return "val/accuracy", f"the rarest class has {share} of the rows; also val/loss, val/roc_auc, val/f1"
