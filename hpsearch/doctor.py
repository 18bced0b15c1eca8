"""Looks at the installation, the machine, study databases and MLflow; says what to do, and changes nothing.

What may be missing or broken is imported inside the check that needs it.
"""

import base64
import contextlib
import json
import os
import re
import shlex
import shutil
import sqlite3
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.client import HTTPException
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

from hpsearch.errors import HpsearchError, printable

if TYPE_CHECKING:
    from sqlalchemy import Connection

LOW, LEAST = 1e9, 50e6  # bytes free: less is worth a word; too little
PATIENCE = 5.0  # seconds for a server, or another process that writes
PIP = f"{shlex.quote(sys.executable)} -m pip install"
DAMAGED = "restore a copy of it, or start in another file: hpsearch run STUDY.yaml --storage NEW.db"
ELSEWHERE = "name another file, or start a study: hpsearch run STUDY.yaml"


class Finding(NamedTuple):
    """A line: `ok`, `warn` or `FAIL`, what was found, and what mends it."""

    level: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return printable(f"{self.level:<4}  {self.what}" + f" → {self.remedy}" * bool(self.remedy))


Findings = Iterator[Finding]


def examine(databases: Sequence[str], tracking: str) -> Findings:
    """Every check in turn; none ends the next.

    Args:
        databases: files or URLs; when there are none, those of studies in this folder and in `studies`.
        tracking: MLflow's URI, or "none".
    """
    yield from _unbroken("Python", python)
    yield from _unbroken("packages", packages)
    yield from _unbroken("BLAS", blas)
    yield from _unbroken("CPUs", processors)
    names = list(databases) or nearby()
    yield from _unbroken("disk", partial(disk, names, tracking))
    if not names:
        yield Finding("ok", "studies: no database of one in this folder or in studies/")
    for name in names:
        yield from _unbroken(name, partial(_settled, name, partial(database, name)))
    yield from _unbroken("MLflow", strays)
    yield from _unbroken("MLflow", partial(_settled, tracking, partial(mlflow, tracking, names)))


def _unbroken(name: str, check: Callable[[], Findings]) -> Findings:
    """What a check finds, and that it broke if it does."""
    try:
        yield from check()
    except HpsearchError as error:
        what, _, remedy = str(error).replace("\n", "; ").partition("; ")
        yield Finding("FAIL", what, remedy or ELSEWHERE)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        yield Finding("warn", f"{name}: could not be checked: {type(error).__name__}: {first}", "mend what it names")


def _settled(name: str, check: Callable[[], Findings]) -> Findings:
    """What is found in a file; when that fails and the file was written meanwhile, what is found then."""
    path = _file(name)
    before = path and _stamp(path)
    found = list(_unbroken(name, check))
    again = any(f.level == "FAIL" for f in found) and path is not None and _stamp(path) != before
    yield from _unbroken(name, check) if again else found


def _stamp(path: Path) -> list[tuple[int, int]]:
    files = [Path(f"{path}{end}") for end in ("", "-wal")]
    return [(s.st_mtime_ns, s.st_size) for s in (f.stat() for f in files if f.exists())]


def _file(name: str) -> Path | None:
    """The file of a SQLite database, a path or a URL."""
    from hpsearch.database import file_of, url_of

    with contextlib.suppress(HpsearchError):
        return file_of(url_of(name))
    return None


# The installation and the machine.


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def python() -> Findings:
    from packaging.specifiers import SpecifierSet

    needed = metadata.metadata("hpsearch")["Requires-Python"]
    version = ".".join(map(str, sys.version_info[:3]))
    if version in SpecifierSet(needed):
        yield Finding("ok", f"Python {version}, {needed} needed")
    else:
        yield Finding("FAIL", f"Python {version}, {needed} needed", "make a venv with a newer one, and install there")


def packages() -> Findings:
    from packaging.requirements import Requirement

    found = []
    for needed in map(Requirement, metadata.requires("hpsearch") or ()):
        gp = needed.marker is not None and not needed.marker.evaluate({"extra": ""})
        if gp and not needed.marker.evaluate({"extra": "gp"}):  # type: ignore[union-attr]  # there is one
            continue
        name, get = needed.name, f"{PIP} {shlex.quote(f'{needed.name}{needed.specifier}')}"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield (
                Finding("ok", f"{name} is not installed; only sampler gp needs it: {get}")
                if gp
                else Finding("FAIL", f"{name} is not installed, {needed.specifier} needed", get)
            )
            continue
        if needed.specifier.contains(version, prereleases=True):
            found.append(f"{name} {version}")
        else:
            yield Finding("warn" if gp else "FAIL", f"{name} {version}, {needed.specifier} needed", get)
    yield Finding("ok", f"packages as needed: {', '.join(found)}")


