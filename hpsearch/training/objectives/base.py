"""The base of objectives: what trains a trial."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.training.task import Outcome, Task, TrainingCode, TrialResult, TrialTask


class Objective(Protocol):
    """Trains trials. It has no state: all that a worker needs is in the task."""

    def settle(self, spec: Spec, dataset: Dataset, code: TrainingCode) -> tuple[Spec, list[str]]:
        """Check that every trial can be trained; return the spec to store, and messages for the user.

        Raises:
            HpsearchError: the model or the code does not fit the study.
        """
        ...

    def group(
        self, spec: Spec, dataset: Dataset, trials: Sequence[TrialTask], workers: int
    ) -> list[tuple[TrialTask, ...]]:
        """Return groups of trials that train together, the longest first. Grouping affects no result."""
        ...

    def advance(self, task: Task) -> Outcome:
        """Train a task's trials up to its epoch or its time limit.

        Raises:
            Exception: training failed. The trial at fault has failed, unless a resource of the machine has run out.
        """
        ...

    def check_checkpoint(self, spec: Spec, dataset: Dataset, point: Point, partial: TrialResult) -> None:
        """Check that a trial can be resumed from a checkpoint.

        Raises:
            EngineError: it is damaged, or that of another epoch.
        """
        ...

    def is_whole(self, spec: Spec, dataset: Dataset, point: Point, weights: bytes) -> bool:
        """Return whether stored weights are those of a trial of this study."""
        ...

    def final_scores(
        self, spec: Spec, dataset: Dataset, point: Point, weights: bytes, metrics: Mapping[str, float]
    ) -> dict[str, float]:
        """Return the scores of a finished trial on the test rows (`test/…`) and on the training rows (`fit/…`).

        Args:
            metrics: its metrics at the best epoch.
        """
        ...
