"""Studies that an earlier version began: shown, gone on with, and exported."""

import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import cases
import numpy as np
import pytest

import hpsearch
from hpsearch.data.dataset import prepare
from hpsearch.errors import Interrupted
from hpsearch.study.summary import summary
from hpsearch.training.executors import Inline
from hpsearch.training.task import Task, TrialTask
from hpsearch.training.trial import advance

VALUES = {"source": "sklearn", "name": "diabetes"}


def aged(database: Path) -> None:
    """As 0.3.0 would have left it: R² is called accuracy, and how rows are prepared is not there."""
    with closing(sqlite3.connect(database)) as connection:
        for table in ("hpsearch_trial", "hpsearch_checkpoint"):
            rows = connection.execute(f"SELECT rowid, history FROM {table} WHERE history IS NOT NULL").fetchall()
            for row, packed in rows:
                history = json.loads(zlib.decompress(packed))
                old = {name.replace("/r2", "/accuracy"): values for name, values in history.items()}
                blob = zlib.compress(json.dumps(old).encode())
                connection.execute(f"UPDATE {table} SET history = ? WHERE rowid = ?", (blob, row))
        connection.execute("DROP TABLE IF EXISTS hpsearch_prepared")
        (text,) = connection.execute("SELECT spec FROM hpsearch_study").fetchone()
        spec = json.loads(text)
        for name in ("folds", "column", "file"):
            (spec["data"]["split"] or {}).pop(name, None)
        connection.execute("UPDATE hpsearch_study SET spec = ?, version = 'hpsearch 0.3.0'", (json.dumps(spec),))
        connection.commit()


@pytest.mark.parametrize("metric", ["val/loss", "val/accuracy"])
def test_a_regression_goes_on(metric: str, tmp_path: Path) -> None:
    """Stopped half-way, some trials at a rung: to the same values as one that was never stopped."""
    spec = cases.small(**{**cases.FULL, "data": VALUES, "metric": {"name": metric}})
    dataset, _ = prepare(spec.data, spec.seed, tmp_path)
    whole = cases.run(spec, dataset, tmp_path / "whole.db")
    limit = cases.Limit(7)
    with (
        pytest.raises(Interrupted),
        cases.opened(spec, dataset, tmp_path / "a.db", tracker=limit, stop=limit.stop) as s,
    ):
        for _ in s.run():
            pass
    aged(tmp_path / "a.db")
    assert len(summary(f"sqlite:///{tmp_path / 'a.db'}").records[0]) >= 7
    study = cases.run(spec, dataset, tmp_path / "a.db", Inline())
    values = [[(r.label, r.state, r.value, r.epochs) for r in cases.rows(s)] for s in (whole, study)]
    assert values[0] == values[1]
    assert hpsearch.load_study(tmp_path / "a.db").model.predict(np.zeros((2, 10))).shape == (2,)


@pytest.mark.parametrize("metric", ["val/loss", "val/accuracy", "train/accuracy"])
def test_a_checkpoint_goes_on(metric: str, tmp_path: Path) -> None:
    spec = cases.small(data=VALUES, metric={"name": metric}, **{"train.epochs": 8, "train.early_stopping": None})
    dataset, _ = prepare(spec.data, spec.seed, tmp_path)
    point = {"learning_rate": 0.1, "beta": 0.8, "hidden_units": 4, "batch_size": 16, "l2": 1e-4}
    start = TrialTask(0, point, 3)
    (whole,), (half,) = (advance(Task(spec, dataset, (start,), epochs)) for epochs in (8, 3))
    assert half.history is not None and whole.value is not None
    before = {name.replace("/r2", "/accuracy"): values for name, values in half.history.items()}
    again = start._replace(epochs=3, checkpoint=half.checkpoint, history=before)
    (result,) = advance(Task(spec, dataset, (again,), 8))
    assert result._replace(seconds=0) == whole._replace(seconds=0)
    assert {len(values) for values in result.history.values()} == {8}