def blas() -> Findings:
    import numpy  # noqa: F401 (brings its BLAS)
    from threadpoolctl import threadpool_info, threadpool_limits

    def pools() -> list[dict[str, Any]]:
        return [pool for pool in threadpool_info() if pool["user_api"] == "blas"]

    free = pools()
    with threadpool_limits(1):  # as every worker does
        held = all(pool["num_threads"] == 1 for pool in pools())
    for pool in free:
        kernels = f", kernels {pool['architecture']}" if pool.get("architecture") else ""
        text = f"BLAS: {pool['internal_api']} {pool['version']}{kernels}, {pool['num_threads']} threads by itself"
        yield (
            Finding("ok", f"{text}, 1 in a worker")
            if held
            else Finding(
                "warn", f"{text}, nor can it be held to 1 in a worker", "export OMP_NUM_THREADS=1 before hpsearch run"
            )
        )
    if not free:
        yield Finding(
            "warn",
            "BLAS: NumPy's is none that can be held to one thread a worker",
            "export OMP_NUM_THREADS=1 VECLIB_MAXIMUM_THREADS=1 before hpsearch run",
        )


def processors() -> Findings:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota()
    text = f"CPUs: {count} for this process, so many workers does `workers: auto` start"
    if limit is not None and limit < count:
        best = max(1, int(limit))
        yield Finding("warn", f"{text}, but the container has time for {limit:g}", f"hpsearch run --workers {best}")
    else:
        yield Finding("ok", text)


def quota(root: Path = Path("/sys/fs/cgroup"), mine: Path = Path("/proc/self/cgroup")) -> float | None:
    """How many CPUs' time the control groups of this process allow; None for all."""
    limits = []
    for line in mine.read_text().splitlines() if mine.exists() else ():
        _, names, path = line.split(":", 2)
        base = root / names
        for place in (base / path.lstrip("/"), *(base / path.lstrip("/")).parents):
            with contextlib.suppress(OSError, ValueError):  # no such file; "max"
                time, period = (place / "cpu.max").read_text().split()
                limits.append(int(time) / int(period))
            with contextlib.suppress(OSError, ValueError):  # of the older kind
                time, period = ((place / f"cpu.cfs_{word}_us").read_text() for word in ("quota", "period"))
                limits += [int(time) / int(period)] if int(time) > 0 else []
            if place == base:
                break
    return min(limits, default=None)


def disk(names: Sequence[str], tracking: str) -> Findings:
    files = [_file(name) for name in names] or [Path("here")]
    files += [_file(tracking)] if tracking.startswith("sqlite") else []
    folders = [file.absolute().parent for file in files if file] + [Path(tempfile.gettempdir())]
    there = (next(p for p in (folder, *folder.parents) if p.is_dir()).resolve() for folder in folders)
    disks: dict[int, list[str]] = {}
    for folder in dict.fromkeys(there):
        try:
            with tempfile.TemporaryFile(dir=folder):
                disks.setdefault(folder.stat().st_dev, []).append(str(folder))
        except OSError as error:
            remedy = f"chmod u+w {shlex.quote(str(folder))}, or work elsewhere"
            yield Finding("FAIL", f"disk: {folder} cannot be written: {error.strerror}", remedy)
    for together in disks.values():
        free = shutil.disk_usage(together[0]).free
        size = f"{free / 1e9:.1f} GB" if free >= LOW else f"{free / 1e6:.0f} MB"
        level = "FAIL" if free < LEAST else "warn" if free < LOW else "ok"
        yield Finding(level, f"disk: {size} free for {', '.join(together)}", "free some space" * (level != "ok"))
    for file in files:
        if file and file.is_file() and not os.access(file, os.W_OK):
            yield Finding("FAIL", f"{file}: cannot be written", f"chmod u+w {shlex.quote(str(file))}")


# Study databases.


def nearby() -> list[str]:
    """Databases of studies in this folder and in `studies`, and what is too damaged to tell."""
    found = []
    for path in (*sorted(Path().glob("*.db")), *sorted(Path("studies").glob("*.db"))):
        try:
            with reading(str(path)) as connection:
                ours = "hpsearch_study" in _tables(connection)
        except HpsearchError as error:
            ours = "damaged" in str(error)
        found += [str(path)] if ours else []
    return found


