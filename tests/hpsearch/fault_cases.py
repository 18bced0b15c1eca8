"""Studies whose workers die, or whose trials or baselines fail.

Worker processes import this module, so it imports no Optuna.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.training.state import State
from hpsearch.config.spec import Spec
from hpsearch.core.seeds import derive
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.training.baselines import BaselineResult
from hpsearch.training.executors import WorkerDied
from hpsearch.training.objectives import engine as engine_objective
from hpsearch.training.task import Outcome, Task, TrialResult
from hpsearch.training.trial import advance

if TYPE_CHECKING:  # these import Optuna
    from hpsearch.storage.records import Trial
    from hpsearch.study.loop import Study


Place = tuple[str, int]


STEPS = 10  # outcomes before the coordinator is killed


VICTIMS: list[Place] = [("coarse", 3), ("coarse", 14), ("fine", 10)]  # in cases.FULL


def cases() -> Any:
    import cases

    return cases


def seed_of(spec: Spec, place: Place) -> int:
    return derive(spec.seed, *place, "train")


class StudyCase(NamedTuple):
    """A study, and its table and trials when it runs without faults."""

    spec: Spec
    dataset: Dataset
    table: str
    trials: dict[Place, "Trial"]


def make_case(folder: Path, changes: dict[str, Any]) -> StudyCase:
    spec = cases().small(**changes)
    dataset, _ = prepare(spec.data, spec.seed, folder)
    study = cases().run(spec, dataset, folder / "small.db")
    return StudyCase(spec, dataset, finished_table(folder / "small.db"), by_place(study))


def by_place(study: "Study") -> dict[Place, "Trial"]:
    return {(r.stage, r.number): r for r in cases().rows(study)}


def finished_table(database: Path) -> str:
    """Return the table of a finished study, which has no checkpoints."""
    assert query_rows(database, "SELECT count(*) FROM hpsearch_checkpoint") == [(0,)]
    table: str = cases().table(database)
    return table


def query_rows(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def die_before_training(folder: str, seeds: dict[int, int], task: Task) -> Outcome:
    """Task function: trials with these seeds end their worker, each the given number of times."""
    for t in task.trials:
        marks = Path(folder) / str(t.seed)
        deaths = len(marks.read_bytes()) if marks.exists() else 0
        if deaths < seeds.get(t.seed, 0):
            with marks.open("ab") as file:
                file.write(b".")
            os._exit(9)
    return advance(task)


def fail_after_training(seeds: tuple[int, ...], task: Task, endless: int | None = None) -> Outcome:
    """Task function: the training of trials with these seeds raises at its end, and that with one seed never ends."""
    while any(t.seed == endless for t in task.trials):
        time.sleep(1)
    original = engine_objective._train

    def train(task: Task) -> list[TrialResult]:
        results = original(task)
        if any(t.seed in seeds for t in task.trials):
            raise ArithmeticError("no such number\nand more of it")
        return results

    engine_objective._train = train
    try:
        return advance(task)
    finally:
        engine_objective._train = original


class DyingExecutor:
    """An executor that trains in this process, and whose worker can die.

    Args:
        dies: returns whether the worker dies of a task.
        work: runs a task.
        held: runs one task at each `step`, not when it is submitted.

    Attributes:
        tasks: all tasks with their outcomes; None for those the worker died of.
    """

    def __init__(
        self,
        dies: Callable[[Task], bool] = lambda _: False,
        work: Callable[[Task], Outcome] = advance,
        *,
        workers: int = 2,
        held: bool = False,
    ) -> None:
        self.workers = workers
        self.tasks: list[tuple[Task, Outcome | None]] = []
        self._dies = dies
        self._work = work
        self._held = held
        self._waiting: list[tuple[Future[Outcome], Task]] = []

    def submit(self, task: Task) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        self._waiting.append((future, task))
        if not self._held:
            self.step()
        return future

    def step(self) -> None:
        """Run the next task, if there is one."""
        for future, task in self._waiting[:1]:
            outcome = None if self._dies(task) else self._work(task)
            self.tasks.append((task, outcome))
            if outcome is None:
                future.set_exception(WorkerDied("exit code 9"))
            else:
                future.set_result(outcome)
        del self._waiting[:1]

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        return

    @property
    def trained(self) -> list[tuple[int, int, int]]:
        """Return every trained epoch of every trial as (number, seed, epoch)."""
        found = []
        for task, outcome in self.tasks:
            for t, r in zip(task.trials, outcome or (), strict=False):
                found += [(t.number, t.seed, epoch) for epoch in range(t.epochs + 1, r.epochs + 1)]
        return found


def trained_epochs(study: StudyCase) -> int:
    return sum(r.epochs for r in study.trials.values())


def checkpoints_match(task: Task) -> bool:
    """Check that resumed trials have a checkpoint and curves of the same epoch; return False."""
    for t in task.trials:
        if t.epochs:
            assert t.checkpoint is not None and t.history is not None
            assert State.from_bytes(t.checkpoint).epoch == t.epochs == len(t.history["val/loss"])
    return False


def baselines_at_once(tasks: Any, scratch: str, results: Connection) -> None:
    """Send results at once, and end this process at the second one of a first call."""
    for number, task in enumerate(tasks):
        if number == 1 and not (mark := Path(os.environ["MARK"])).exists():
            mark.touch()
            os._exit(7)
        results.send(BaselineResult(task.name, 5, {"val/loss": float(number)}))


def baselines_too_slow(tasks: Any, scratch: str, results: Connection) -> None:
    """Send one result, and no other for a minute."""
    results.send(BaselineResult(tasks[0].name, 5, {"val/loss": 0.5}))
    time.sleep(60)
