"""A small study for the tests, runs of it, and the table it leaves."""

import copy
import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hpsearch import checking
from hpsearch.dataset import Dataset
from hpsearch.executors import Executor, Inline
from hpsearch.record import Record
from hpsearch.spec import Spec
from hpsearch.storage import Storage, url_of
from hpsearch.study import Study
from hpsearch.trackers import Silent, Tracker
from hpsearch.trial import Outcome, Task, advance

# Two stages, the second with more trials before it than TPE's ten start-up trials; shapes that repeat.
CONTENT: dict[str, Any] = {
    "name": "small",
    "seed": 5,
    "data": {"source": "sklearn", "name": "iris"},
    "model": {"hidden": [{"units": "hidden_units", "activation": "tanh"}]},
    "train": {"optimizer": "momentum", "epochs": 4, "early_stopping": {"patience": 2, "min_delta": 1e-3}},
    "parameters": {
        "learning_rate": {"min": 1e-3, "max": 1.0, "scale": "log"},
        "beta": {"min": 0.5, "max": 0.99, "scale": "one_minus_log"},
        "hidden_units": {"values": [4, 8], "ordered": True},
        "batch_size": {"values": [16, 32], "ordered": True},
        "l2": 1e-4,
    },
    "stages": [
        {"name": "coarse", "trials": 12, "sampler": "random"},
        {"name": "fine", "trials": 8, "sampler": "tpe", "zoom": {"keep_top": 0.5, "margin": 0.2}},
    ],
    "wave": 4,
    "workers": 1,
}


def content(**changes: Any) -> dict[str, Any]:
    """The study file as a mapping: `content(**{"train.epochs": 2})` differs in one place."""
    result = copy.deepcopy(CONTENT)
    for path, value in changes.items():
        *outer, last = path.split(".")
        inner: Any = result
        for key in outer:
            inner = inner[int(key)] if isinstance(inner, list) else inner[key]
        inner[last] = value
    return result


def small(**changes: Any) -> Spec:
    """The spec of `content`."""
    return checking.restore(content(**changes), "cases.py")


def write(folder: Path, **changes: Any) -> Path:
    """`content` as a study file; JSON is YAML."""
    path = folder / "small.yaml"
    path.write_text(json.dumps(content(**changes), indent=1), "utf-8")
    return path


@contextmanager
def opened(
    spec: Spec,
    dataset: Dataset,
    database: Path,
    executor: Executor | None = None,
    tracker: Tracker | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Study]:
    """The study on a database, new or begun."""
    storage = Storage.open(url_of(str(database)), create=True)
    try:
        if storage.study() is None:
            storage.begin(spec.name, spec.model_dump(mode="json"), dataset.fingerprint, "test")
        yield Study(spec, dataset, storage, executor or Inline(), tracker or Silent(), stop)
    finally:
        storage.close()


def run(spec: Spec, dataset: Dataset, database: Path, executor: Executor | None = None, **others: Any) -> Study:
    """The study, run to its end."""
    with opened(spec, dataset, database, executor, **others) as study:
        for _ in study.run():
            pass
    return study


def rows(study: Study) -> list[Record]:
    """Every record of a study but for what the clock says."""
    return [r._replace(seconds=0.0, finished=0.0) for records in study.records for r in records]


def table(database: Path) -> str:
    """All that a database holds of a study but times and the study's identity."""
    queries = {
        "outcomes": "SELECT stage, number, state, value, epochs, best_epoch, hex(history), error FROM hpsearch_outcome"
        " ORDER BY stage, number",
        "champion": "SELECT stage, number, hex(weights), test FROM hpsearch_champion",
        "trials": "SELECT s.study_name, t.number, t.state, v.value, v.value_type FROM trials t"
        " JOIN studies s USING (study_id) LEFT JOIN trial_values v USING (trial_id) ORDER BY 1, 2",
        "params": "SELECT s.study_name, t.number, p.param_name, p.param_value, p.distribution_json FROM trial_params p"
        " JOIN trials t USING (trial_id) JOIN studies s USING (study_id) ORDER BY 1, 2, 3",
        "directions": "SELECT s.study_name, d.direction FROM study_directions d JOIN studies s USING (study_id)"
        " ORDER BY 1",
    }
    with closing(sqlite3.connect(database)) as connection:
        content = {name: connection.execute(query).fetchall() for name, query in queries.items()}
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return json.dumps(content, indent=0)


class Held:
    """An executor that trains at once, but says so later, one task at a time, in an order of its own.

    Args:
        pick: from the number of tasks that wait → which is said to be done next.
        single: trains every trial alone.
    """

    def __init__(self, pick: Callable[[int], int], *, workers: int = 4, single: bool = False) -> None:
        self.workers = 10_000 if single else workers  # so many workers get groups of one
        self._pick = pick
        self._held: list[tuple[Future[Outcome], Outcome]] = []
        self.order: list[int] = []  # places picked

    def submit(self, task: Task) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        self._held.append((future, advance(task)))
        return future

    def release(self) -> None:
        """One more task is done."""
        if self._held:
            place = self._pick(len(self._held))
            self.order.append(place)
            future, outcome = self._held.pop(place)
            future.set_result(outcome)

    def close(self) -> None:
        return