@contextlib.contextmanager
def reading(name: str) -> "Iterator[Connection]":
    """A connection that only reads, and leaves no file beside a database that nobody has open.

    Raises:
        StorageError: there is no database, or it cannot be read.
    """
    import sqlalchemy as sa

    from hpsearch.database import check_file, file_of, guard, url_of

    url, path = url_of(name), file_of(url_of(name))
    with contextlib.ExitStack() as stack:
        if path is None:
            stack.enter_context(guard(url))
            engine = sa.create_engine(url)
        else:
            check_file(path, create=False)
            wal, journal = Path(f"{path}-wal"), Path(f"{path}-journal")
            if journal.exists() and journal.stat().st_size and not _opens(path):  # to be rolled back: in a copy
                copy = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpsearch-"))) / "copy.db"
                shutil.copy(path, copy)
                shutil.copy(journal, f"{copy}-journal")
                path, mode = copy, "mode=rw"
            else:  # a log that is not there would be made, and stay
                with path.open("rb") as file:
                    logged = file.read(20)[18:] == b"\2\2"
                mode = "immutable=1" if logged and not wal.exists() else "mode=ro"
            address = f"file:{quote(str(path.absolute()))}?{mode}"
            stack.enter_context(guard(url))
            engine = sa.create_engine(
                "sqlite://", creator=lambda: sqlite3.connect(address, uri=True, timeout=PATIENCE), poolclass=sa.NullPool
            )
        stack.callback(engine.dispose)
        yield stack.enter_context(engine.connect())


def _opens(path: Path) -> bool:
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
        return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone())
    return False


def _tables(connection: "Connection") -> set[str]:
    import sqlalchemy as sa

    return set(sa.inspect(connection).get_table_names())


def _rows(connection: "Connection", query: str) -> list[Any]:
    return list(connection.exec_driver_sql(query).all())


def _damage(connection: "Connection") -> str:
    """What SQLite says of its file when that is not whole."""
    if connection.dialect.name != "sqlite":
        return ""
    verdict = str(_rows(connection, "PRAGMA integrity_check(1)")[0][0])
    return "" if verdict == "ok" else verdict.splitlines()[-1]


def database(name: str) -> Findings:
    from hpsearch.database import shown, url_of

    where = shown(url_of(name))
    with reading(name) as connection:
        if "hpsearch_study" not in _tables(connection):
            yield Finding("FAIL", f"{where}: a database, but not of an hpsearch study", ELSEWHERE)
            return
        if damage := _damage(connection):
            yield Finding("FAIL", f"{where}: is damaged ({damage})", DAMAGED)
            return
        if not _rows(connection, "SELECT name FROM hpsearch_study"):
            yield Finding("warn", f"{where}: holds no study yet", "hpsearch run STUDY.yaml")
            return
        for check in (settings, trials, checkpoints, told, lease):
            yield from _unbroken(f"{where}: {check.__name__}", partial(check, where, connection))


def settings(where: str, connection: "Connection") -> Findings:
    from hpsearch import checking
    from hpsearch.storage import digest

    row = connection.exec_driver_sql("SELECT * FROM hpsearch_study").mappings().all()[0]
    if row.get("hash") not in (None, digest(row["spec"])):
        yield Finding(
            "FAIL", f"{where}: the settings in it are not those that were stored (their hash differs)", DAMAGED
        )
    try:
        checking.restore(json.loads(row["spec"]), where)
        yield Finding("ok", f"{where}: study '{row['name']}', whole and readable, begun with {row['version']}")
    except (HpsearchError, ValueError, TypeError) as error:
        what = f"{where}: its settings cannot be read ({str(error).splitlines()[0].removeprefix(f'{where}: ')})"
        yield Finding("FAIL", what, f"go on with what began it, {row['version']}, or {DAMAGED}")


def trials(where: str, connection: "Connection") -> Findings:
    counts: dict[str, int] = {}
    for row in _rows(connection, "SELECT stage, number, state, raws, history FROM hpsearch_trial"):
        counts[row.state] = counts.get(row.state, 0) + (row.stage != "@prior")
        try:
            assert isinstance(json.loads(row.raws), dict)
            assert row.state == "running" or json.loads(zlib.decompress(row.history)) is not None
        except (AssertionError, TypeError, ValueError, zlib.error):
            yield Finding("FAIL", f"{where}: trial {row.stage}/{row.number} cannot be read", DAMAGED)
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()) if count)
    yield Finding("ok", f"{where}: {_many(sum(counts.values()), 'trial')}{f': {states}' if states else ''}")


