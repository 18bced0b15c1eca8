"""The loop: ask a wave, train it rung by rung, tell it. Resuming is the same loop from the first unfinished wave.

What a wave may see is fixed by its number: wave k is asked from the waves up to k−2 as told and wave k−1 as running,
so that it can be asked while wave k−1 trains, and nobody waits for the coordinator or for a straggler; at its rungs it
is compared with the same waves and with itself, once all of it are there. With samplers made anew for each trial from
its seed, the same table comes out for any number of workers, in whatever order trials end, and however often the
coordinator or a worker is killed.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from typing import NamedTuple, final

from engine.training.state import State
from engine.types import EngineError
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec, Stage
from hpsearch.core.seeds import derive
from hpsearch.core.space import Box, InternalValue, Space, point_key
from hpsearch.data.dataset import Dataset
from hpsearch.errors import Interrupted
from hpsearch.search import confirm, pruning
from hpsearch.search.suggest import Suggester
from hpsearch.search.zoom import box, edges, outcomes, reused, within
from hpsearch.storage.records import FINISHED, PRIOR, StoredStage, StoredWeights, Trial, TrialKey, best_of, with_result
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.progress import Halted, Progress
from hpsearch.tracking import Tracker
from hpsearch.training.executors import Executor
from hpsearch.training.grouping import group_trials
from hpsearch.training.scheduler import TaskScheduler
from hpsearch.training.scores import final_scores
from hpsearch.training.task import Outcome, Task, TrialResult, TrialTask, pruned_result, resumed

SLICE = 30.0  # seconds of training after which a group comes back to be stored
POLL = 0.2  # seconds in which a wish to stop is heard


class _Cohort(NamedTuple):
    """Trials that are judged together: those of one wave and bracket, and whom they are compared with."""

    wave: int
    numbers: tuple[int, ...]
    peers: tuple[Trial, ...]


@final
class Study:
    """One study on one database.

    Args:
        stop: asked between steps; when it says True, what has arrived is stored and `Interrupted` is raised.
    """

    def __init__(
        self,
        spec: Spec,
        dataset: Dataset,
        storage: StudyDatabase,
        executor: Executor,
        tracker: Tracker,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.spec = spec
        self.dataset = dataset
        self.space: Space = search_space(spec)
        self.boxes: list[Box] = []
        self.records: list[list[Trial]] = []  # by stage, by number
        self.prior = storage.trials.load(PRIOR, self.space)
        self.totals = [s.trials for s in spec.stages]
        self._storage = storage
        self._executor = executor
        self._tracker = tracker
        self._stop = stop
        self._kept: set[TrialKey] = set(storage.weights.load())
        self._notes: list[str] = []
        # Of the stage that runs:
        self._stands: dict[int, TrialResult] = {}  # trials that train, as far as they were stored
        self._cohorts: list[_Cohort] = []
        self._scheduler = TaskScheduler(executor)
        self._clock = 0.0

    @property
    def best(self) -> Trial | None:
        """The best complete trial so far; once a stage has confirmed, the winner's."""
        return confirm.leader(self.spec, self.records)

    def run(self) -> Iterator[Progress]:
        """Trains whatever is missing, and reads the test scores of the champion at the end.

        Raises:
            Interrupted: somebody asked to stop.
            Halted: it cannot go on; what was finished is stored.
            StorageError: the database cannot be written any more.
        """
        for number in range(len(self.spec.stages)):
            try:
                yield from self._stage(number)
            except (Interrupted, Halted):
                self._arrived(number, 0)
                raise
        self._test()
        yield self._progress(len(self.spec.stages) - 1, ())

    @property
    def _names(self) -> list[str]:
        return [s.name for s in self.spec.stages]

    # One stage.

    def _stage(self, number: int) -> Iterator[Progress]:
        stage, earlier = self.spec.stages[number], [self.prior, *self.records[:number]]
        begun = self._begin(number, earlier)
        known = reused(self.space, begun.box, earlier)
        asking = Suggester(self.spec, self.space, number, begun.box, known, self.prior, self._storage)
        records = self._storage.trials.load(stage.name, self.space)
        self.boxes.append(begun.box)
        self.records.append(records)
        checkpoints = self._storage.trials.checkpoints(stage.name)
        self._stands = {n: r for n, r in checkpoints.items() if self._sound(stage, r)}
        self._cohorts, self._scheduler = [], TaskScheduler(self._executor)
        self.totals[number] = self._total(number, begun)
        self._clock = time.monotonic()
        deadline = self._clock + (stage.timeout or float("inf")) - begun.seconds
        for record in records:
            if record.state in FINISHED:
                self._tracker.log_trial(record)
        self._tolerate()
        size = self.totals[number] if stage.confirms else self.spec.wave
        judges = [r for r in outcomes(earlier) if r.state in FINISHED and within(self.space, begun.box, r)]
        self._open(number, asking, 0, judges)
        yield self._progress(number, ())
        wave = 0
        while wave * size < self.totals[number]:
            asked = (wave + 1) * size
            if asked < self.totals[number]:
                if len(records) <= asked and time.monotonic() > deadline:
                    self._end(number, len(records))
                else:
                    self._open(number, asking, wave + 1, judges)
            while any(r.state == "running" for r in records[:asked]):
                yield self._progress(number, tuple(self._receive(number)))
            asking.tell(records[:asked])
            self._cohorts = [c for c in self._cohorts if c.wave > wave]
            wave += 1

    def _begin(self, number: int, earlier: Sequence[Sequence[Trial]]) -> StoredStage:
        """The stage as it is stored: what it searches is settled when it begins."""
        stage = self.spec.stages[number]
        begun = self._storage.stages.load(self.space.axes).get(stage.name)
        if begun is None:
            inside = box(self.spec, self.space, number, self.records, self.prior)
            begun = self._storage.stages.begin(stage.name, inside)
        if stage.zoom:
            best = best_of((r for records in earlier for r in records), self.spec.metric.sign, self._names)
            self._notes += [f"{stage.name}: {edge}" for edge in edges(self.space, begun.box, best)]
        return begun

    def _total(self, number: int, begun: StoredStage) -> int:
        """How many trials the stage has: as the file says, fewer when there was no time or nothing to confirm."""
        stage = self.spec.stages[number]
        if stage.top is not None:
            points = len(self._finalists(number))
            if points < stage.top:
                self._notes.append(f"{stage.name}: only {points} of {stage.top} points are there to confirm")
            return points * stage.seeds
        if begun.ended is not None and begun.seconds < (stage.timeout or float("inf")):
            self._storage.stages.end(stage.name, None)  # there is more time now
            return stage.trials
        return stage.trials if begun.ended is None else begun.ended

    def _end(self, number: int, trials: int) -> None:
        name = self.spec.stages[number].name
        self._storage.stages.end(name, trials, self._ran())
        self._notes.append(f"{name}: its time is over after {trials} of {self.totals[number]} trials")
        self.totals[number] = trials

    def _finalists(self, number: int) -> list[dict[str, InternalValue]]:
        """The points that a confirming stage compares: those it began with, or the best there are."""
        asked = {point_key(r.internal_params): dict(r.internal_params) for r in self.records[number]}
        if asked:
            return list(asked.values())
        return confirm.finalists(self.spec, [self.prior, *self.records[:number]], self.spec.stages[number].top or 0)

    def _sound(self, stage: Stage, stands: TrialResult) -> bool:
        """Whether a stored checkpoint can be read; a trial whose cannot begins again, which changes no result."""
        try:
            if not stands.checkpoint:
                raise EngineError("not a checkpoint: its curves cannot be read")
            State.from_bytes(stands.checkpoint)
        except EngineError as error:
            self._notes.append(f"{stage.name}/{stands.number}: {error}; it trains from its start")
            return False
        return True

    # Waves.

    def _open(self, number: int, asking: Suggester, wave: int, judges: Sequence[Trial]) -> None:
        """Asks a wave, and sends it off."""
        stage, records, total = self.spec.stages[number], self.records[number], self.totals[number]
        had = len(records)
        asked = self._confirm(number) if stage.confirms else asking.ask(wave, records, total)
        for record in records[had:]:
            if record.state in FINISHED:  # it had an outcome already
                self._tracker.log_trial(record)
        visible = records[: asking.visible(wave)]
        taken = {r.copied_from for r in [*visible, *asked]}  # these stand here already
        visible = [*(r for r in judges if (r.copied_from or r.label) not in taken), *visible]
        brackets: dict[int, list[int]] = {}
        for record in asked:
            brackets.setdefault(pruning.bracket(self.spec, stage, record.number), []).append(record.number)
        for place, numbers in sorted(brackets.items()):
            peers = tuple(r for r in visible if pruning.bracket(self.spec, stage, r.number) == place)
            self._cohorts.append(_Cohort(wave, tuple(numbers), peers))
        self._advance(number)

    def _confirm(self, number: int) -> list[Trial]:
        """The trials of a confirming stage, asked at once: seed by seed all its points."""
        stage, records = self.spec.stages[number], self.records[number]
        points = self._finalists(number)
        new = range(len(records), self.totals[number])
        if new:
            waiting = [points[n % len(points)] for n in new]
            trials = [
                Trial(stage.name, n, p, self.space.point(p), "running") for n, p in zip(new, waiting, strict=True)
            ]
            self._storage.trials.add(trials)
            records += trials
        return records

    def _advance(self, stage: int) -> list[Trial]:
        """Sends every cohort that is all there on to its next rung, but for those who are behind: these are told."""
        news: list[Trial] = []
        for cohort in self._cohorts:
            going = [n for n in cohort.numbers if self.records[stage][n].state == "running"]
            if not going or any(map(self._scheduler.in_flight, going)):
                continue
            epoch = min(self._epochs(n) for n in going)
            rungs = pruning.rungs(self.spec, self.spec.stages[stage], cohort.numbers[0])
            if epoch in rungs:
                out = self._behind(stage, cohort, epoch)
                if out:
                    news += self._save(stage, [pruned_result(self.spec, self._stands[n]) for n in out])
                going = [n for n in going if n not in out]
            target = next((rung for rung in rungs if rung > epoch), self.spec.train.epochs)
            self._send(stage, cohort.wave, [n for n in going if self._epochs(n) < target], target)
        self._feed()
        return news

    def _behind(self, stage: int, cohort: _Cohort, rung: int) -> list[int]:
        """Who of the cohort ends at a rung, in the order of numbers; whoever has gone beyond it was judged before."""
        records = [self.records[stage][n] for n in cohort.numbers]
        records = [with_result(r, self._stands[r.number], 0.0) if r.state == "running" else r for r in records]
        out = pruning.behind(self.spec, self.spec.stages[stage], rung, records, cohort.peers)
        return [r.number for r in records if r.state == "running" and r.epochs == rung and r.number in out]

    def _epochs(self, number: int) -> int:
        return self._stands[number].epochs if number in self._stands else 0

    # Tasks.

    def _send(self, stage: int, wave: int, numbers: Sequence[int], epochs: int) -> None:
        """Queues trials, the longest groups first."""
        starts = [self._start(stage, n) for n in numbers]
        cut = group_trials(self.spec, self.dataset, starts, self._executor.workers)
        self._scheduler.add(wave, [Task(self.spec, self.dataset, group, epochs, SLICE) for group in cut])

    def _start(self, stage: int, number: int) -> TrialTask:
        """A trial as it goes to a worker: from its seed, or from where it stands."""
        record = self.records[stage][number]
        start = TrialTask(
            number, record.point, train_seed(self.spec, self.spec.stages[stage], number, len(self.records[stage]))
        )
        return resumed(start, self._stands[number]) if number in self._stands else start

    def _feed(self) -> None:
        if self._stop():
            raise Interrupted
        try:
            self._scheduler.dispatch()
        except BrokenExecutor as error:
            raise self._halted(error) from None

    def _halted(self, error: BaseException) -> BaseException:
        if self._stop():  # whoever stopped us stopped our workers too
            return Interrupted()
        return Halted(str(error))

    def _receive(self, stage: int) -> list[Trial]:
        """Waits for outcomes, stores them, and sends on what is not finished."""
        news, error = self._arrived(stage, POLL)
        self._storage.lease.heartbeat()
        if self._stop():
            raise Interrupted
        if error is not None:
            raise self._halted(error) from error
        news += self._advance(stage)
        self._tolerate()
        return news

    def _tolerate(self) -> None:
        """Nothing more is trained, by a study that goes on either, once too much has failed."""
        failures = [r for records in self.records for r in records if r.state == "failed"]
        if self.spec.max_failed is not None and len(failures) > self.spec.max_failed:
            why = f"{len(failures)} trials have failed, and max_failed is {self.spec.max_failed}"
            mend = "raise it in the file, or give --retry-failed"
            raise Halted(f"{why} ({failures[0].label}: {failures[0].error}); {mend}")

    def _arrived(self, stage: int, seconds: float) -> tuple[list[Trial], BaseException | None]:
        """Stores what has come: the records that have finished, and what ends the study, if anything does."""
        outcomes, error = self._scheduler.collect(seconds)
        return [record for outcome in outcomes for record in self._save(stage, outcome)], error

    # What has come.

    def _save(self, stage: int, outcome: Sequence[TrialResult]) -> list[Trial]:
        """Stores results in one transaction; the records of those that have finished."""
        name, records = self.spec.stages[stage].name, self.records[stage]
        done = [r for r in outcome if r.state != "running"]
        for r in done:
            records[r.number] = with_result(records[r.number], r, 0.0)
        wanted = self._wanted(stage)
        keep = [r for r in done if (name, r.number) in wanted and r.weights is not None]
        drop = self._kept - wanted if wanted else set()
        when = self._storage.trials.save(name, outcome, keep, sorted(drop), self._ran())
        self._kept = self._kept - drop | {(name, r.number) for r in keep}
        for r in outcome:
            self._stands.pop(r.number, None)
            if r.state == "running":
                self._stands[r.number] = r
        for r in done:
            records[r.number] = with_result(records[r.number], r, when)
            self._tracker.log_trial(records[r.number])
        return [records[r.number] for r in done]

    def _ran(self) -> float:
        """Seconds since the last time they were stored."""
        seconds, self._clock = time.monotonic() - self._clock, time.monotonic()
        return seconds

    def _wanted(self, stage: int) -> set[TrialKey]:
        """Whose weights are to be kept: the best's, and while points are confirmed the best's of each."""
        wanted = [self.best]
        if self.spec.stages[stage].confirms:
            points = len(self.records[stage]) // self.spec.stages[stage].seeds
            for place in range(points):
                best = best_of(self.records[stage][place::points], self.spec.metric.sign, self._names)
                wanted.append(best)
        return {(r.stage, r.number) for r in wanted if r}

    def _progress(self, stage: int, news: tuple[Trial, ...]) -> Progress:
        states = Counter(r.state for records in self.records for r in records)
        notes, self._notes = tuple(self._notes), []
        return Progress(
            stage=self.spec.stages[stage].name,
            stage_number=stage + 1,
            stages=len(self.spec.stages),
            finished=sum(n for state, n in states.items() if state in FINISHED),
            pruned=states["pruned"],
            diverged=states["diverged"],
            failed=states["failed"],
            running=states["running"],
            total=sum(self.totals),
            best=self.best,
            news=news,
            notes=notes,
        )

    def _test(self) -> None:
        """Reads the test rows once, with the champion's weights."""
        best = self.best
        if best is None:
            return
        champion = self._storage.weights.find(best)
        scores = champion.test if champion else None
        if scores is None:
            weights = champion.weights if champion else self._again(best)
            if weights is None:
                return
            scores = final_scores(self.spec, self.dataset, best.point, weights)
            self._storage.weights.save_champion(StoredWeights(best.stage, best.number, weights, scores))
        stage = self._names.index(best.stage)
        self.records[stage][best.number] = best._replace(metrics={**best.metrics, **scores})

    def _again(self, best: Trial) -> bytes | None:
        """Weights that were not kept, because another study trained the trial: they come out the same again."""
        name, number = (best.copied_from or best.label).rpartition(":")[2].rsplit("/", 1)
        stage = next((s for s in self.spec.stages if s.name == best.stage and best.copied_from is None), None)
        seed = derive(self.spec.seed, name, int(number), "train")
        if stage is not None:
            seed = train_seed(self.spec, stage, best.number, len(self.records[self._names.index(stage.name)]))
        start = TrialTask(best.number, best.point, seed)
        self._scheduler = TaskScheduler(self._executor)
        self._scheduler.add(0, [Task(self.spec, self.dataset, (start,), self.spec.train.epochs)])
        outcomes: list[Outcome] = []
        while not outcomes:
            self._feed()
            outcomes, error = self._scheduler.collect(POLL)
            self._storage.lease.heartbeat()
            if error is not None:
                raise self._halted(error) from error
        ((result,),) = outcomes
        if result.value != best.value:
            came_out = result.error or f"it came out as {result.value}, not as {best.value}"
            self._notes.append(f"{best.label} was trained again for its weights: {came_out}")
        return result.weights


def train_seed(spec: Spec, stage: Stage, number: int, asked: int) -> int:
    """What a trial draws from: by its number, but in a confirming stage the same for each of the points it compares.

    Args:
        asked: trials of the stage.
    """
    seed = number // (asked // stage.seeds) if stage.confirms else number
    return derive(spec.seed, stage.name, seed, "train")
