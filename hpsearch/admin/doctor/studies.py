"""Study databases: whether each is whole, readable, in step with Optuna's tables, and who runs it."""

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hpsearch.admin.doctor.base import PATIENCE, Finding, Findings, unbroken
from hpsearch.core.text import format_count
from hpsearch.errors import HpsearchError, StorageError

if TYPE_CHECKING:
    from hpsearch.storage.study_db import StudyDatabase

RESTORE = "restore a copy of it, or start in another file: hpsearch run STUDY.yaml --storage NEW.db"


@contextlib.contextmanager
def study_snapshot(name: str) -> "Iterator[StudyDatabase]":
    """Open a study database for reading only.

    Args:
        name: a file or a URL.

    Raises:
        StorageError: it does not exist, cannot be read, or is not a study database.
    """
    from hpsearch.storage.connection import checked_file
    from hpsearch.storage.sqlite_file import url_of
    from hpsearch.storage.study_db import StudyDatabase

    checked_file(url_of(name), create=False)
    with StudyDatabase.snapshot(url_of(name), PATIENCE) as study:
        yield study


def nearby() -> list[str]:
    """Return the study databases in this folder and in `studies`, and files that are too damaged to tell."""
    found = []
    for path in (*sorted(Path().glob("*.db")), *sorted(Path("studies").glob("*.db"))):
        try:
            with study_snapshot(str(path)):
                ours = True
        except Exception as error:  # the check of the database itself reports it
            ours = "damaged" in str(error) or "another version" in str(error)
        found += [str(path)] if ours else []
    return found


def database(name: str) -> Findings:
    from hpsearch.storage.database import display_name
    from hpsearch.storage.sqlite_file import url_of

    where = display_name(url_of(name))
    with study_snapshot(name) as study:
        study.connection.check(thorough=True)
        try:
            stored = study.study.find()
        except StorageError:
            yield Finding("FAIL", f"{where}: its settings cannot be read", RESTORE)
            return
        if stored is None:
            yield Finding("warn", f"{where}: holds no study yet", "hpsearch run STUDY.yaml")
            return
        for check in (settings, trials, checkpoints, mirror, lease):
            yield from unbroken(f"{where}: {check.__name__}", check, where, study)


def settings(where: str, study: "StudyDatabase") -> Findings:
    from hpsearch.config.load import restore_spec

    if not study.study.is_unchanged():
        what = f"{where}: the settings in it are not those that were stored (their hash differs)"
        yield Finding("FAIL", what, RESTORE)
    stored = study.study.load()
    try:
        restore_spec(stored.spec, where)
        yield Finding("ok", f"{where}: study '{stored.name}', whole and readable, begun with {stored.version}")
    except (HpsearchError, ValueError, TypeError) as error:
        what = f"{where}: its settings cannot be read ({str(error).splitlines()[0].removeprefix(f'{where}: ')})"
        yield Finding("FAIL", what, f"resume with the version that began it, {stored.version}, or {RESTORE}")


def trials(where: str, study: "StudyDatabase") -> Findings:
    from hpsearch.storage.records import PRIOR

    for stage, number in study.trials.damaged():
        yield Finding("FAIL", f"{where}: trial {stage}/{number} cannot be read", RESTORE)
    counts = Counter[str]()
    for (stage, state), count in study.trials.states().items():
        counts[state] += count if stage != PRIOR else 0
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()) if count)
    yield Finding("ok", f"{where}: {format_count(counts.total(), 'trial')}{states and f': {states}'}")


def checkpoints(where: str, study: "StudyDatabase") -> Findings:
    from engine.training.state import State
    from engine.types import EngineError

    readable = 0
    for stage in sorted({stage for stage, _ in study.trials.states()}):
        for number, stored in study.trials.checkpoints(stage).items():
            try:
                State.from_bytes(stored.checkpoint or b"")
                readable += 1
            except EngineError:
                what = f"{where}: the checkpoint of {stage}/{number} cannot be read; that trial starts again"
                yield Finding("warn", what, f"hpsearch resume {shlex.quote(where)}")
    if readable:
        yield Finding("ok", f"{where}: {format_count(readable, 'checkpoint')} readable")


def mirror(where: str, study: "StudyDatabase") -> Findings:
    from hpsearch.storage.sqlite_file import url_of

    mirrored, name = study.mirror.counts(), study.study.load().name
    if mirrored is None:
        yield Finding("ok", f"{where}: Optuna's tables do not exist yet")
        return
    finished = Counter[str]()
    for (stage, state), count in study.trials.states().items():
        finished[stage] += count if state != "running" else 0
    ahead = [stage for stage, count in mirrored.items() if count > finished[stage]]
    for stage in ahead:
        full, number = f"{name}/{stage}", format_count(mirrored[stage], "trial")
        what = f"Optuna's tables have {number} of '{full}', of which {finished[stage]} are finished"
        drop = f"optuna delete-study --storage {shlex.quote(url_of(where))} --study-name {shlex.quote(full)}"
        yield Finding("FAIL", f"{where}: {what}", f"after a copy: {drop}; hpsearch resume creates it again")
    if not ahead:
        number = format_count(sum(mirrored.values()), "trial")
        yield Finding("ok", f"{where}: Optuna's tables agree, {number} mirrored")


def lease(where: str, study: "StudyDatabase") -> Findings:
    holder, resume = study.lease.holder(), f"hpsearch resume {shlex.quote(where)}"
    if holder is None:
        unfinished = any(state == "running" for _, state in study.trials.states())
        yield Finding("ok", f"{where}: is not running" + f"; resume with: {resume}" * unfinished)
    elif study.lease.is_running():
        yield Finding("ok", f"{where}: is run by {holder}")
    else:
        what = f"{where}: was run by {holder}, which has ended; the next process to run it takes it over"
        yield Finding("warn", what, resume)


def is_running(name: str, identity: str) -> bool | None:
    """Return whether the study in a database is running; None for another study, or none."""
    with contextlib.suppress(HpsearchError), study_snapshot(name) as database:
        found = database.study.find()
        return database.lease.is_running() if found and found.identity == identity else None
    return None