def checkpoints(where: str, connection: "Connection") -> Findings:
    from engine.state import State
    from engine.types import EngineError

    readable = 0
    for row in _rows(connection, "SELECT stage, number, history, state FROM hpsearch_checkpoint"):
        try:
            json.loads(zlib.decompress(row.history))
            State.from_bytes(row.state)
            readable += 1
        except (TypeError, ValueError, zlib.error):
            yield Finding("FAIL", f"{where}: the curves of {row.stage}/{row.number} cannot be read", DAMAGED)
        except EngineError:
            what = f"{where}: the checkpoint of {row.stage}/{row.number} cannot be read; that trial begins again"
            yield Finding("warn", what, f"hpsearch resume {shlex.quote(where)}")
    if readable:
        yield Finding("ok", f"{where}: {_many(readable, 'checkpoint')} readable")


def told(where: str, connection: "Connection") -> Findings:
    """Optuna's tables first: ours may grow meanwhile, and are ahead."""
    if not {"studies", "trials"} <= _tables(connection):
        yield Finding("ok", f"{where}: Optuna's tables are not made yet")
        return
    query = "SELECT s.study_name, count(t.trial_id) FROM studies s LEFT JOIN trials t ON t.study_id = s.study_id"
    theirs = dict(map(tuple, _rows(connection, f"{query} GROUP BY s.study_name")))
    study = _rows(connection, "SELECT name FROM hpsearch_study")[0].name
    ours = dict(
        map(
            tuple,
            _rows(connection, "SELECT stage, count(*) FROM hpsearch_trial WHERE state <> 'running' GROUP BY stage"),
        )
    )
    wrong = False
    for full, count in theirs.items():
        if full.startswith(f"{study}/") and count > (finished := ours.get(full.removeprefix(f"{study}/"), 0)):
            wrong = True
            what = (
                f"{where}: Optuna's tables have {_many(count, 'trial')} of '{full}', of which {finished} are finished"
            )
            drop = f"optuna delete-study --storage {shlex.quote(f'sqlite:///{where}')} --study-name {shlex.quote(full)}"
            yield Finding("FAIL", what, f"after a copy: {drop}; hpsearch resume makes it anew")
    if not wrong:
        yield Finding("ok", f"{where}: Optuna's tables agree, {_many(sum(theirs.values()), 'trial')} told")


def lease(where: str, connection: "Connection") -> Findings:
    who, runs = _holder(where, connection)
    if who is None:
        query = "SELECT count(*) FROM hpsearch_trial WHERE state = 'running'"
        onwards = f"; go on with: hpsearch resume {shlex.quote(where)}" * bool(_rows(connection, query)[0][0])
        yield Finding("ok", f"{where}: nobody runs it{onwards}")
    elif runs:
        yield Finding("ok", f"{where}: is run by {who}")
    else:
        what = f"{where}: was run by {who}, which is gone; whoever runs it next takes it over"
        yield Finding("warn", what, f"hpsearch resume {shlex.quote(where)}")


def _holder(where: str, connection: "Connection") -> tuple[object, bool]:
    """Who has the study, and whether it still does: its process may be gone, and its number another's."""
    from filelock import FileLock, Timeout

    from hpsearch.lease import Holder

    has = "hpsearch_lease" in _tables(connection)
    rows = _rows(connection, "SELECT host, pid, since, beat FROM hpsearch_lease") if has else []
    if not rows:
        return None, False
    who = Holder(*rows[0])
    lock = Path(f"{where}.lock")
    if not who.gone and who.host == Holder.me().host and lock.exists():
        with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
            return who, False
    return who, not who.gone


# MLflow.


def strays() -> Findings:
    for path in (Path("mlruns/meta.yaml"), Path("mlruns/0/meta.yaml")):
        if path.exists():
            what = f"MLflow: {path} makes MLflow's own commands choose its file store, which is no more"
            yield Finding("warn", what, f"mv {path} {path}.old")


def mlflow(tracking: str, names: Sequence[str]) -> Findings:
    scheme = tracking.partition("://")[0].partition("+")[0]
    path = _file(tracking)
    if tracking == "none":
        yield Finding("ok", "MLflow: not used")
    elif scheme in ("http", "https"):
        yield from health(tracking)
    elif scheme not in ("sqlite", "postgresql", "mysql", "mssql"):
        yield Finding(
            "FAIL", f"MLflow: {tracking} is no tracking database", "--tracking-uri sqlite:///mlruns/mlflow.db"
        )
    elif scheme == "sqlite" and path and not path.exists():
        yield Finding("ok", f"MLflow: {path} is not there yet; the first run makes it")
    else:
        with reading(tracking) as connection:
            where = str(path or tracking)
            fine = True
            for finding in schema(where, tracking, connection):
                fine = fine and finding.level == "ok"
                yield finding
            if fine:
                yield from unsettled(tracking, connection, names)


