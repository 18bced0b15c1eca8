"""Trials, and what MLflow contains after they were uploaded."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

import cases

from hpsearch.core.space import build_space
from hpsearch.models.model import Model
from hpsearch.storage.records import Baseline, Trial
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.mlflow.tags import TRIAL_TAG
from hpsearch.tracking.mlflow.tracker import MlflowTracker


def counts(database: Path) -> dict[str, int]:
    """Return the number of rows of each table."""
    with closing(sqlite3.connect(database)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


AXES = build_space(cases.small().parameters)


CURVE = {"train/loss": [1.0, 0.5, 0.25], "val/loss": [2.0, 1.5, 1.75]}


def trial(number: int, state: str, finished: float = 1e9, **others: Any) -> Trial:
    internal_params = {"learning_rate": 0.1, "one_minus_beta": 0.1, "hidden_units_index": 0, "batch_size_index": 1}
    given: dict[str, Any] = {"epochs": 3, "seconds": 1.5, "metrics": {"val/loss": 1.5}, "history": CURVE}
    if state in ("complete", "pruned"):
        given |= {"value": 1.5 + number, "best_epoch": 2}
    if state == "failed":
        given = {"error": "ValueError: no"}
    return Trial(
        "coarse", number, internal_params, AXES.point(internal_params), state, finished=finished, **{**given, **others}
    )  # type: ignore[arg-type]


STATES = [
    trial(0, "complete"),
    trial(1, "pruned"),
    trial(2, "diverged", value=None, best_epoch=0),
    trial(3, "failed"),
    trial(4, "complete", copied_from="coarse/0"),
]


SCORED = [t._replace(metrics={**t.metrics, "val/accuracy": 0.9}) for t in STATES]


STUDY = StudyInfo(cases.small(), "identity", 1e9, {})


def upload(
    place: Path,
    trials: list[Trial],
    ranking: list[Trial] | None = None,
    model: Path | None = None,
    study: StudyInfo = STUDY,
    baselines: Sequence[Baseline] = (),
    ensemble: Path | None = None,
) -> MlflowTracker:
    """Upload trials as a study does that runs or resumes."""
    tracker = MlflowTracker(f"sqlite:///{place}")
    tracker.start_study(study)
    for t in trials:
        tracker.log_trial(t)
    tracker.finish_study([] if ranking is None else ranking, model, baselines, ensemble)
    assert tracker.close(9) is None
    return tracker


class Version(NamedTuple):
    name: str
    number: int
    run: str  # its trial
    alias: str | None


def versions(place: Path) -> list[Version]:
    """Return the registered versions in the order of registration, and check that all can be loaded."""
    query = """
        SELECT v.name, v.version, t.value, a.alias, v.source, r.artifact_uri FROM model_versions v
        JOIN runs r ON r.run_uuid = v.run_id JOIN tags t ON t.run_uuid = v.run_id AND t.key = ?
        LEFT JOIN registered_model_aliases a ON a.name = v.name AND a.version = v.version
        ORDER BY v.creation_time, v.name, v.version
    """
    with closing(sqlite3.connect(place)) as connection:
        found = connection.execute(query, [TRIAL_TAG]).fetchall()
        (count,) = connection.execute("SELECT count(*) FROM model_versions").fetchone()
        (names,) = connection.execute("SELECT count(*) FROM registered_models").fetchone()
    assert len(found) == count and names == len({name for name, *_ in found})
    for *_, source, artifacts in found:
        assert source == f"{artifacts}/model" and Model.load(Path(urlparse(source).path)).features
    return [Version(*row[:4]) for row in found]


def runs(place: Path) -> dict[str, Any]:
    """Return everything visible of the active runs but their ids, by name."""
    found: dict[str, Any] = {}
    with closing(sqlite3.connect(place)) as connection:
        columns = "run_uuid, name, status, start_time, end_time, artifact_uri"
        for run, name, *rest, uri in connection.execute(f"SELECT {columns} FROM runs WHERE lifecycle_stage = 'active'"):
            assert name not in found, "twice"
            tables = {"tags": "key, value", "params": "key, value", "metrics": "key, step, timestamp, value"}
            files = Path(urlparse(uri).path)
            found[name] = [
                rest,
                {p.relative_to(files): p.stat().st_size for p in files.rglob("*") if p.is_file()},
                *(
                    sorted(connection.execute(f"SELECT {keys} FROM {table} WHERE run_uuid = ?", [run]))
                    for table, keys in tables.items()
                ),
            ]
    return found


def run_of(place: Path, label: str, by: str = "hpsearch.trial") -> Any:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place}")
    found = client.search_experiments(filter_string="name = 'small'")
    (run,) = client.search_runs([found[0].experiment_id], f"tags.`{by}` = '{label}'")
    return run
