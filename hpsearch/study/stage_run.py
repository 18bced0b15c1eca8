"""One stage of a study: waves of trials are suggested, trained rung by rung, stored and reported.

The information that a wave is suggested from depends on its number alone: wave k sees the outcomes of waves up to
k − 2, and wave k − 1 as running. So wave k is suggested while wave k − 1 trains, and no worker waits for the
coordinator or for a slow trial. At a rung, a trial is compared with the trials of these waves and of its own wave, once
all trials of its own wave have reached the rung. Each trial has a new sampler, created from the trial's seed. Therefore
the table is the same for any number of workers, for any order in which trials end, and for any number of kills.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import final

from engine.training.state import State
from engine.types import EngineError
from hpsearch.config.spec import Spec
from hpsearch.errors import Halted
from hpsearch.search import confirm, pruning
from hpsearch.search.champion import weights_to_keep
from hpsearch.search.earlier import distinct_outcomes, in_box, reusable_trials
from hpsearch.search.range_edges import range_edges
from hpsearch.search.startup import startup_notice
from hpsearch.search.suggest import Suggester
from hpsearch.search.zoom import confirming_box, stage_box
from hpsearch.storage.records import FINISHED, StoredStage, Trial, best_of, with_result
from hpsearch.study.context import StudyContext, StudyState, train_seed
from hpsearch.study.dispatcher import COLLECT_TIMEOUT, Dispatcher
from hpsearch.study.stage_clock import StageClock
from hpsearch.training.grouping import group_trials
from hpsearch.training.network import build_network
from hpsearch.training.task import Task, TrialResult, TrialTask, pruned_result, resumed

MIRRORED_AT_ONCE = 25  # trials written to Optuna's tables between two waits for outcomes, in about 0.02 s
TIME_SLICE = 30.0  # seconds of training after which a group returns to have its checkpoints stored


@final
class StageRun:
    """One stage of a running study, which the constructor begins or resumes and `run` runs to its end.

    Args:
        number: index of the stage in `spec.stages`; all stages before it have ended.
    """

    def __init__(self, context: StudyContext, state: StudyState, number: int) -> None:
        self._context, self._state, self._number = context, state, number
        spec, space = context.spec, context.space
        self._stage = stage = spec.stages[number]
        earlier = [state.transferred, *state.trials]
        stored = begin_stage(context, state, number)
        known = reusable_trials(space, stored.box, earlier)
        self._suggester = Suggester(spec, space, number, stored.box, known, state.transferred)
        self._earlier = [t for t in distinct_outcomes(earlier) if t.state in FINISHED and in_box(space, stored.box, t)]
        self._trials = context.storage.trials.load(stage.name, space)
        for trial in self._trials:
            with context.storage.connection.validated(f"the point of {trial.label}, or the box of its stage,"):
                known_keys = trial.internal_params.keys() <= stored.box.keys()
                if not known_keys or not in_box(space, stored.box, trial):
                    raise ValueError(trial.internal_params)
        if not self._trials and (notice := startup_notice(spec, space, number, stored.box, len(known))):
            self._note(notice)
        partial = context.storage.trials.checkpoints(stage.name)
        running = (r for n, r in partial.items() if n < len(self._trials) and self._trials[n].state == "running")
        self._partial = {r.number: r for r in running if self._is_readable(r)}  # running trials, as last stored
        self._points = confirm.points_to_confirm(spec, self._trials, earlier) if stage.confirms else []
        state.boxes.append(stored.box)
        state.trials.append(self._trials)
        state.totals[number] = self._total(stored)
        self._cohorts: list[pruning.Cohort] = []
        self._dispatcher = Dispatcher(context.executor, context.stop)
        self._clock = StageClock(stored.seconds, stage.timeout)

    @property
    def total(self) -> int:
        """Planned trials of the stage."""
        return self._state.totals[self._number]

    @property
    def unfinished(self) -> float:
        """Seconds that running trials have trained, as last stored."""
        return sum(result.seconds for result in self._partial.values())

    def run(self) -> Iterator[tuple[Trial, ...]]:
        """Run the stage to its end; yield the trials that have finished since the last yield.

        Raises:
            Interrupted: `stop` returned True.
            Halted: the study cannot continue.
            StorageError: the database cannot be written any more.
        """
        for trial in self._trials:
            if trial.state in FINISHED:
                self._context.tracker.log_trial(trial)
        check_max_failed(self._context.spec, self._state.trials)
        size = self.total if self._stage.confirms else self._context.spec.wave
        self._open_wave(0, size)
        yield ()
        for wave in count():
            if wave * size >= self.total:
                return
            end = (wave + 1) * size
            if end < self.total:
                if len(self._trials) <= end and self._clock.expired:
                    self._end_early()
                else:
                    self._open_wave(wave + 1, size)
            while any(t.state == "running" for t in self._trials[:end]):
                yield tuple(self._receive())
            self._cohorts = [c for c in self._cohorts if c.wave > wave]

    def save_collected(self, seconds: float) -> tuple[list[Trial], BaseException | None]:
        """Store the outcomes that arrive within `seconds`; return finished trials and the error that ends the study."""
        collected, error = self._dispatcher.collect(seconds)
        return [trial for outcome in collected for trial in self._save(outcome)], error

    def mirror(self) -> bool:
        """Add trials of the stage, which has ended, to Optuna's tables; return whether they hold all of them now."""
        if not self._trials:
            return True
        mirror, name = self._context.storage.mirror, self._stage.name
        first = mirror.count(name, self._context.spec.metric.sign)
        mirror.add(name, [self._suggester.frozen_trial(t) for t in self._trials[first : first + MIRRORED_AT_ONCE]])
        return first + MIRRORED_AT_ONCE >= len(self._trials)

    def _total(self, stored: StoredStage) -> int:
        """Return the number of planned trials: fewer after a timeout, or if there are too few points to confirm."""
        stage = self._stage
        if stage.top is not None:
            if len(self._points) < stage.top:
                self._note(f"only {len(self._points)} of {stage.top} points are available to confirm")
            return len(self._points) * stage.seeds
        if stored.ended is None:
            return stage.trials
        if stored.seconds < (stage.timeout or float("inf")):  # the time limit was raised
            self._context.storage.stages.end(stage.name, None)
            return stage.trials
        return stored.ended

    def _is_readable(self, partial: TrialResult) -> bool:
        """Return whether a checkpoint can be read; without one, the trial starts over, with the same result."""
        try:
            if not partial.checkpoint:
                raise EngineError("not a checkpoint: its curves cannot be read")
            state = State.from_bytes(partial.checkpoint)
            network = build_network(self._context.spec, self._context.dataset, self._trials[partial.number].point)
            if (state.epoch, state.theta.shape) != (partial.epochs, (self._context.dataset.folds, network.size)):
                raise EngineError("not a checkpoint: it is that of another epoch or network")
        except EngineError as error:
            self._state.notes.append(f"{self._stage.name}/{partial.number}: {error}; the trial starts over")
            return False
        return True

    def _note(self, text: str) -> None:
        self._state.notes.append(f"{self._stage.name}: {text}")

    def _end_early(self) -> None:
        trials = len(self._trials)
        self._context.storage.stages.end(self._stage.name, trials, self._clock.lap())
        self._note(f"time limit reached after {trials} of {self.total} trials")
        self._state.totals[self._number] = trials

    def _open_wave(self, wave: int, size: int) -> None:
        """Suggest the missing trials of a wave, form its cohorts, and queue its trials."""
        stage, spec, first = self._stage, self._context.spec, len(self._trials)
        if stage.confirms:
            new = confirm.trials_to_confirm(spec, self._context.space, self._points, range(first, self.total))
        else:
            new = self._suggester.suggest(wave, self._trials, self.total)
        self._add(new)
        for trial in self._trials[first:]:
            if trial.state in FINISHED:  # its outcome is copied
                self._context.tracker.log_trial(trial)
        members = self._trials[wave * size : min((wave + 1) * size, self.total)]
        visible = self._trials[: self._suggester.visible(wave)]
        copied = {t.copied_from for t in (*visible, *members)}
        peers = [*(t for t in self._earlier if (t.copied_from or t.label) not in copied), *visible]
        self._cohorts += pruning.cohorts(spec, stage, wave, members, peers)
        self._advance()

    def _add(self, trials: Sequence[Trial]) -> None:
        """Store new trials in one transaction; copied outcomes are finished as of now."""
        now = time.time()
        new = [t._replace(finished=now) if t.state in FINISHED else t for t in trials]
        if new:
            self._context.storage.trials.add(new)
        self._trials += new

    def _advance(self) -> list[Trial]:
        """Prune and promote each cohort that has completely reached its rung; return the pruned trials."""
        finished: list[Trial] = []
        spec = self._context.spec
        for cohort in self._cohorts:
            running = [n for n in cohort.numbers if self._trials[n].state == "running"]
            if not running or any(map(self._dispatcher.in_flight, running)):
                continue
            epoch = min(map(self._epochs, running))
            rungs = pruning.rungs(spec, self._stage, cohort.numbers[0])
            if epoch in rungs:
                behind = self._behind(cohort, epoch)
                if behind:
                    finished += self._save([pruned_result(spec, self._partial[n]) for n in behind])
                running = [n for n in running if n not in behind]
            target = next((rung for rung in rungs if rung > epoch), spec.train.epochs)
            self._send(cohort.wave, [n for n in running if self._epochs(n) < target], target)
        self._dispatcher.submit()
        return finished

    def _behind(self, cohort: pruning.Cohort, rung: int) -> list[int]:
        """Return the numbers of the trials to prune at a rung; trials beyond the rung have passed it already."""
        trials = [self._trials[n] for n in cohort.numbers]
        trials = [with_result(t, self._partial[t.number], 0.0) if t.state == "running" else t for t in trials]
        behind = pruning.trials_to_prune(self._context.spec, self._stage, rung, trials, cohort.peers)
        return [t.number for t in trials if t.state == "running" and t.epochs == rung and t.number in behind]

    def _epochs(self, number: int) -> int:
        """Return the epochs that a running trial has trained."""
        return self._partial[number].epochs if number in self._partial else 0

    def _send(self, wave: int, numbers: Sequence[int], epochs: int) -> None:
        """Queue trials to train up to an epoch, the longest groups first."""
        spec, dataset = self._context.spec, self._context.dataset
        groups = group_trials(spec, dataset, list(map(self._task, numbers)), self._context.executor.workers)
        self._dispatcher.queue(wave, [Task(spec, dataset, group, epochs, TIME_SLICE) for group in groups])

    def _task(self, number: int) -> TrialTask:
        """Return the task that starts a trial from its seed or resumes it from its checkpoint."""
        seed = train_seed(self._context.spec, self._stage, number, len(self._trials))
        task = TrialTask(number, self._trials[number].point, seed)
        return resumed(task, self._partial[number]) if number in self._partial else task

    def _receive(self) -> list[Trial]:
        """Wait for outcomes, store them, and queue the next tasks; return the finished trials."""
        finished, error = self.save_collected(COLLECT_TIMEOUT)
        self._context.storage.lease.heartbeat()
        self._dispatcher.check_stop()
        if error is not None:
            raise self._dispatcher.halted(error) from error
        finished += self._advance()
        check_max_failed(self._context.spec, self._state.trials)
        return finished

    def _save(self, outcome: Sequence[TrialResult]) -> list[Trial]:
        """Store results in one transaction; return the trials that have finished."""
        name, state, trials = self._stage.name, self._state, self._trials
        done = [r for r in outcome if r.state != "running"]
        for r in done:
            trials[r.number] = with_result(trials[r.number], r, 0.0)
        to_keep = weights_to_keep(self._context.spec, state.trials)
        keep = [r for r in done if (name, r.number) in to_keep and r.weights is not None]
        drop = state.kept - to_keep if to_keep else set()
        finished = self._context.storage.trials.save(name, outcome, keep, sorted(drop), self._clock.lap())
        state.kept = state.kept - drop | {(name, r.number) for r in keep}
        for r in outcome:
            self._partial.pop(r.number, None)
            if r.state == "running":
                self._partial[r.number] = r
        for r in done:
            trials[r.number] = with_result(trials[r.number], r, finished)
            self._context.tracker.log_trial(trials[r.number])
        return [trials[r.number] for r in done]


