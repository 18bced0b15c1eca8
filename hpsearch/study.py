"""The loop: ask a wave, train it, tell it. Resuming is the same loop from the first unfinished wave.

What a wave may see is fixed by its number: wave k is asked from the waves up to k−2 as told and wave k−1 as running,
so that it can be asked while wave k−1 trains, and nobody waits for the coordinator or for a straggler. With samplers
made anew for each trial from its seed, the same table comes out for any number of workers, in whatever order trials
end, and however often the coordinator is killed.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, final

from hpsearch.dataset import Dataset
from hpsearch.errors import Interrupted
from hpsearch.executors import Executor, WorkerDied
from hpsearch.record import FINISHED, Record, best_of, checked_every
from hpsearch.samplers import SAMPLERS, suggest
from hpsearch.seeds import derive
from hpsearch.space import Box, Raw, Space
from hpsearch.spec import Spec
from hpsearch.stages import box, reused
from hpsearch.storage import Storage
from hpsearch.trackers import Tracker
from hpsearch.trial import Outcome, Result, Start, Task, final_scores, groups
from hpsearch.uses import searched

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.trial import FrozenTrial

SLICE = 30.0  # seconds of training after which a group comes back to be stored or sent on
POLL = 0.2  # seconds in which a wish to stop is heard


class Progress(NamedTuple):
    """How far a study is.

    Attributes:
        stage, stage_number, stages: which, counted from 1, of how many.
        finished, diverged, failed, running: trials of the whole study; `finished` counts the two after it too.
        total: trials of all stages.
        best: the best record so far.
        news: records that have finished since the last progress.
    """

    stage: str
    stage_number: int
    stages: int
    finished: int
    diverged: int
    failed: int
    running: int
    total: int
    best: Record | None
    news: tuple[Record, ...]


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
        storage: Storage,
        executor: Executor,
        tracker: Tracker,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.spec = spec
        self.dataset = dataset
        self.space: Space = searched(spec)
        self.boxes: list[Box] = []
        self.records: list[list[Record]] = []  # by stage, by number
        self._storage = storage
        self._executor = executor
        self._tracker = tracker
        self._stop = stop
        self._waiting: dict[Future[Outcome], Task] = {}

    @property
    def best(self) -> Record | None:
        """The best complete trial so far."""
        return best_of((r for records in self.records for r in records), self._sign, self._names)

    def run(self) -> Iterator[Progress]:
        """Trains whatever is missing, and reads the test scores of the champion at the end.

        Raises:
            Interrupted: somebody asked to stop.
            WorkerDied: one of the workers is gone; what was finished is stored.
            StorageError: the database cannot be written any more.
        """
        for number in range(len(self.spec.stages)):
            try:
                yield from self._stage(number)
            except (Interrupted, WorkerDied):
                self._arrived(number, {f for f in self._waiting if f.done()})
                raise
        self._test()

    @property
    def _sign(self) -> int:
        return self.spec.metric.sign

    @property
    def _names(self) -> list[str]:
        return [s.name for s in self.spec.stages]

    def _stage(self, number: int) -> Iterator[Progress]:
        stage = self.spec.stages[number]
        earlier = self.records[:number]
        self.boxes.append(box(self.spec, self.space, number, earlier))
        asking = _Asking(self, number, reused(self.space, self.boxes[number], earlier), self._storage)
        records = load(self.spec, self.space, self._storage, number)
        self.records.append(records)
        for record in records:
            if record.state in FINISHED:
                self._tracker.tell(record)
        waves = math.ceil(stage.trials / self.spec.wave)
        self._start(number, asking.ask(0, records))
        yield self._progress(number, ())
        for wave in range(waves):
            if wave + 1 < waves:
                self._start(number, asking.ask(wave + 1, records))
            last = min((wave + 1) * self.spec.wave, stage.trials)
            while any(r.state == "running" for r in records[:last]):
                yield self._progress(number, tuple(self._receive(number)))
            asking.tell(records[:last])

    def _start(self, stage: int, records: Sequence[Record]) -> None:
        """Sends what is not finished to the workers, the longest first."""
        name = self.spec.stages[stage].name
        starts = [
            Start(r.number, r.point, derive(self.spec.seed, name, r.number, "train"))
            for r in records
            if r.state == "running"
        ]
        for group in groups(self.spec, self.dataset, starts, self._executor.workers):
            self._submit(Task(self.spec, self.dataset, group, self.spec.train.epochs, SLICE))

    def _submit(self, task: Task) -> None:
        if self._stop():
            raise Interrupted
        try:
            self._waiting[self._executor.submit(task)] = task
        except BrokenExecutor as error:
            if self._stop():  # whoever stopped us stopped our workers too
                raise Interrupted from None
            raise WorkerDied(str(error)) from None

    def _receive(self, stage: int) -> list[Record]:
        """Waits for outcomes, stores them, and sends on what is not finished."""
        done, _ = wait(self._waiting, timeout=POLL, return_when=FIRST_COMPLETED)
        news, unfinished, error = self._arrived(stage, done)
        if self._stop():
            raise Interrupted
        if error is not None:
            raise WorkerDied(str(error)) from error
        for task in unfinished:
            self._submit(task)
        return news

    def _arrived(self, stage: int, done: set[Future[Outcome]]) -> tuple[list[Record], list[Task], BaseException | None]:
        """Stores what has finished: its records, the tasks to send on, and why a worker gave nothing, if one did."""
        news: list[Record] = []
        unfinished: list[Task] = []
        error: BaseException | None = None
        for future in done:
            task = self._waiting.pop(future)
            if future.exception() is not None:
                error = future.exception()
                continue
            outcome = future.result()
            finished = tuple(r for r in outcome if r.state != "running")
            news += self._save(stage, finished) if finished else []
            rest = {r.number: r for r in outcome if r.state == "running"}
            trials = tuple(_onwards(t, rest[t.number]) for t in task.trials if t.number in rest)
            unfinished += [dataclasses.replace(task, trials=trials)] if trials else []
        return news, unfinished, error

    def _save(self, stage: int, outcome: Outcome) -> list[Record]:
        name, records = self.spec.stages[stage].name, self.records[stage]
        before = self.best
        news = []
        for r in outcome:
            records[r.number] = _finished(records[r.number], r, 0.0)
        best = self.best
        champion = None
        if best is not None and best != before and best.stage == name:
            champion = next((r for r in outcome if r.number == best.number), None)
        when = self._storage.save(name, outcome, champion)
        for r in outcome:
            records[r.number] = _finished(records[r.number], r, when)
            news.append(records[r.number])
            self._tracker.tell(records[r.number])
        return news

    def _progress(self, stage: int, news: tuple[Record, ...]) -> Progress:
        states = [r.state for records in self.records for r in records]
        return Progress(
            stage=self.spec.stages[stage].name,
            stage_number=stage + 1,
            stages=len(self.spec.stages),
            finished=sum(s in FINISHED for s in states),
            diverged=states.count("diverged"),
            failed=states.count("failed"),
            running=states.count("running"),
            total=sum(s.trials for s in self.spec.stages),
            best=self.best,
            news=news,
        )

    def _test(self) -> None:
        """Reads the test rows once, with the champion's weights."""
        best, champion = self.best, self._storage.champion()
        if best is None or champion is None:
            return
        scores = champion.test
        if scores is None:
            scores = final_scores(self.spec, self.dataset, best.point, champion.weights)
            self._storage.save_test(scores)
        stage = self._names.index(best.stage)
        self.records[stage][best.number] = best._replace(metrics={**best.metrics, **scores})


