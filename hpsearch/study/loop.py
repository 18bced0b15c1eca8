"""The loop over the stages of a study: each runs to its end, then the champion and the ensemble are scored on the test
rows.

Resuming runs the same loop: what is complete in the database is not trained again.
"""

from collections.abc import Iterator
from typing import final

from hpsearch.config.spec import Spec
from hpsearch.core.space import Box, Space
from hpsearch.errors import Halted, Interrupted
from hpsearch.search.schedule.limits import planned_trials
from hpsearch.storage.records import PRIOR, StoredEnsemble, Trial
from hpsearch.study.champion import score_champion
from hpsearch.study.context import StudyContext, StudyState
from hpsearch.study.ending.ensemble import score_ensemble
from hpsearch.study.progress import StudyProgress
from hpsearch.study.stages.run import StageRun


@final
class Study:
    """One study on one database."""

    def __init__(self, context: StudyContext) -> None:
        self._context = context
        spec, space, storage = context.spec, context.space, context.storage
        transferred = storage.trials.load(PRIOR, space)
        totals = [planned_trials(spec, number) for number in range(len(spec.stages))]
        self._state = StudyState(spec, totals, transferred, storage.weights.keys(), ensemble=storage.ensemble.find())

    @property
    def spec(self) -> Spec:
        return self._context.spec

    @property
    def space(self) -> Space:
        return self._context.space

    @property
    def transferred(self) -> list[Trial]:
        """Finished trials of the parent study, when this study is a fork."""
        return self._state.transferred

    @property
    def trials(self) -> list[list[Trial]]:
        """Trials of each stage that has begun, by number."""
        return self._state.trials

    @property
    def boxes(self) -> list[Box]:
        """Box of each stage that has begun."""
        return self._state.boxes

    @property
    def totals(self) -> list[int]:
        """Planned trials of each stage."""
        return self._state.totals

    @property
    def ensemble(self) -> StoredEnsemble | None:
        """The ensemble, once it is selected."""
        return self._state.ensemble if self.spec.ensemble else None

    @property
    def best(self) -> Trial | None:
        """The champion so far."""
        return self._state.champion

    def run(self) -> Iterator[StudyProgress]:
        """Train all missing trials, then score the champion and the ensemble on the test rows.

        Raises:
            Interrupted: `stop` returned True; finished trials are stored.
            Halted: the study cannot continue; finished trials are stored.
            StorageError: the database cannot be written any more.
        """
        unmirrored: list[StageRun] = []  # stages that have ended
        imports = self._context.storage.mirror.imports
        for number in range(len(self.spec.stages)):
            stage_run = StageRun(self._context, self._state, number)
            try:
                for finished in stage_run.run():
                    yield self._progress(finished, stage_run.unfinished, stage_run.paused)
                    imports.start()
                    # While the workers train the trials of this stage.
                    if unmirrored and imports.done and unmirrored[0].mirror():
                        unmirrored.pop(0)
            except (Interrupted, Halted):
                stage_run.save_collected(0)
                raise
            unmirrored.append(stage_run)
        score_champion(self._context, self._state)
        score_ensemble(self._context, self._state)
        yield self._progress(())
        imports.wait()
        while unmirrored:
            if unmirrored[0].mirror():
                unmirrored.pop(0)

    def progress(self, notes: tuple[str, ...]) -> StudyProgress:
        """Return the progress of a study whose trials have ended, with messages for the user."""
        self._state.notes += notes
        return self._progress(())

    def _progress(self, finished: tuple[Trial, ...], unfinished: float = 0.0, paused: int = 0) -> StudyProgress:
        notes, self._state.notes = self._state.notes, []
        return StudyProgress.of(self.spec, self.trials, self.totals, self.best, finished, notes, unfinished, paused)