def begin_stage(context: StudyContext, state: StudyState, number: int) -> StoredStage:
    """Return a stage as stored, and store it if it is new.

    The box that a stage searches is computed once and never changes. That of a confirming stage follows from the stages
    before it, all of which have ended.
    """
    spec, space = context.spec, context.space
    stage = spec.stages[number]
    stored = context.storage.stages.load(space.axes).get(stage.name)
    box = confirming_box(space, state.boxes, state.transferred) if stage.confirms else None
    if stored is None:
        box = box or stage_box(spec, space, number, state.trials, state.transferred)
        stored = context.storage.stages.begin(stage.name, box)
    stored = stored._replace(box=box or stored.box)
    if stage.zoom:
        names = spec.stage_names
        earlier = (t for trials in (state.transferred, *state.trials) for t in trials)
        best = best_of(earlier, spec.metric.sign, names)
        state.notes += [f"{stage.name}: {edge}" for edge in range_edges(space, stored.box, best)]
    return stored


def check_max_failed(spec: Spec, trials: Sequence[Sequence[Trial]]) -> None:
    """Raise `Halted` if more than `max_failed` trials have failed, including those of earlier sessions."""
    failed = [t for stage in trials for t in stage if t.state == "failed"]
    if spec.max_failed is not None and len(failed) > spec.max_failed:
        raise Halted(
            f"{len(failed)} trials have failed, and max_failed is {spec.max_failed} "
            f"({failed[0].label}: {failed[0].error}); raise it in the study file, or use --retry-failed"
        )
