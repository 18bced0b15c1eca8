"""A small study for the tests, runs of it, and its tables."""

import copy
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna

from hpsearch.config.load import restore_spec
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.storage.access.server import Waiting
from hpsearch.storage.database import connection_url
from hpsearch.storage.records import PRIOR, Baseline, Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.context import StudyContext
from hpsearch.study.loop import Study
from hpsearch.tracking import NullTracker, StudyInfo, Tracker
from hpsearch.training.executors import Executor, Inline
from hpsearch.training.task import Outcome, Task
from hpsearch.training.trial import advance

# NumPy trains trials of equal shape together, which the compiled kernel does not. Tests without a session need a
# settled kernel.
KERNEL = "numpy"

# Two stages, the second with several times as many trials as virtual workers, and with
# more reused trials than TPE's ten start-up trials; shapes that repeat.
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
        {"name": "coarse", "trials": 15, "sampler": "random"},
        {"name": "fine", "trials": 9, "sampler": "tpe", "zoom": {"keep_top": 0.5, "margin": 0.2}},
    ],
    "parallel": 3,
    "workers": 1,
}

# The same, with conditional parameters, dropout that differs within a batch, and given points.
RICH: dict[str, Any] = {
    "model": {
        "depth": "depth",
        "hidden": [
            {"units": "hidden_units", "activation": "activation", "dropout": "dropout", "batch_norm": True},
            {"units": "more_units", "activation": {"name": "leaky_relu", "slope": 0.1}, "dropout": 0.0},
        ],
    },
    "train": {
        "optimizer": "optimizer",
        "schedule": {"name": "cosine", "end": 0.1},
        "clip": {"name": "norm", "limit": "limit"},
        "label_smoothing": 0.05,
        "augment": [{"name": "noise", "sigma": 0.05}],
        "switch": {"epoch": 3, "optimizer": "sgd", "learning_rate": 0.05},
        "epochs": 6,
        "check_every": 2,
        "early_stopping": {"patience": 2, "min_delta": 1e-3},
        "stop": {"change": 1e-4, "checks": 2},
    },
    "parameters": {
        "learning_rate": {"min": 1e-3, "max": 1.0, "scale": "log"},
        "optimizer": {"values": ["momentum", "adam"]},
        "beta": {"min": 0.5, "max": 0.99, "scale": "one_minus_log"},
        "beta1": {"min": 0.5, "max": 0.9},
        "depth": {"type": "int", "min": 0, "max": 2},
        "hidden_units": {"values": [4, 8], "ordered": True},
        "more_units": {"values": [3, 6], "ordered": True},
        "activation": {"values": ["tanh", "prelu"]},
        "dropout": {"min": 0.0, "max": 0.3},
        "limit": {"min": 0.5, "max": 5.0},
        "batch_size": {"values": [16, 32], "ordered": True},
        "l2": 1e-4,
    },
    "stages": [
        {
            "name": "coarse",
            "trials": 21,
            "seeds": 2,
            "points": [{"depth": 2, "learning_rate": 0.1}, {"depth": 0, "optimizer": "adam"}],
        },
        {"name": "fine", "trials": 9, "sampler": "tpe", "zoom": {"keep_top": 0.9, "margin": 0.2}},
    ],
}


# Everything that the loop does: trials that diverge, are pruned at two rungs and carried forward, TPE beyond its ten
# start-up trials, boxes that are renewed, a confirming stage, and an ensemble.
FULL: dict[str, Any] = {
    "train": {"optimizer": "momentum", "epochs": 8, "early_stopping": {"patience": 3, "min_delta": 1e-3}},
    "parameters.learning_rate": {"min": 1e-3, "max": 1e16, "scale": "log"},
    "stages": [
        {"name": "coarse", "trials": 18, "sampler": "random"},
        {
            "name": "fine",
            "trials": 13,
            "sampler": "tpe",
            "zoom": {"keep": 5, "every": 3, "outside": 0.2, "margin": 0.2},
        },
        {"name": "confirm", "top": 3, "seeds": 2},
    ],
    "pruning": {"kind": "promote", "min_epochs": 2, "reduction": 2},
    "ensemble": {"size": 3},
    "parallel": 4,
}


