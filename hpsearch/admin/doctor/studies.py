"""Study databases: whole and readable, in step with Optuna's tables, and run by whom."""

import contextlib
import json
import shlex
import zlib
from collections import Counter
from pathlib import Path

from hpsearch.admin.doctor.base import ELSEWHERE, Finding, Findings, Reader, file_at, reading, unbroken
from hpsearch.core.text import format_count
from hpsearch.errors import HpsearchError

DAMAGED = "restore a copy of it, or start in another file: hpsearch run STUDY.yaml --storage NEW.db"


def nearby() -> list[str]:
    """Databases of studies in this folder and in `studies`, and what is too damaged to tell."""
    found = []
    for path in (*sorted(Path().glob("*.db")), *sorted(Path("studies").glob("*.db"))):
        try:
            with reading(str(path)) as study:
                ours = "hpsearch_study" in study.tables()
        except Exception as error:  # what it is of, is said where it is checked
            ours = "damaged" in str(error)
        found += [str(path)] if ours else []
    return found


def database(name: str) -> Findings:
    from hpsearch.storage.database import display_name
    from hpsearch.storage.sqlite_file import url_of

    where = display_name(url_of(name))
    with reading(name) as study:
        if "hpsearch_study" not in study.tables():
            yield Finding("FAIL", f"{where}: a database, but not of an hpsearch study", ELSEWHERE)
        elif harm := study.damage():
            yield Finding("FAIL", f"{where}: is damaged ({harm})", DAMAGED)
        elif not study.rows("SELECT name FROM hpsearch_study"):
            yield Finding("warn", f"{where}: holds no study yet", "hpsearch run STUDY.yaml")
        else:
            for check in (settings, trials, checkpoints, told, lease):
                yield from unbroken(f"{where}: {check.__name__}", check, where, study)


def settings(where: str, study: Reader) -> Findings:
    from hpsearch.config.load import restore_spec
    from hpsearch.storage.tables import spec_hash

    row = study.rows("SELECT * FROM hpsearch_study")[0]._mapping
    if row["hash"] != spec_hash(row["spec"]):
        what = f"{where}: the settings in it are not those that were stored (their hash differs)"
        yield Finding("FAIL", what, DAMAGED)
    try:
        restore_spec(json.loads(row["spec"]), where)
        yield Finding("ok", f"{where}: study '{row['name']}', whole and readable, begun with {row['version']}")
    except (HpsearchError, ValueError, TypeError) as error:
        what = f"{where}: its settings cannot be read ({str(error).splitlines()[0].removeprefix(f'{where}: ')})"
        yield Finding("FAIL", what, f"go on with what began it, {row['version']}, or {DAMAGED}")


def trials(where: str, study: Reader) -> Findings:
    counts = Counter[str]()
    for row in study.rows("SELECT stage, number, state, internal_params, history FROM hpsearch_trial"):
        counts[row.state] += row.stage != "@prior"
        try:
            assert isinstance(json.loads(row.internal_params), dict)
            assert row.state == "running" or json.loads(zlib.decompress(row.history)) is not None
        except (AssertionError, TypeError, ValueError, zlib.error):
            yield Finding("FAIL", f"{where}: trial {row.stage}/{row.number} cannot be read", DAMAGED)
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()) if count)
    yield Finding("ok", f"{where}: {format_count(counts.total(), 'trial')}{states and f': {states}'}")


def checkpoints(where: str, study: Reader) -> Findings:
    from engine.training.state import State
    from engine.types import EngineError

    readable = 0
    for row in study.rows("SELECT stage, number, history, state FROM hpsearch_checkpoint"):
        try:
            State.from_bytes(row.state)
            json.loads(zlib.decompress(row.history))
            readable += 1
        except (EngineError, TypeError, ValueError, zlib.error):
            what = f"{where}: the checkpoint of {row.stage}/{row.number} cannot be read; that trial begins again"
            yield Finding("warn", what, f"hpsearch resume {shlex.quote(where)}")
    if readable:
        yield Finding("ok", f"{where}: {format_count(readable, 'checkpoint')} readable")


def told(where: str, study: Reader) -> Findings:
    """Optuna's tables first: ours may grow meanwhile, and are ahead."""
    from hpsearch.storage.sqlite_file import url_of

    if not {"studies", "trials"} <= study.tables():
        yield Finding("ok", f"{where}: Optuna's tables are not made yet")
        return
    query = "SELECT s.study_name, count(t.trial_id) FROM studies s LEFT JOIN trials t ON t.study_id = s.study_id"
    theirs = study.rows(f"{query} GROUP BY s.study_name")
    name = study.rows("SELECT name FROM hpsearch_study")[0].name
    query = "SELECT stage, count(*) FROM hpsearch_trial WHERE state <> 'running' GROUP BY stage"
    ours = Counter({f"{name}/{stage}": count for stage, count in study.rows(query)})
    ahead = [(full, count) for full, count in theirs if full.startswith(f"{name}/") and count > ours[full]]
    for full, count in ahead:
        what = f"Optuna's tables have {format_count(count, 'trial')} of '{full}', of which {ours[full]} are finished"
        drop = f"optuna delete-study --storage {shlex.quote(url_of(where))} --study-name {shlex.quote(full)}"
        yield Finding("FAIL", f"{where}: {what}", f"after a copy: {drop}; hpsearch resume makes it anew")
    if not ahead:
        yield Finding("ok", f"{where}: Optuna's tables agree, {format_count(sum(n for _, n in theirs), 'trial')} told")


def lease(where: str, study: Reader) -> Findings:
    who, runs = holder(where, study)
    resume = f"hpsearch resume {shlex.quote(where)}"
    if who is None:
        unfinished = study.rows("SELECT 1 FROM hpsearch_trial WHERE state = 'running'")
        yield Finding("ok", f"{where}: nobody runs it" + f"; go on with: {resume}" * bool(unfinished))
    elif runs:
        yield Finding("ok", f"{where}: is run by {who}")
    else:
        yield Finding("warn", f"{where}: was run by {who}, which is gone; whoever runs it next takes it over", resume)


def holder(where: str, study: Reader) -> tuple[object, bool]:
    """Who has the study, and whether it still does: its process may be gone, and its number another's."""
    from filelock import FileLock, Timeout

    from hpsearch.storage.lease import Holder

    has = "hpsearch_lease" in study.tables()
    found = study.rows("SELECT host, pid, since, heartbeat FROM hpsearch_lease") if has else []
    if not found:
        return None, False
    who, lock = Holder(*found[0]), Path(f"{(file_at(where) or Path(where)).resolve()}.lock")
    if not who.gone and who.host == Holder.me().host and lock.exists():
        with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
            return who, False
    return who, not who.gone