def load(spec: Spec, space: Space, storage: Storage, stage: int) -> list[Record]:
    """What the database holds of a stage: trials that have been asked, finished or not, in the order of numbers."""
    name = spec.stages[stage].name
    records = []
    for number, (raws, result, finished) in enumerate(storage.trials(name)):
        record = Record(name, number, raws, space.point(raws), "running")
        records.append(_finished(record, result, finished) if result else record)
    return records


def _onwards(start: Start, result: Result) -> Start:
    """A trial that goes on from where it stood."""
    return start._replace(checkpoint=result.checkpoint, history=result.history, seconds=result.seconds)


def _finished(record: Record, r: Result, when: float) -> Record:
    every = checked_every(r.epochs, r.history)
    metrics = {name: values[r.best_epoch // every - 1] for name, values in r.history.items()} if r.best_epoch else {}
    return record._replace(
        state=r.state,
        value=r.value,
        epochs=r.epochs,
        best_epoch=r.best_epoch,
        seconds=r.seconds,
        finished=when,
        metrics=metrics,
        history=r.history,
        error=r.error,
    )


@final
class _Asking:
    """One stage's conversation with Optuna: points are suggested on a copy in memory, and stored a wave at a time."""

    def __init__(self, study: Study, stage: int, known: Sequence[Record], storage: Storage) -> None:
        self._seed = study.spec.seed
        self._wave = study.spec.wave
        self._sign = study.spec.metric.sign
        self._stage = study.spec.stages[stage]
        self._space = study.space
        self._distributions = study.space.distributions(study.boxes[stage])
        self._known = known
        self._storage = storage

    def ask(self, wave: int, records: list[Record]) -> list[Record]:
        """Asks what is missing of a wave, appends it to the records, and gives the records of the wave."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        name, had = self._stage.name, len(records)
        first, last = wave * self._wave, min((wave + 1) * self._wave, self._stage.trials)
        if had < last:
            memory = optuna.create_study(direction="minimize" if self._sign > 0 else "maximize")
            memory.add_trials([self._frozen(r) for r in self._known])
            memory.add_trials([self._frozen(r) for r in records[: max(0, first - self._wave)]])
            running = records[max(0, first - self._wave) :]  # whatever has become of them meanwhile
            memory.add_trials([self._frozen(r._replace(state="running", value=None)) for r in running])
            for number in range(had, last):
                memory.sampler = SAMPLERS[self._stage.sampler](derive(self._seed, name, number, "ask"))
                raws = self._suggest(memory, number)
                records.append(Record(name, number, raws, self._space.point(raws), "running"))
            self._storage.ask(name, had, [r.raws for r in records[had:]])
        return records[first:last]

    def _suggest(self, memory: "OptunaStudy", number: int) -> dict[str, Raw]:
        """A point that is given, or a sampled one; a parameter is sampled where it counts, after those that say so."""
        given = len(self._stage.points) * self._stage.seeds
        if number < given:
            point = self._stage.points[number % len(self._stage.points)]
            fixed = {a.key: a.raw_of(point[a.name]) for a in self._space.axes if a.name in point}
            memory.enqueue_trial(fixed)
        trial = memory.ask({a.key: self._distributions[a.key] for a in self._space.axes if not a.when})
        waiting = [a for a in self._space.axes if a.when]
        while counting := [a for a in waiting if a.counts(self._space.point(trial.params))]:
            suggest(trial, counting[0].key, self._distributions[counting[0].key])
            waiting.remove(counting[0])
        return trial.params

    def tell(self, records: Sequence[Record]) -> None:
        """Tells Optuna's database of the finished trials it has not got, in the order of their numbers."""
        told = self._storage.told(self._stage.name, self._sign)
        self._storage.tell(self._stage.name, [self._frozen(r) for r in records[told:]])

    def _frozen(self, record: Record) -> "FrozenTrial":
        from optuna.trial import TrialState, create_trial

        trial = create_trial(
            state=TrialState[_STATES[record.state]],
            value=record.value,
            params=dict(record.raws),
            distributions={key: self._distributions[key] for key in record.raws},
        )
        trial.datetime_start = datetime.fromtimestamp(record.finished - record.seconds)
        if trial.state.is_finished():
            trial.datetime_complete = datetime.fromtimestamp(record.finished)
        return trial


# A diverged trial's loss is beyond all others': Optuna's samplers take a pruned trial without reports for that.
_STATES = {"running": "RUNNING", "complete": "COMPLETE", "pruned": "PRUNED", "diverged": "PRUNED", "failed": "FAIL"}
