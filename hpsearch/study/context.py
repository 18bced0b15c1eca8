"""The parts of a running study, and the state that its stages share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, final

from hpsearch.config.spec import Spec
from hpsearch.core.space import Box, Space
from hpsearch.data.dataset import Dataset
from hpsearch.search.champion import find_champion
from hpsearch.storage.records import StoredEnsemble, Trial, TrialKey
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.tracking.base import Tracker
from hpsearch.training.executors.base import Executor
from hpsearch.training.task import NO_CODE, TrainingCode


class StudyContext(NamedTuple):
    """The parts of a running study; none is replaced while it runs.

    Attributes:
        space: the search space of `spec`.
        stop: called between steps; when it returns True, finished work is stored and `Interrupted` is raised.
        code: the files that train, unless the engine does.
    """

    spec: Spec
    space: Space
    dataset: Dataset
    storage: StudyDatabase
    executor: Executor
    tracker: Tracker
    stop: Callable[[], bool] = lambda: False
    code: TrainingCode = NO_CODE


@final
@dataclass
class StudyState:
    """The state that the stages of a running study share.

    Attributes:
        totals: planned trials of each stage.
        transferred: finished trials of the parent study, when this study is a fork.
        kept: trials whose weights the database holds.
        trials: trials of each stage that has begun, by number.
        boxes: box of each stage that has begun.
        notes: messages for the user that have not been reported yet.
        ensemble: the stored ensemble.
    """

    spec: Spec
    totals: list[int]
    transferred: list[Trial]
    kept: set[TrialKey]
    trials: list[list[Trial]] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ensemble: StoredEnsemble | None = None

    @property
    def champion(self) -> Trial | None:
        """The champion so far."""
        return find_champion(self.spec, self.trials)
