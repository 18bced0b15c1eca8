"""Checks of study databases: content, agreement with Optuna's tables, and lease."""

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hpsearch.admin.doctor.base import CHECK_TIMEOUT, CheckResult, CheckResults, run_check
from hpsearch.core.text import format_count
from hpsearch.errors import HpsearchError, StorageError

if TYPE_CHECKING:
    from hpsearch.storage.study_db import StudyDatabase

RESTORE_COPY = "restore a copy of it, or start in another file: hpsearch run STUDY.yaml --storage NEW.db"


def find_databases() -> list[str]:
    """Return the study databases in this folder and in `studies`, including damaged files."""
    names = []
    for path in (*sorted(Path().glob("*.db")), *sorted(Path("studies").glob("*.db"))):
        try:
            with study_snapshot(str(path)):
                is_study = True
        except Exception as error:
            is_study = "damaged" in str(error) or "another version" in str(error)
        names += [str(path)] if is_study else []
    return names


@contextlib.contextmanager
def study_snapshot(name: str) -> "Iterator[StudyDatabase]":
    """Open a study database for reading only, for no study in particular.

    Raises:
        StorageError: the database does not exist, cannot be read, or is not a study database.
    """
    from hpsearch.storage.connection import checked_file
    from hpsearch.storage.sqlite_file import url_of
    from hpsearch.storage.study_db import StudyDatabase

    checked_file(url_of(name), create=False)
    with StudyDatabase.snapshot(url_of(name), "", CHECK_TIMEOUT) as database:
        yield database


def check_database(name: str, study: str | None = None) -> CheckResults:
    """Check one study database.

    Args:
        study: check only the study of this name.
    """
    from hpsearch.storage.database import display_name
    from hpsearch.storage.sqlite_file import url_of

    where = display_name(url_of(name))
    with study_snapshot(name) as database:
        database.connection.check(thorough=True)
        names = database.connection.names
        if not names:
            yield CheckResult("warn", f"{where}: contains no study yet", "hpsearch run STUDY.yaml")
        for each in names if study is None else [study]:
            label = where if len(names) == 1 else f"{where}: {each}"
            yield from _check_study(label, database.bound_to(each))


def _check_study(where: str, database: "StudyDatabase") -> CheckResults:
    """Check one study of a database.

    Args:
        where: the database and, if it holds several, the study, as messages name it.
    """
    try:
        stored = database.study.find()
    except StorageError:
        stored = None
    if stored is None:
        yield CheckResult("FAIL", f"{where}: its settings cannot be read", RESTORE_COPY)
        return
    for check in (check_settings, check_trials, check_checkpoints, check_optuna, check_lease):
        yield from run_check(f"{where}: {check.__name__.removeprefix('check_')}", check, where, database)


def check_settings(where: str, database: "StudyDatabase") -> CheckResults:
    """Check the stored study file."""
    from hpsearch.config.load import restore_spec

    if not database.study.is_unchanged():
        text = f"{where}: its settings were changed after they were stored (their hash differs)"
        yield CheckResult("FAIL", text, RESTORE_COPY)
    stored = database.study.load()
    try:
        restore_spec(stored.spec, where)
        yield CheckResult("ok", f"{where}: study '{stored.name}' is readable, started with {stored.version}")
    except (HpsearchError, ValueError, TypeError) as error:
        text = f"{where}: its settings cannot be read ({str(error).splitlines()[0].removeprefix(f'{where}: ')})"
        yield CheckResult("FAIL", text, f"resume with {stored.version}, which started it, or {RESTORE_COPY}")


def check_trials(where: str, database: "StudyDatabase") -> CheckResults:
    """Check that every trial can be read."""
    from hpsearch.storage.records import PRIOR

    for stage, number in database.trials.damaged():
        yield CheckResult("FAIL", f"{where}: trial {stage}/{number} cannot be read", RESTORE_COPY)
    counts = Counter[str]()
    for (stage, state), count in database.trials.states().items():
        counts[state] += count if stage != PRIOR else 0
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()) if count)
    yield CheckResult("ok", f"{where}: {format_count(counts.total(), 'trial')}{states and f': {states}'}")


def check_checkpoints(where: str, database: "StudyDatabase") -> CheckResults:
    """Check that every checkpoint can be read."""
    from engine.training.state import State
    from engine.types import EngineError

    readable = 0
    for stage in sorted({stage for stage, _ in database.trials.states()}):
        for number, stored in database.trials.checkpoints(stage).items():
            try:
                State.from_bytes(stored.checkpoint or b"")
                readable += 1
            except EngineError:
                text = f"{where}: the checkpoint of {stage}/{number} cannot be read; the trial will start again"
                yield CheckResult("warn", text, f"hpsearch resume {database.connection.arguments}")
    if readable:
        yield CheckResult("ok", f"{where}: {format_count(readable, 'checkpoint')} readable")


def check_optuna(where: str, database: "StudyDatabase") -> CheckResults:
    """Check that Optuna's tables have no more trials than are finished."""
    mirrored, study = database.mirror.counts(), database.study.load().name
    if mirrored is None:
        yield CheckResult("ok", f"{where}: Optuna's tables do not exist yet")
        return
    finished = Counter[str]()
    for (stage, state), count in database.trials.states().items():
        finished[stage] += count if state != "running" else 0
    ahead = [stage for stage, count in mirrored.items() if count > finished[stage]]
    for stage in ahead:
        name, trials = f"{study}/{stage}", format_count(mirrored[stage], "trial")
        text = f"Optuna's tables have {trials} of '{name}', but {finished[stage]} are finished"
        delete = f"optuna delete-study --storage {shlex.quote(database.url)} --study-name {shlex.quote(name)}"
        yield CheckResult("FAIL", f"{where}: {text}", f"make a copy, then run: {delete}; hpsearch resume restores it")
    if not ahead:
        trials = format_count(sum(mirrored.values()), "trial")
        yield CheckResult("ok", f"{where}: Optuna's tables agree with {trials}")


def check_lease(where: str, database: "StudyDatabase") -> CheckResults:
    """Check whether the study is running."""
    holder, resume = database.lease.holder(), f"hpsearch resume {database.connection.arguments}"
    if holder is None:
        unfinished = any(state == "running" for _, state in database.trials.states())
        yield CheckResult("ok", f"{where}: not running" + f"; unfinished, resume with: {resume}" * unfinished)
    elif database.lease.is_running():
        yield CheckResult("ok", f"{where}: running in {holder}")
    else:
        text = f"{where}: {holder}, which has ended, holds the lease; the next run takes it over"
        yield CheckResult("warn", text, resume)


def is_running(name: str, identity: str) -> bool | None:
    """Return whether a study of a database is running; None if it holds no such study or cannot be read."""
    with contextlib.suppress(HpsearchError), study_snapshot(name) as database:
        for each in map(database.bound_to, database.connection.names):
            stored = each.study.find()
            if stored and stored.identity == identity:
                return each.lease.is_running()
    return None
