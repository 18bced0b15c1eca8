"""One stage of a study: its virtual clock says which trials train, workers train them, results are stored.

Every decision is made on the clock from jobs that have ended there; real workers follow. So the table is the same for
any number of workers, for any order in which trials end, and for any number of kills: the clock is replayed from its
first job, and what is stored already costs nothing. Trials of a sampler that ignores outcomes train ahead of the clock,
in groups of equal shape.
"""

import time
from collections.abc import Iterator, Sequence
from typing import final

from hpsearch.config.spec import Spec
from hpsearch.errors import Halted
from hpsearch.search import confirm
from hpsearch.search.champion import weights_to_keep
from hpsearch.search.earlier import distinct_outcomes, in_box, reusable_trials
from hpsearch.search.range_edges import supported_edges
from hpsearch.search.schedule import pruning
from hpsearch.search.schedule.ahead import trains_ahead
from hpsearch.search.schedule.clock import Arrival, Clock, Job
from hpsearch.search.schedule.limits import complete_trials_needed, planned_trials
from hpsearch.search.schedule.startup import startup_notice
from hpsearch.search.schedule.told import arrival, as_told, cut
from hpsearch.search.suggest import Suggester
from hpsearch.search.zoom import confirming_box, stage_box
from hpsearch.storage.records import FINISHED, StoredStage, Trial, best_of, with_result
from hpsearch.study.context import StudyContext, StudyState
from hpsearch.study.dispatcher import COLLECT_TIMEOUT
from hpsearch.study.stages.timing import StageTime
from hpsearch.study.stages.training import StageTraining
from hpsearch.training.task import TrialResult, pruned_result

