"""The training of a stage's trials: which epoch each should reach, its progress, and the tasks sent to workers."""

import math
from typing import TYPE_CHECKING, final

from engine.types import EngineError
from hpsearch.search.confirm import train_seed
from hpsearch.storage.records import Trial, with_result
from hpsearch.storage.trials import unreadable_result
from hpsearch.study.dispatcher import Dispatcher
from hpsearch.training.objectives import objective_of
from hpsearch.training.task import STATELESS, Task, TrialResult, TrialTask, resumed

if TYPE_CHECKING:
    from hpsearch.study.context import StudyContext, StudyState

TIME_SLICE = 30.0  # seconds of training after which a group returns to have its checkpoints stored
MAX_HELD = 100_000  # bytes of a checkpoint that is kept in memory; larger ones are read from the database


@final
class StageTraining:
    """Trains the trials of one stage as far as they are wanted.

    Args:
        number: index of the stage in `spec.stages`.
        trials: the trials of the stage, which the caller extends and updates.
    """

    def __init__(self, context: "StudyContext", state: "StudyState", number: int, trials: list[Trial]) -> None:
        self._context, self._state, self._trials = context, state, trials
        self._stage = context.spec.stages[number]
        self._objective = objective_of(context.spec)
        self.dispatcher = Dispatcher(context.executor, context.stop)
        self._wanted: dict[int, tuple[int, int]] = {}  # trial → epochs to reach, and priority
        stored = context.storage.trials.progress(self._stage.name)
        running = {n: r for n, r in stored.items() if n < len(trials) and trials[n].state == "running"}
        self._partial = {n: r if self._has_whole_curves(r) else unreadable_result(n) for n, r in running.items()}
        self._seen: dict[int, Trial] = {}  # running trials with their progress

    @property
    def unfinished(self) -> float:
        """Seconds that running trials have trained, as last stored."""
        return sum(result.seconds for result in self._partial.values())

    @property
    def partial(self) -> dict[int, TrialResult]:
        """The progress of running trials."""
        return self._partial

    def current(self, number: int) -> Trial:
        """Return a trial, with its progress if it runs."""
        trial = self._trials[number]
        if trial.state != "running" or number not in self._partial:
            return trial
        if number not in self._seen:
            self._seen[number] = with_result(trial, self._partial[number], 0.0)
        return self._seen[number]

    def update(self, result: TrialResult) -> None:
        """Keep the progress of a running trial, and forget that of a finished one."""
        self._seen.pop(result.number, None)
        self._partial.pop(result.number, None)
        if result.state == "running":
            held = result.checkpoint is not None and len(result.checkpoint) <= MAX_HELD
            self._partial[result.number] = result if held else result._replace(checkpoint=None)

    def want(self, number: int, epochs: int, priority: int = 0) -> None:
        """Have a trial trained up to an epoch; tasks with the lowest `priority` are submitted first."""
        self._wanted[number] = epochs, priority

    def send(self) -> None:
        """Queue the trials that are not trained as far as wanted, the longest groups first, and submit tasks."""
        spec, dataset = self._context.spec, self._context.dataset
        groups: dict[tuple[int, int], list[TrialTask]] = {}  # by priority and epochs
        for number, (epochs, priority) in list(self._wanted.items()):
            trial = self.current(number)
            if trial.state != "running" or trial.epochs >= epochs:
                del self._wanted[number]
            elif not self.dispatcher.in_flight(number):
                groups.setdefault((priority, epochs), []).append(self._task(number))
        for (priority, epochs), tasks in sorted(groups.items(), key=lambda group: group[0]):
            for group in self._objective.group(spec, dataset, tasks, self._context.executor.workers):
                self.dispatcher.queue(priority, [Task(spec, dataset, group, epochs, TIME_SLICE, self._context.code)])
        self.dispatcher.submit()

    def _task(self, number: int) -> TrialTask:
        """Return the task that starts a trial from its seed or resumes it from its checkpoint."""
        seed = train_seed(self._context.spec, self._stage, number, len(self._trials))
        task = TrialTask(number, self._trials[number].point, seed)
        partial = self._partial.get(number)
        if partial is None or partial.checkpoint == STATELESS:
            return task
        if partial.checkpoint:
            return resumed(task, partial)
        stored = self._context.storage.trials.checkpoint(self._stage.name, number)
        if stored is None or stored.checkpoint == STATELESS:
            return task
        return resumed(task, stored) if self._is_readable(stored) else task

    def _has_whole_curves(self, partial: TrialResult) -> bool:
        """Return whether curves have a value for each check up to the epoch of their checkpoint."""
        checks = math.ceil(partial.epochs / self._context.spec.train.check_every)
        return max(map(len, partial.history.values()), default=0) == checks

    def _is_readable(self, partial: TrialResult) -> bool:
        """Return whether a checkpoint can be read; without one, the trial starts over, with the same result."""
        try:
            point = self._trials[partial.number].point
            self._objective.check_checkpoint(self._context.spec, self._context.dataset, point, partial)
        except EngineError as error:
            self._state.notes.append(f"{self._stage.name}/{partial.number}: {error}; the trial starts over")
            return False
        return True
