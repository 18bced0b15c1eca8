"""Run one study, and resume it from what each of its database commits would leave if the process died there.

Run: python killed.py FOLDER FIRST STEP [full|rich|mlflow]: the commits FIRST, FIRST + STEP, … until the study is done.
The studies: everything that the loop does (full); conditional parameters, given points, dropout and batch norm (rich);
the first one with MLflow's tracker in the same process, whose commits count too (mlflow).

The study waits before each of these commits. Its files at that moment, including the write-ahead log, are what a killed
process leaves. Another process resumes a copy of them, in the place of the originals, to the end, with trials that end
in another order. A line `n same|other` says whether the database and MLflow are then those of an uninterrupted study;
the last one, `none same|other`, is about the study that waited. All processes
are forked after everything is imported, so that a kill costs little more than the trials it loses.
"""

import functools
import os
import random
import shutil
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1] / "hpsearch"))

import cases

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.models.export import build_model
from hpsearch.search.earlier import reusable_trials
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.loop import Study
from hpsearch.study.stages import run as stage_run
from hpsearch.study.summary import summary
from hpsearch.tracking import TRACKERS, NullTracker, StudyInfo, Tracker

STUDIES: dict[str, dict[str, Any]] = {
    "full": cases.FULL,
    "rich": {**cases.RICH, "stages.1.trials": 12},
    "mlflow": cases.FULL,
}
Prepared = tuple[Dataset, tuple[tuple[Preprocessing, ...], ...]]
Stops = Callable[[sa.Connection], None]  # called before a commit is written
CLOCKS = ("identity", "created", "seconds", "finished", "datetime_start", "datetime_complete")  # columns


def dump(database: Path) -> str:
    """Return every row of every table, also Optuna's, without times; check the integrity of the file."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.row_factory = sqlite3.Row
        lines = []
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1").fetchall():
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            found = [[f"{key}={row[key]!r}" for key in row.keys() if key not in CLOCKS] for row in rows]  # noqa: SIM118
            lines += [f"{table}: {len(found)}", *sorted(map(", ".join, found))]
    return "\n".join(lines)


def forked(spec: Spec, rows: Prepared, folder: Path, seed: int, mlflow: bool, stops: Stops | None = None) -> int:
    """Run the study in a child process and return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if stops is not None:
            sa.event.listen(sa.Engine, "commit", stops)
        run(spec, rows, folder, seed, mlflow)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def run(spec: Spec, rows: Prepared, folder: Path, seed: int, mlflow: bool) -> Study:
    """Run the study in a folder, with its tracker in this process; trials end in an order drawn from `seed`."""
    executor = cases.HeldExecutor(random.Random(seed).randrange)
    tracker: Tracker = TRACKERS["mlflow"](f"sqlite:///{folder / 'mlflow.db'}") if mlflow else NullTracker()
    database = folder / "small.db"
    with cases.opened(spec, rows[0], database, executor, tracker) as study:
        if mlflow:
            tracker.start_study(study_info(spec, database))
        cases.drive(study, executor)
    ranking = summary(url_of(str(database))).ranking
    tracker.finish_study(ranking, model(spec, rows, database, ranking[0], folder / "model") if mlflow else None)
    tracker.close(5)
    return study


def model(spec: Spec, rows: Prepared, database: Path, best: Trial, folder: Path) -> Path:
    """Save the champion's model, as a session does."""
    storage = StudyDatabase.open(url_of(str(database)), create=False)
    try:
        weights = storage.weights.load()[best.stage, best.number].weights
    finally:
        storage.close()
    dataset, folds = rows[0].at(best.point), rows[1][rows[0].at(best.point).number]
    build_model(spec, dataset, folds, best, weights).save(folder)
    return folder


def study_info(spec: Spec, database: Path) -> StudyInfo:
    """Describe the study for the tracker, as a session does."""
    storage = StudyDatabase.open(url_of(str(database)), create=False)
    try:
        stored = storage.study.find()
        assert stored is not None
        return StudyInfo(spec, stored.identity, stored.created, {})
    finally:
        storage.close()


def outcome(folder: Path, mlflow: bool) -> str:
    """Return the contents of the database and of MLflow."""
    stored = dump(folder / "small.db")
    return stored + cases.tracked(folder / "mlflow.db") if mlflow else stored


def speed_up() -> None:
    """Skip waiting, and read Optuna's migrations once: both take time and test nothing here."""
    stage_run.COLLECT_TIMEOUT = 0.0
    versions: Any = optuna.storages._rdb.storage._VersionManager
    versions.get_head_version = functools.cache(versions.get_head_version)
    versions.check_table_schema_compatibility = lambda _: None


def main(folder: Path, first: int, step: int, which: str) -> None:
    speed_up()
    spec, mlflow = cases.small(**STUDIES[which]), which == "mlflow"
    rows = prepare(spec.data, spec.seed, folder)
    whole, place, aside = folder / "uninterrupted", folder / "place", folder / "aside"
    whole.mkdir()
    if mlflow:  # created once: its migrations take longer than a study
        TRACKERS["mlflow"](f"sqlite:///{whole / 'mlflow.db'}").close(5)
    shutil.copytree(whole, place)
    study = run(spec, rows, whole, 0, mlflow)  # imported here, so that the children need not import it
    states = Counter(r.state for r in cases.rows(study))
    if which == "rich":
        assert len(reusable_trials(study.space, study.boxes[1], study.trials[:1])) > 10 and states.keys() == {
            "complete"
        }
    else:
        assert states.keys() == {"complete", "pruned", "diverged"} and len(study.trials) == 3
        assert len(study.trials[0]) + len(study.trials[1]) >= 24
    uninterrupted = outcome(whole, mlflow)
    (ready, say), (hear, go) = os.pipe(), os.pipe()
    count = 0

    def stop(_connection: sa.Connection) -> None:
        nonlocal count
        count += 1
        if count >= first and (count - first) % step == 0:
            os.write(say, count.to_bytes(8))
            os.read(hear, 1)

    recorder = forked(spec, rows, place, first, mlflow, stop)
    os.close(say)
    while limit := int.from_bytes(os.read(ready, 8)):
        place.rename(aside)
        shutil.copytree(aside, place)
        code = ended(forked(spec, rows, place, -limit, mlflow))
        print(limit, verdict(code, place, mlflow, uninterrupted), flush=True)
        shutil.rmtree(place)
        aside.rename(place)
        os.write(go, b".")
    print("none", verdict(ended(recorder), place, mlflow, uninterrupted))


def ended(pid: int) -> int:
    """Return the exit code of a child when it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def verdict(code: int, place: Path, mlflow: bool, uninterrupted: str) -> str:
    if code:
        return f"exit code {code}"
    return "same" if outcome(place, mlflow) == uninterrupted else "other"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if sys.argv[4:] else "full")