def schema(where: str, tracking: str, connection: "Connection") -> Findings:
    """Whether the tracking database is whole, and of the revision that the installed MLflow expects."""
    away = "move it away (the next run makes a new one), then: hpsearch sync DATABASE"
    if not {"alembic_version", "experiments", "runs"} <= _tables(connection):
        yield Finding("FAIL", f"MLflow: {where}: a database, but not MLflow's", "name another one with --tracking-uri")
    elif damage := _damage(connection):
        yield Finding("FAIL", f"MLflow: {where}: is damaged ({damage})", f"restore a copy, or {away}")
    else:
        head, older = revisions()
        current = _rows(connection, "SELECT version_num FROM alembic_version")[0][0]
        text = f"MLflow: {where}: schema {current}, MLflow {metadata.version('mlflow')}"
        if current == head:
            yield Finding("ok", f"{text} expects it")
        elif current in older:
            command = f"{shlex.quote(sys.executable)} -m mlflow db upgrade {shlex.quote(tracking)}"
            yield Finding("FAIL", f"{text} expects the newer {head}", f"after a copy: {command}")
        else:
            yield Finding("FAIL", f"{text} does not know it: it is a newer one's", f"{PIP} --upgrade mlflow")


def revisions() -> tuple[str, set[str]]:
    """The schema that the installed MLflow expects, and those before it, without importing it."""
    spec = util.find_spec("mlflow")
    assert spec is not None and spec.origin is not None
    files = (Path(spec.origin).parent / "store/db_migrations/versions").glob("*.py")
    lines = [line for f in files for line in re.findall(r"^(?:down_)?revision\b.*=.*$", f.read_text("utf-8"), re.M)]
    names = {word for line in lines if line.startswith("rev") for word in re.findall(r"[\"'](\w+)[\"']", line)}
    older = {word for line in lines if line.startswith("down") for word in re.findall(r"[\"'](\w+)[\"']", line)}
    (head,) = names - older
    return head, older


def unsettled(tracking: str, connection: "Connection", names: Sequence[str]) -> Findings:
    """Runs that nobody will end."""
    query = "SELECT t.value AS identity, max(d.value) AS name, count(*) AS runs FROM runs r"
    query += " JOIN experiment_tags t ON t.experiment_id = r.experiment_id AND t.key = 'hpsearch.study'"
    query += " LEFT JOIN experiment_tags d ON d.experiment_id = r.experiment_id AND d.key = 'hpsearch.database'"
    query += " WHERE r.status = 'RUNNING' AND r.lifecycle_stage = 'active' GROUP BY t.value"
    for row in _rows(connection, query):
        name, runs = next(
            ((n, runs) for n in (*names, row.name or "") if (runs := _running(n, row.identity)) is not None),
            (row.name or "DATABASE", False),
        )
        if not runs:
            what = f"MLflow: {_many(row.runs, 'run')} of {name} left RUNNING, which nobody runs"
            option = "" if Path("mlruns/mlflow.db").absolute() == _file(tracking) else f" --tracking-uri {tracking}"
            yield Finding("warn", what, f"hpsearch sync {shlex.quote(name)}{option}")


def _running(name: str, identity: str) -> bool | None:
    """Whether the study in a database is run; None when it is another study's, or none."""
    with contextlib.suppress(HpsearchError), reading(name) as connection:
        if "hpsearch_study" in _tables(connection):
            rows = _rows(connection, "SELECT identity FROM hpsearch_study")
            return _holder(name, connection)[1] if rows and rows[0].identity == identity else None
    return None


def health(tracking: str) -> Findings:
    """Whether a tracking server answers."""
    parts = urlsplit(tracking)
    user, _, host = parts.netloc.rpartition("@")
    where = f"MLflow: {parts.scheme}://{host}{parts.path}"
    request = Request(f"{parts.scheme}://{host}{parts.path.rstrip('/')}/health")
    if user:
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(unquote(user).encode()).decode()}")
    again = "start it, or run with another --tracking-uri, or none; later: hpsearch sync DATABASE"
    try:
        with urlopen(request, timeout=PATIENCE) as answer:
            fine = answer.read(99).strip() == b"OK"
        yield Finding("ok", f"{where} answers") if fine else Finding("FAIL", f"{where} is no MLflow server", again)
    except HTTPError as error:
        yield Finding("FAIL", f"{where} answers {error.code}", again)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield Finding("FAIL", f"{where} does not answer ({reason})", again)
