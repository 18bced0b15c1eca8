"""A process that runs one study again and again, each time in a child that exits hard at another database commit.

Run: python killed.py FOLDER FIRST STEP [full|rich|mlflow]: the kills FIRST, FIRST + STEP, … until a run gets through.
The studies: all that the loop does (full); conditional parameters, given points, dropout and batch norm (rich); the
first one with MLflow told of it in the same process, whose commits count too (mlflow). The children are forked after
everything is imported, so that a kill costs little more than the trials it loses. Each kill is followed by a run that
goes on; a line `n same|other` says whether the database, and what MLflow has, is then that of an unbroken study.
"""

import functools
import os
import random
import shutil
import sqlite3
import sys
import traceback
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "hpsearch"))

import cases

from hpsearch import study as loop
from hpsearch.dataset import Dataset, prepare
from hpsearch.service import summary
from hpsearch.spec import Spec
from hpsearch.stages import reused
from hpsearch.storage import Storage
from hpsearch.trackers import TRACKERS, Silent, Subject, Tracker

KILLED = 9
STUDIES: dict[str, dict[str, Any]] = {"full": cases.FULL, "rich": cases.RICH, "mlflow": cases.FULL}
CLOCKS = ("identity", "created", "seconds", "finished", "datetime_start", "datetime_complete")  # columns


def dump(database: Path) -> str:
    """Every row of every table, Optuna's too, but for what the clock says; the file is whole, page by page."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.row_factory = sqlite3.Row
        lines = []
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1").fetchall():
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            found = [[f"{key}={row[key]!r}" for key in row.keys() if key not in CLOCKS] for row in rows]  # noqa: SIM118
            lines += [f"{table}: {len(found)}", *sorted(map(", ".join, found))]
    return "\n".join(lines)


def child(spec: Spec, dataset: Dataset, folder: Path, limit: int, mlflow: bool) -> int:
    """Runs the study in a fork, which exits at its `limit`-th commit, before it is written; never for limits below 0.

    Trials end in an order that depends on the limit.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    count = 0

    def commit(_connection: sa.Connection) -> None:
        nonlocal count
        count += 1
        if count == limit:
            os._exit(KILLED)

    code = 1
    try:
        sa.event.listen(sa.Engine, "commit", commit)
        run(spec, dataset, folder, limit, mlflow)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def run(spec: Spec, dataset: Dataset, folder: Path, limit: int, mlflow: bool) -> None:
    """The study in a folder, with its tracker told of it in this process."""
    executor = cases.Held(random.Random(str(limit)).randrange)
    tracker: Tracker = TRACKERS["mlflow"](f"sqlite:///{folder / 'mlflow.db'}") if mlflow else Silent()
    database = folder / "small.db"
    with cases.opened(spec, dataset, database, executor, tracker) as study:
        if mlflow:
            tracker.begin(subject(spec, database))
        cases.drive(study, executor)
    tracker.finish(summary(cases.url_of(str(database))).ranking, None)
    tracker.close(5)


def subject(spec: Spec, database: Path) -> Subject:
    """What the tracker is told about, as a session does."""
    storage = Storage.open(cases.url_of(str(database)), create=False)
    try:
        stored = storage.study()
        assert stored is not None
        return Subject(spec, stored.identity, stored.created, {})
    finally:
        storage.close()


def outcome(folder: Path, mlflow: bool) -> str:
    """The database, and what MLflow has."""
    stored = dump(folder / "small.db")
    return stored + cases.tracked(folder / "mlflow.db") if mlflow else stored


def quicken() -> None:
    """What takes time and proves nothing here: waiting, and Optuna reading its own migrations for each database."""
    loop.POLL = 0.0
    versions = optuna.storages._rdb.storage._VersionManager
    versions.get_head_version = functools.cache(versions.get_head_version)
    versions.check_table_schema_compatibility = lambda _: None


def main(folder: Path, first: int, step: int, which: str) -> None:
    quicken()
    spec, mlflow = cases.small(**STUDIES[which]), which == "mlflow"
    dataset, _ = prepare(spec.data, spec.seed, folder)
    template = folder / "template"
    template.mkdir()
    if mlflow:  # made once: its migrations take longer than a study
        TRACKERS["mlflow"](f"sqlite:///{template / 'mlflow.db'}").close(5)
    whole = folder / "unbroken"
    shutil.copytree(template, whole)
    study = cases.run(spec, dataset, folder / "first.db")  # here: the children need not import what it imports
    states = Counter(r.state for r in cases.rows(study))
    if which == "rich":
        assert len(reused(study.space, study.boxes[1], study.records[:1])) > 10 and states.keys() == {"complete"}
    else:
        assert states.keys() == {"complete", "pruned", "diverged"} and len(study.records) == 3
        assert len(study.records[0]) + len(study.records[1]) >= 24
    run(spec, dataset, whole, 0, mlflow)
    unbroken = outcome(whole, mlflow)
    limit = first
    while True:
        place = folder / str(limit)
        shutil.copytree(template, place)
        code = child(spec, dataset, place, limit, mlflow)
        if code == 0:
            break
        again = child(spec, dataset, place, -limit, mlflow) if code == KILLED else code
        verdict = f"exit code {again}" if again else "same" if outcome(place, mlflow) == unbroken else "other"
        print(limit, verdict, flush=True)
        shutil.rmtree(place)
        limit += step


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if sys.argv[4:] else "full")
