"""Two studies in one database: whatever is done to one, the rows of the other stay as they are."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hpsearch.core.space import Range, build_space
from hpsearch.storage.lease import Lease
from hpsearch.storage.records import Baseline, StoredEnsemble, StoredFile, StoredWeights, Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.storage.study_tables import BaselineTable, EnsembleTable, StageTable, StudyTable, WeightsTable
from hpsearch.storage.tables import METADATA, study_column
from hpsearch.storage.trials import TrialTable
from hpsearch.training.task import TrialResult

SPACE = build_space({"x": Range(min=0.0, max=1.0)})
ROWS = [Trial("coarse", number, {"x": 0.5}, SPACE.point({"x": 0.5}), "running") for number in range(3)]
CURVES = {"val/loss": [0.5]}
DONE = TrialResult(0, "complete", 0.5, 1, 1, CURVES, 0.1, weights=b"w")
FAILED = TrialResult(1, "failed", None, 0, 0, {}, 0.1, error="x")
RUNNING = TrialResult(2, "running", None, 1, 0, CURVES, 0.1, checkpoint=b"s")
ENSEMBLE = StoredEnsemble(2, (("coarse", 0),), {("coarse", 0): 1}, {"val/loss": 0.5}, {"val/loss": 0.5})

# Name of an object of `StudyDatabase` and of its method → a call; together they fill and change every table.
CALLS: dict[str, Callable[[Any], object]] = {
    "study.change_spec": lambda m: m({"seed": 6}),
    "study.change_code": lambda m: m([StoredFile("train.py", "0" * 64, b"pass")]),
    "study.save_prepared": lambda m: m([b"a", b"b"]),
    "stages.begin": lambda m: m("coarse", {"x": (0.0, 1.0)}),
    "stages.end": lambda m: m("coarse", 3, 1.0),
    "trials.add": lambda m: m(ROWS),
    "trials.save": lambda m: m("coarse", [DONE, FAILED, RUNNING], [DONE], [("coarse", 2)], 0.5),
    "trials.restart": lambda m: m("coarse", [1]),
    "weights.add": lambda m: m(StoredWeights("coarse", 1, b"w", None)),
    "weights.save_champion": lambda m: m(StoredWeights("coarse", 0, b"w", {"test/loss": 0.5})),
    "weights.save_diagnostics": lambda m: m(ROWS[0], b"d"),
    "baselines.save": lambda m: m(Baseline("linear", 0, 9, {}, "no model", 0.1, 5.0)),
    "baselines.delete_failed": lambda m: m(),
    "ensemble.save": lambda m: m(ENSEMBLE),
    "lease.renew": lambda m: m(),
}
READING = {  # methods that only read: the test below compares what they return
    *("study.find", "study.load", "study.is_unchanged", "study.prepared", "study.code", "stages.load", "weights.load"),
    *("weights.keys", "weights.tested", "baselines.load", "ensemble.find", "trials.states", "trials.damaged"),
}
OTHERS = {
    *(
        "study.begin",
        "trials.load",
        "trials.finished",
        "trials.count",
        "trials.numbers",
        "trials.checkpoint",
        "trials.checkpoints",
    ),
    *("trials.progress", "weights.find", "lease.hold", "lease.holder", "lease.holders", "lease.is_running"),
    *("lease.heartbeat", "lease.write", "lease.study"),
}


def contents(file: Path, study: str) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of a study by table."""
    with closing(sqlite3.connect(file)) as connection:
        return {
            table.name: connection.execute(
                f"SELECT * FROM {table.name} WHERE {study_column(table).name} = ? ORDER BY 1, 2, 3", (study,)
            ).fetchall()
            for table in METADATA.sorted_tables
        }


def call(database: StudyDatabase, name: str) -> object:
    part, _, method = name.partition(".")
    bound = getattr(getattr(database, part), method)
    return CALLS[name](bound) if name in CALLS else bound()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[StudyDatabase, StudyDatabase, Path]]:
    """Two studies of one file; the first is filled."""
    file = tmp_path / "a.db"
    opened = []
    for name in ("first", "second"):
        database = StudyDatabase.open(url_of(str(file)), name, create=True)
        opened.append(database)
        with database.lease.hold():
            database.begin(name, {"seed": 5}, "fingerprint", "test")
    with opened[0].lease.hold():
        for name in CALLS:
            call(opened[0], name)
        opened[0].baselines.save(Baseline("linear", 0, 9, {}, "no model", 0.1, 5.0))
    yield opened[0], opened[1], file
    for database in opened:
        database.close()


def test_every_method_is_called() -> None:
    """A new method of a table must be added to the lists above."""
    classes = {
        **{"study": StudyTable, "stages": StageTable, "weights": WeightsTable, "baselines": BaselineTable},
        **{"ensemble": EnsembleTable, "trials": TrialTable, "lease": Lease},
    }
    methods = {f"{part}.{name}" for part, kind in classes.items() for name in vars(kind) if not name.startswith("_")}
    assert methods == {*CALLS, *READING, *OTHERS}


def test_no_statement_touches_another_study(pair: tuple[StudyDatabase, StudyDatabase, Path]) -> None:
    first, second, file = pair
    before, read = contents(file, "first"), {name: call(first, name) for name in READING}
    assert all(before[table.name] for table in METADATA.sorted_tables if table.name != "hpsearch_lease")
    empty = contents(file, "second")
    with second.lease.hold():
        for name in CALLS:
            call(second, name)
            assert contents(file, "first") == before, name
        assert second.trials.count("coarse") == 3 and second.trials.numbers("coarse", "complete") == [0]
        assert second.lease.holder() and not first.lease.holder() and list(second.lease.holders()) == ["second"]
        second.ensemble.save(None)
        second.retry_failed("coarse")
    assert contents(file, "first") == before
    assert {name: call(first, name) for name in READING} == read
    changed, emptied = contents(file, "second"), {"hpsearch_lease", "hpsearch_ensemble", "hpsearch_baseline"}
    assert all(changed[name] != empty[name] for name in changed.keys() - emptied)