def content(**changes: Any) -> dict[str, Any]:
    """Return the study file as a mapping: `content(**{"train.epochs": 2})` changes one value."""
    result = copy.deepcopy(CONTENT)
    for path, value in changes.items():
        *outer, last = path.split(".")
        inner: Any = result
        for key in outer:
            inner = inner[int(key)] if isinstance(inner, list) else inner[key]
        inner[last] = copy.deepcopy(value)
    result["train"].setdefault("kernel", KERNEL)
    return result


def small(**changes: Any) -> Spec:
    """Return the spec of `content`."""
    return restore_spec(content(**changes), "cases.py")


def write(folder: Path, **changes: Any) -> Path:
    """Write `content` as a study file; JSON is YAML."""
    path = folder / "small.yaml"
    path.write_text(json.dumps(content(**changes), indent=1), "utf-8")
    return path


@contextmanager
def opened(
    spec: Spec,
    dataset: Dataset,
    database: Path | str,
    executor: Executor | None = None,
    tracker: Tracker | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Study]:
    """Yield the study on a database, a file or a URL, new or begun."""
    storage = StudyDatabase.open(url_of(str(database)), spec.name, create=True, waiting=Waiting(stop=stop))
    try:
        with storage.lease.hold():
            if storage.study.find() is None:
                storage.begin(spec.name, spec.model_dump(mode="json"), dataset.fingerprint, "test")
            parts = (dataset, storage, executor or Inline(), tracker or NullTracker(), stop)
            yield Study(StudyContext(spec, search_space(spec), *parts))
    finally:
        storage.close()


def run(spec: Spec, dataset: Dataset, database: Path | str, executor: Executor | None = None, **others: Any) -> Study:
    """Run the study to its end."""
    with opened(spec, dataset, database, executor, **others) as study:
        for _ in study.run():
            pass
    return study


def rows(study: Study) -> list[Trial]:
    """Return every trial of a study without times."""
    return [r._replace(seconds=0.0, finished=0.0) for records in study.trials for r in records]


@contextmanager
def optuna_storage(database: Path | str) -> Iterator[optuna.storages.RDBStorage]:
    """Open a study database with Optuna alone, and close its connections, which Optuna leaves to garbage collection."""
    url = url_of(str(database))
    if isinstance(database, str):
        url = connection_url(url).render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    storage = optuna.storages.RDBStorage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def optuna_study(database: Path, name: str) -> tuple[optuna.study.StudyDirection, list[optuna.trial.FrozenTrial]]:
    """Return direction and trials of one of Optuna's studies in a study database."""
    with optuna_storage(database) as storage:
        study = optuna.load_study(study_name=name, storage=storage)
        return study.direction, study.trials


def table(database: Path | str, study: str | None = None) -> str:
    """Return everything that a database holds of a study except times: trials, champion, ensemble, Optuna's trials.

    Diagnostics are excluded, because a study without a session does not store them."""
    url = url_of(str(database))
    if isinstance(database, Path):
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    storage = StudyDatabase.open(url, study, create=False)
    try:
        stored = storage.study.load()
        spec = restore_spec(stored.spec, "the database")
        best = {label: c._replace(diagnostics=None) for label, c in storage.weights.load().items()}
        space = search_space(spec)
        lines = [{**stored.spec, "workers": None}, stored.fingerprint, best, storage.trials.load(PRIOR, space)]
        lines += [storage.ensemble.find(), *sorted(storage.weights.keys())]
        lines += [s._replace(seconds=0.0) for s in storage.stages.load().values()]
        for number in range(len(spec.stages)):
            name = spec.stages[number].name
            lines += [r._replace(seconds=0.0, finished=0.0) for r in storage.trials.load(name, space)]
            assert not storage.trials.checkpoints(name)
    finally:
        storage.close()
    with optuna_storage(database) as theirs:  # one for all stages: each reads Optuna's migrations
        for stage in spec.stages:
            study = optuna.load_study(study_name=f"{spec.name}/{stage.name}", storage=theirs)
            lines.append(study.direction)
            for t in study.get_trials(deepcopy=False):
                lines.append(
                    (t.number, t.state, t.values, t.params, t.distributions, t.intermediate_values, t.user_attrs)
                )
    return "\n".join(map(repr, lines))