MIRRORED_AT_ONCE = 25  # trials written to Optuna's tables between two waits for outcomes, in about 0.02 s
AHEAD = 64  # trials that train ahead of the clock
EXPECTED_FROM = 0.1  # share of a budget after which the number of trials is expected from what is used so far


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
        self._trials = context.storage.trials.load(stage.name, space)
        for trial in self._trials:
            with context.storage.connection.validated(f"the point of {trial.label}, or the box of its stage,"):
                known_keys = trial.internal_params.keys() <= stored.box.keys()
                if not known_keys or not in_box(space, stored.box, trial):
                    raise ValueError(trial.internal_params)
        self._points = confirm.points_to_confirm(spec, self._trials, earlier) if stage.confirms else []
        self._time = StageTime(stored.seconds, stage.timeout)
        self._training = StageTraining(context, state, number, self._trials)
        total, self._ended = self._limit(stored)
        least = complete_trials_needed(spec, state.trials)
        state.boxes.append(stored.box)
        state.trials.append(self._trials)
        if not self._trials and (notice := startup_notice(spec, space, number, stored.box, len(known))):
            self._note(notice)
        peers = [t for t in distinct_outcomes(earlier) if t.state in FINISHED and in_box(space, stored.box, t)]
        rules = pruning.stage_rules(spec, stage, least)
        if stage.confirms:  # nothing is decided in it
            rules = rules._replace(parallel=max(1, int(total)))
        self._clock = Clock(rules, total, len(self._trials), pruning.peer_values(spec, stage, peers))
        self._told: dict[int, tuple[int, Trial]] = {}  # trial → epochs and the trial as it was then
        state.totals[number] = planned_trials(spec, number, len(self._trials), self._ended)

    @property
    def total(self) -> int:
        """Planned trials of the stage."""
        return self._state.totals[self._number]

    @property
    def unfinished(self) -> float:
        """Seconds that running trials have trained, as last stored."""
        return self._training.unfinished

    @property
    def paused(self) -> int:
        """Number of trials that have trained and wait to be promoted."""
        return sum(
            state in ("paused", "ready") and self._trials[n].state == "running"
            for n, state in self._clock.states.items()
        )

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
        yield tuple(self._advance())
        while not self._clock.at_rest:
            yield tuple(self._receive())
        yield tuple(self._end())

    def save_collected(self, seconds: float) -> tuple[list[Trial], BaseException | None]:
        """Store the outcomes that arrive within `seconds`; return finished trials and the error that ends the study."""
        collected, error = self._training.dispatcher.collect(seconds)
        self._state.notes += self._context.executor.notes()
        return [trial for outcome in collected for trial in self._save(outcome)], error

    def mirror(self) -> bool:
        """Add trials of the stage, which has ended, to Optuna's tables; return whether they hold all of them now."""
        if not self._trials:
            return True
        mirror, name = self._context.storage.mirror, self._stage.name
        first = mirror.count(name, self._context.spec.metric.sign)
        mirror.add(name, [self._suggester.frozen_trial(t) for t in self._trials[first : first + MIRRORED_AT_ONCE]])
        return first + MIRRORED_AT_ONCE >= len(self._trials)

    def _limit(self, stored: StoredStage) -> tuple[float, int | None]:
        """Return the number of trials at which the stage ends, and the number at which it has ended already.

        A timeout ends a stage at the trials that have begun, and a confirming stage may have too few points.
        """
        stage = self._stage
        if stage.top is not None:
            if len(self._points) < stage.top:
                self._note(f"only {len(self._points)} of {stage.top} points are available to confirm")
            return len(self._points) * stage.seeds, len(self._points) * stage.seeds
        planned = float("inf") if stage.trials is None else stage.trials
        if stored.ended is None:
            return planned, None
        timed_out = stage.timeout is not None and stored.seconds >= stage.timeout
        if not timed_out and (stage.budget is None or stored.ended < len(self._trials)):  # the time limit was raised
            self._context.storage.stages.end(stage.name, None)
            return planned, None
        return (stored.ended if timed_out else planned), stored.ended

    def _note(self, text: str) -> None:
        self._state.notes.append(f"{self._stage.name}: {text}")

    def _advance(self) -> list[Trial]:
        """Let the clock run as far as outcomes are known, and train what may begin; return the pruned trials."""
        clock, training, first = self._clock, self._training, len(self._trials)
        if self._time.expired and clock.total > first > 0:
            self._stop_at_timeout()
        for job in clock.advance(self._arrival):
            if job.number == len(self._trials):
                self._add_next()
            training.want(job.number, job.last)
        if clock.spent > EXPECTED_FROM * clock.rules.budget and self._ended is None:
            self._state.totals[self._number] = round(max(1.0, clock.rules.budget / clock.spent) * len(self._trials))
        self._train_ahead()
        self._store(self._trials[first:])
        behind = [n for n, state in clock.states.items() if state == "pruned" and self._trials[n].state == "running"]
        finished = self._save([self._pruned(n) for n in behind]) if behind else []
        training.send()
        return finished

    def _arrival(self, job: Job) -> Arrival | None:
        return arrival(self._context.spec, self._training.current(job.number), job)

    def _add_next(self) -> None:
        """Add the next trial of the stage; in a confirming stage, add all trials."""
        spec, now = self._context.spec, time.time()
        if self._stage.confirms:
            numbers = range(len(self._trials), int(self._clock.total))
            new = confirm.trials_to_confirm(spec, self._context.space, self._points, numbers)
        else:
            new = [self._suggester.suggest(self._trials, self._told_trials())]
        self._trials += [t._replace(finished=now) if t.state in FINISHED else t for t in new]

    def _told_trials(self) -> list[Trial]:
        """Return the trials that have begun on the clock, as they are known there; paused ones are not finished."""
        clock, told = self._clock, []
        for number, reached in sorted(clock.reached.items()):
            if number == len(self._trials):  # the trial that is suggested now
                continue
            before = self._told.get(number)
            if before is None or before[0] != reached:
                trial = as_told(self._context.spec, self._training.current(number), reached)
                self._told[number] = before = reached, trial
            told.append(before[1]._replace(finished=float(clock.states[number] in ("pruned", "ended"))))
        return told

    def _train_ahead(self) -> None:
        """Add trials before the clock asks for them, if their points follow from no outcome, in groups."""
        stage, clock = self._stage, self._clock
        if not trains_ahead(self._context.spec, stage) or len(self._trials) >= clock.asked + AHEAD // 2:
            return
        while len(self._trials) < min(clock.asked + AHEAD, clock.total):
            number = len(self._trials)
            self._add_next()
            rungs = clock.rules.rungs(number)[1]
            self._training.want(number, rungs[0] if rungs else clock.rules.epochs, priority=1)

    def _store(self, new: Sequence[Trial]) -> None:
        """Store new trials in one transaction; those whose outcome is copied are finished."""
        if new:
            self._context.storage.trials.add(new)
        for trial in new:
            if trial.state in FINISHED:
                self._context.tracker.log_trial(trial)

    def _pruned(self, number: int) -> TrialResult:
        """Return the result of a trial that does not continue."""
        return pruned_result(self._context.spec, self._training.partial[number])

    def _stop_at_timeout(self) -> None:
        """End the stage at the trials that have begun."""
        trials = len(self._trials)
        planned = "" if self._stage.trials is None else f" of {self._stage.trials}"
        self._note(f"time limit reached after {trials}{planned} trials")
        self._context.storage.stages.end(self._stage.name, trials, self._time.lap())
        self._clock.total = self._state.totals[self._number] = trials

    def _end(self) -> list[Trial]:
        """End the stage: paused trials are pruned; return them."""
        trials, running = len(self._trials), [t.number for t in self._trials if t.state == "running"]
        finished = self._save([self._pruned(n) for n in running]) if running else []
        if self._stage.trials != trials and not self._stage.confirms and self._ended != trials:
            self._context.storage.stages.end(self._stage.name, trials, self._time.lap())
        self._state.totals[self._number] = trials
        return finished

    def _receive(self) -> list[Trial]:
        """Wait for outcomes, store them, and advance the clock; return the finished trials."""
        finished, error = self.save_collected(COLLECT_TIMEOUT)
        self._context.storage.lease.heartbeat()
        self._training.dispatcher.check_stop()
        if error is not None:
            raise self._training.dispatcher.halted(error) from error
        finished += self._advance()
        check_max_failed(self._context.spec, self._state.trials)
        return finished

    def _save(self, outcome: Sequence[TrialResult]) -> list[Trial]:
        """Store results in one transaction; return the trials that have finished."""
        name, state, trials = self._stage.name, self._state, self._trials
        outcome = [self._as_replayed(r) for r in outcome]
        done = [r for r in outcome if r.state != "running"]
        for r in done:
            trials[r.number] = with_result(trials[r.number], r, 0.0)
        to_keep = weights_to_keep(self._context.spec, state.trials)
        keep = [r for r in done if (name, r.number) in to_keep and r.weights is not None]
        drop = state.kept - to_keep if to_keep else set()
        finished = self._context.storage.trials.save(name, outcome, keep, sorted(drop), self._time.lap())
        state.kept = state.kept - drop | {(name, r.number) for r in keep}
        for r in outcome:
            self._training.update(r)
        for r in done:
            trials[r.number] = with_result(trials[r.number], r, finished)
            self._context.tracker.log_trial(trials[r.number])
        return [trials[r.number] for r in done]

    def _as_replayed(self, result: TrialResult) -> TrialResult:
        """Return a failed result with its curves up to the rung that it has reached on the clock, for a replay."""
        if result.state != "failed":
            return result
        reached = self._clock.reached.get(result.number, 0)
        so_far = cut(self._context.spec, self._training.current(result.number), reached)
        return result._replace(epochs=reached, history=so_far.history if reached else {})


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
        edges = supported_edges(spec, space, stored.box, best, state.trials)
        state.notes += [f"{stage.name}: {edge}" for edge in edges]
    return stored


def check_max_failed(spec: Spec, trials: Sequence[Sequence[Trial]]) -> None:
    """Raise `Halted` if more than `max_failed` trials have failed, including those of earlier sessions."""
    failed = [t for stage in trials for t in stage if t.state == "failed"]
    if spec.max_failed is not None and len(failed) > spec.max_failed:
        raise Halted(
            f"{len(failed)} trials have failed, and max_failed is {spec.max_failed} "
            f"({failed[0].label}: {failed[0].error}); raise it in the study file, or use --retry-failed"
        )
