"""Progress reports of a running study, and the exception for a study that cannot continue."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

from hpsearch.config.spec import Spec
from hpsearch.core.resources import exhausted_resource
from hpsearch.errors import Halted, HpsearchError
from hpsearch.storage.records import FINISHED, Trial


@contextlib.contextmanager
def halting_on_shortage() -> Iterator[None]:
    """Translate the exceptions of a machine without memory, open files or disk space.

    Raises:
        Halted: replaces each of them, except for those that name the file that cannot be read or written.
    """
    try:
        yield
    except (HpsearchError, Halted):
        raise
    except Exception as error:
        reason = exhausted_resource(error)
        if reason is None:
            raise
        raise Halted(reason) from error


class Workload(NamedTuple):
    """The work of a study, trained and planned.

    Attributes:
        trials: trials of each stage that has begun, by number.
        totals: planned trials of each stage.
        unfinished: seconds that running trials have trained, if their own `seconds` do not have them.
        paused: running trials of the current stage that wait at a rung; most of them will not continue.
    """

    spec: Spec
    trials: Sequence[Sequence[Trial]]
    totals: Sequence[int]
    unfinished: float = 0.0
    paused: int = 0

    @property
    def done(self) -> float:
        """Seconds of training so far."""
        return sum(t.seconds for stage in self.trials for t in stage) + self.unfinished


class StudyProgress(NamedTuple):
    """The progress of a study.

    Attributes:
        stage: name of the current stage.
        stage_number: its number, from 1.
        stages: number of stages.
        finished: finished trials of the whole study, including pruned, diverged and failed ones.
        pruned, diverged, failed, running: trials of the whole study in each state, without those that are paused.
        paused: trials that wait at a rung.
        total: planned trials of all stages.
        best: the best trial so far.
        news: trials that have finished since the last report.
        notes: messages for the user, each reported once.
        workload: what is trained and planned, for an estimate of the time left.
    """

    stage: str
    stage_number: int
    stages: int
    finished: int
    pruned: int
    diverged: int
    failed: int
    running: int
    total: int
    best: Trial | None
    news: tuple[Trial, ...]
    notes: tuple[str, ...] = ()
    workload: Workload | None = None
    paused: int = 0

    @classmethod
    def of(
        cls,
        spec: Spec,
        trials: Sequence[Sequence[Trial]],
        totals: Sequence[int],
        best: Trial | None,
        news: Sequence[Trial],
        notes: Sequence[str] = (),
        unfinished: float = 0.0,
        paused: int = 0,
    ) -> Self:
        """Return the progress of a study.

        Args:
            trials: all trials of each stage that has begun; the last of them is the current stage.
            totals: planned trials of each stage.
            unfinished: seconds that running trials have trained, if their own `seconds` do not have them.
            paused: trials of the current stage that wait at a rung.
        """
        states = Counter(t.state for stage in trials for t in stage)
        number = max(1, len(trials))
        return cls(
            stage=spec.stages[number - 1].name,
            stage_number=number,
            stages=len(spec.stages),
            finished=sum(states[state] for state in FINISHED),
            pruned=states["pruned"],
            diverged=states["diverged"],
            failed=states["failed"],
            running=states["running"] - paused,
            total=sum(totals),
            best=best,
            news=tuple(news),
            notes=tuple(notes),
            workload=Workload(spec, trials, totals, unfinished, paused),
            paused=paused,
        )