# Fields of an MLflow run that depend on the clock or the machine.
VOLATILE = ("seconds", "mlflow.user", "mlflow.source.git.commit")


def tracked(mlflow: Path) -> str:
    """Return everything that an MLflow database holds of a study's runs except times: tags, parameters, metrics, files
    and registered versions with aliases."""
    with closing(sqlite3.connect(mlflow)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        lines = []
        runs = connection.execute(
            "SELECT run_uuid, name, status, lifecycle_stage, artifact_uri FROM runs ORDER BY name, run_uuid"
        ).fetchall()
        for run, name, status, stage, artifacts in runs:
            folder = Path(artifacts.removeprefix("file://"))
            lines += [name, status, stage, sorted(p.name for p in folder.rglob("*"))]
            for table, columns in (("tags", "key, value"), ("params", "key, value"), ("metrics", "key, step, value")):
                found = connection.execute(f"SELECT {columns} FROM {table} WHERE run_uuid = ? ORDER BY 1, 2", (run,))
                lines += [row for row in found if row[0] not in VOLATILE]
            history = folder / "history.json"
            lines.append(history.read_text("utf-8") if history.exists() else None)
            lines += registered(connection, run)
        return "\n".join(map(repr, lines))


def registered(connection: sqlite3.Connection, run: str) -> list[Any]:
    """Return the model versions of a run in an MLflow database, with their tags and aliases."""
    lines = []
    of_run = connection.execute("SELECT name, version FROM model_versions WHERE run_id = ?", (run,)).fetchall()
    for one in of_run:
        tags, aliases = (
            connection.execute(
                f"SELECT {columns} FROM {table} WHERE name = ? AND version = ? ORDER BY 1", one
            ).fetchall()
            for columns, table in (("key, value", "model_version_tags"), ("alias", "registered_model_aliases"))
        )
        lines.append((*one, {k: v for k, v in tags if k != "hpsearch.study"}, [alias for (alias,) in aliases]))
    return lines


class LimitTracker:
    """A tracker whose `stop` returns True once this number of trials is finished."""

    def __init__(self, trials: int) -> None:
        self._left = trials

    def start_study(self, study: StudyInfo) -> None:
        return

    def log_trial(self, trial: Trial) -> None:
        self._left -= 1

    def stop(self) -> bool:
        return self._left <= 0

    def finish_study(
        self,
        ranking: list[Trial],
        model: Path | None,
        baselines: Sequence[Baseline] = (),
        ensemble: Path | None = None,
    ) -> None:
        return

    def close(self, seconds: float) -> str | None:
        return None


class HeldExecutor:
    """An executor that trains at once, and completes one task at each `release`, in any order.

    Args:
        pick: from the number of held tasks to the position of the one that is completed next.
        single: trains every trial alone.
    """

    def __init__(self, pick: Callable[[int], int], *, workers: int = 4, single: bool = False) -> None:
        self.workers = 10_000 if single else workers  # with so many workers each group has one trial
        self._pick = pick
        self._held: list[tuple[Future[Outcome], Outcome]] = []
        self.order: list[int] = []  # picked positions

    def submit(self, task: Task) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        self._held.append((future, advance(task)))
        return future

    def release(self) -> None:
        """Complete one more task."""
        if self._held:
            place = self._pick(len(self._held))
            self.order.append(place)
            future, outcome = self._held.pop(place)
            future.set_result(outcome)

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        return


def drive(study: Study, executor: HeldExecutor) -> None:
    """Run a study; release one task before each step."""
    running = study.run()
    while next(running, None) is not None:
        executor.release()
