"""Faults of the environment: a full or read-only disk, another process that writes, a damaged file or checkpoint.

Each time the command prints one line that names the file and the fault and exits with 2; no finished trial is lost, and
once the cause is removed the study resumes to the table of an uninterrupted one.
"""

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import cases
import pytest
import sqlalchemy as sa

from hpsearch.data.dataset import prepare
from hpsearch.errors import Interrupted
from hpsearch.storage import sqlite_file
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.storage.tables import METADATA
from tests.crash import test_crash
from tests.hpsearch import test_cli

pytestmark = pytest.mark.crash  # real processes, seconds each

call, memory = test_cli.call, test_crash.memory
Call, Said = test_cli.Call, test_cli.Said

# Two stages and rungs, small enough to be run many times; trials that are pruned, diverge or complete.
SHORT: dict[str, Any] = {
    "train": {"optimizer": "momentum", "epochs": 4, "early_stopping": {"patience": 3, "min_delta": 1e-3}},
    "parameters.learning_rate": {"min": 1e-3, "max": 1e16, "scale": "log"},
    "stages": [
        {"name": "coarse", "trials": 8, "sampler": "random"},
        {"name": "fine", "trials": 4, "sampler": "tpe", "zoom": {"keep_top": 0.9, "margin": 0.2}},
    ],
    "pruning": {"kind": "promote", "min_epochs": 1, "reduction": 2},
    "parallel": 4,
}
TRIALS = 12
LONG: dict[str, Any] = {
    **SHORT,
    "train": {"optimizer": "momentum", "epochs": 60},
}  # long enough for a fault


def run(call: Call, study: Path, file: Path) -> Said:
    return call("run", study, "--storage", file, "--tracking-uri", "none", "--quiet")


def command(folder: Path, changes: dict[str, Any], file: Path) -> "subprocess.Popen[str]":
    """Run the installed command."""
    arguments = ("--storage", file, "--tracking-uri", "none", "--quiet")
    return test_crash.start("run", cases.write(folder, **changes), *arguments, folder=folder)


def ended(process: "subprocess.Popen[str]") -> Said:
    out, errors = process.communicate(timeout=180)
    return Said(process.returncode, out, errors)


def refused(said: Said, *fragments: str) -> None:
    """Check for exit code 2 and one line with the message, after notes at most."""
    assert said.code == 2, said
    lines = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1 and lines[0].startswith("error: "), said
    assert "Best" not in said.out and "Traceback" not in said.err
    for fragment in fragments:
        assert fragment in lines[0]


def finished(file: Path) -> int:
    """Return the number of finished trials in a file, read by SQLite alone, which must find no damage."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hpsearch_trial'").fetchall():
            return 0
        count = connection.execute("SELECT count(*) FROM hpsearch_trial WHERE state != 'running'").fetchone()[0]
        assert isinstance(count, int)
        return count


@contextlib.contextmanager
def at(number: int, happens: Callable[[sa.Connection], object], *, always: bool = False) -> Iterator[None]:
    """Call `happens` when the number-th transaction from now on begins, ours or Optuna's; with `always` also at all
    later ones."""
    count = 0

    def begin(connection: sa.Connection) -> None:
        nonlocal count
        count += 1
        if count == number or (always and count > number):
            happens(connection)

    sa.event.listen(sa.Engine, "begin", begin)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "begin", begin)
    assert count >= number, "the fault never occurred"


@pytest.fixture
def study(memory: Path) -> Path:
    return cases.write(memory, **SHORT)


@pytest.fixture
def file(memory: Path) -> Path:
    return memory / "small.db"


def undisturbed(folder: Path, changes: dict[str, Any]) -> str:
    spec = cases.small(**changes)
    data, _ = prepare(spec.data, spec.seed, folder)
    done = cases.run(spec, data, folder / "undisturbed.db")
    assert {r.state for r in cases.rows(done)} >= {"complete", "pruned", "diverged"}
    return cases.table(folder / "undisturbed.db")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the table of an uninterrupted study."""
    return undisturbed(tmp_path_factory.mktemp("short"), SHORT)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> str:
    return undisturbed(tmp_path_factory.mktemp("long"), LONG)


def identity(file: Path) -> str:
    """Return the identity of the study; another study has another."""
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("SELECT identity FROM hpsearch_study").fetchone()[0])


class Begun(NamedTuple):
    """An unfinished study: the bytes of its files, by suffix, and its finished trials."""

    files: dict[str, bytes]
    finished: int
    identity: str

    def put(self, file: Path, *, log: bool = True) -> None:
        for end in ("", "-wal", "-shm"):
            Path(f"{file}{end}").unlink(missing_ok=True)
        for end, content in self.files.items():
            if log or end == "":
                Path(f"{file}{end}").write_bytes(content)


def unfinished(folder: Path) -> Begun:
    """Return a study stopped in its second stage, when two of its trials have checkpoints."""
    spec, file = cases.small(**SHORT), folder / "small.db"
    data, _ = prepare(spec.data, spec.seed, folder)

    def stop() -> bool:
        with closing(sqlite3.connect(file)) as connection:
            rows = connection.execute("SELECT number FROM hpsearch_checkpoint WHERE stage = 'fine'")
            return len(rows.fetchall()) >= 2

    opened = cases.opened(spec, data, file, stop=stop)
    with pytest.raises(Interrupted), opened as study:
        for _ in study.run():
            pass
    return Begun({"": file.read_bytes()}, finished(file), identity(file))


def killed_at(folder: Path, commit: int) -> Begun:
    """Return a study killed when its n-th transaction begins, whose content is partly in the log and partly in the
    file."""
    spec, file, kept = cases.small(**SHORT), folder / "small.db", list[Begun]()
    data, _ = prepare(spec.data, spec.seed, folder)

    def fold(_connection: sa.Connection) -> None:
        with closing(sqlite3.connect(file)) as other:
            assert other.execute("PRAGMA wal_checkpoint(FULL)").fetchone()[0] == 0

    def keep(_connection: sa.Connection) -> None:
        ends = ("", "-wal")
        (folder / "copy").mkdir()
        for end in ends:
            shutil.copy(f"{file}{end}", folder / "copy")
        files = {end: (folder / "copy" / f"{file.name}{end}").read_bytes() for end in ends}
        kept.append(Begun(files, finished(folder / "copy" / file.name), identity(folder / "copy" / file.name)))

    with cases.opened(spec, data, file) as study, at(commit * 5 // 6, fold), at(commit, keep):
        for _ in study.run():
            pass
    return kept[0]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    begun = unfinished(tmp_path_factory.mktemp("stopped"))
    assert 5 <= begun.finished < TRIALS
    return begun


# ── the disk ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@contextlib.contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A small disk in memory."""
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs to mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(ballast: Path, room: int) -> None:
    """Fill the disk except for this number of bytes."""
    ballast.unlink(missing_ok=True)
    space = os.statvfs(ballast.parent)
    with ballast.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        for _ in range(space.f_bavail - room // space.f_frsize):
            out.write(bytes(space.f_frsize))  # one by one, because others write too


def test_full_disk(call: Call, tmp_path: Path, study: Path, short: str) -> None:
    """The disk is full at one moment after the other; each time the study gets a little further."""
    found = [0]
    with disk(tmp_path / "disk", "8m") as place:
        file, ballast = place / "small.db", place / "ballast"
        for kilobytes in (0, 48, 100, 170, 280, 420, 580):
            fill(ballast, kilobytes * 1024)
            said = run(call, study, file)
            if said.code == 0:
                break
            refused(said, str(file), "disk")
            found.append(finished(file) if file.exists() and file.stat().st_size else 0)
        assert found == sorted(found)
        assert any(0 < n < TRIALS for n in found), "never full in the middle"
        ballast.unlink()
        assert run(call, study, file).code == 0
        assert cases.table(file) == short


def test_disk_that_becomes_full(tmp_path: Path, long: str) -> None:
    """It becomes full while the real command trains."""
    with disk(tmp_path / "disk", "8m") as place:
        file = place / "small.db"
        process = command(tmp_path, LONG, file)
        assert test_crash.await_trials(process, file, 2)
        fill(place / "ballast", 0)
        refused(ended(process), str(file), "the disk is full", "run again")
        count = finished(file)
        assert 2 <= count < TRIALS
        (place / "ballast").unlink()
        said = ended(command(tmp_path, LONG, file))
        assert said.code == 0, said
        assert cases.table(file) == long


def test_read_only_disk(call: Call, tmp_path: Path, study: Path, short: str, stopped: Begun) -> None:
    """It is read-only before a study begins, and before it resumes."""
    with disk(tmp_path / "disk", "8m") as place:

        def remount(how: str) -> None:
            subprocess.run(["mount", "-o", f"remount,{how}", place], check=True)

        file = place / "small.db"
        for begun in (False, True):
            if begun:
                stopped.put(file)
            remount("ro")
            refused(run(call, study, file), str(file), "read-only" if begun else "")
            refused(call("resume", file), str(file))
            remount("rw")
            assert [p.name for p in place.iterdir() if p.suffix != ".lock"] == ["small.db"] * begun
        assert file.read_bytes() == stopped.files[""]
        assert run(call, study, file).code == 0
        assert cases.table(file) == short


@pytest.mark.parametrize("number", [8, 25, 55])
def test_disk_that_becomes_read_only(call: Call, study: Path, file: Path, short: str, number: int) -> None:
    """A disk with files open for writing cannot be remounted, so SQLite is made to refuse as it would then."""
    with at(number, lambda connection: connection.exec_driver_sql("PRAGMA query_only = 1"), always=True):
        refused(run(call, study, file), str(file), "read-only")
    count = finished(file)
    assert count < TRIALS
    assert run(call, study, file).code == 0
    assert cases.table(file) == short


# ── another process that writes ───────────────────────────────────────────────────────────────────────────────────────
@contextlib.contextmanager
def writing(file: Path) -> Iterator[None]:
    """Hold the lock in a process of its own."""
    code = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
        "connection.execute('BEGIN EXCLUSIVE')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    script = [sys.executable, "-c", code, file]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield
        process.communicate()


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.soak)])
@pytest.mark.parametrize("midway", [False, True], ids=["at the start", "midway"])
def test_locked_for_a_while(
    tmp_path: Path, file: Path, stopped: Begun, short: str, long: str, seconds: float, midway: bool
) -> None:
    """The study waits and prints nothing about it."""
    changes = LONG if midway else SHORT
    if midway:
        process = command(tmp_path, changes, file)
        assert test_crash.await_trials(process, file, 2)
    else:
        stopped.put(file)
    with writing(file):
        if not midway:
            process = command(tmp_path, changes, file)
            while process.poll() is None and not Path(f"{file}.lock").exists():  # its next step is a write
                time.sleep(0.01)
        before = test_crash.finished(file)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(seconds)
        assert test_crash.finished(file) == before < TRIALS
    said = ended(process)
    assert said.code == 0 and "error" not in said.err, said
    assert cases.table(file) == (long if midway else short)


@pytest.mark.parametrize("number", [1, 12, 30, 45, 60])
def test_locked_for_too_long(
    call: Call, study: Path, file: Path, stopped: Begun, short: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our connections and Optuna's wait until the timeout, for every kind of write."""
    if number == 1:
        stopped.put(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as other, monkeypatch.context() as patch:
        patch.setattr(sqlite_file, "BUSY_TIMEOUT", 0.2)
        with at(number, lambda _: other.execute("BEGIN IMMEDIATE")):
            begun = time.monotonic()
            refused(run(call, study, file), str(file), "another process is writing to it")
            assert time.monotonic() - begun < 30
        count = finished(file)
        assert count < TRIALS
    assert run(call, study, file).code == 0
    assert cases.table(file) == short


# ── the file ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """Return a study with a log whose content is not in the file yet."""
    begun = killed_at(tmp_path_factory.mktemp("killed"), 36)
    assert 0 < begun.finished < TRIALS and min(map(len, begun.files.values())) > 20 * 4096
    return begun


def hashes(file: Path) -> dict[str, str]:
    """Return the bytes of a file and its log."""
    found = (file, Path(f"{file}-wal"))
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in found if p.exists()}


def refuses(call: Call, study: Path, file: Path, *fragments: str) -> None:
    """Check that every command refuses, and that none writes."""
    before = hashes(file)
    for arguments in (("run", study, "--storage", file), ("resume", file)):
        refused(call(*arguments, "--tracking-uri", "none"), str(file), *fragments)
        assert hashes(file) == before
    refused(call("show", file), str(file), *fragments)
    assert hashes(file) == before


CUTS: dict[str, Callable[[int], int]] = {
    "empty": lambda size: 0,
    "part of the header": lambda size: 10,
    "the header": lambda size: 100,
    "half": lambda size: size // 2,
    "no last page": lambda size: size - 4096,
    "no last byte": lambda size: size - 1,
}


@pytest.mark.parametrize("cut", CUTS)
def test_truncated_file(call: Call, study: Path, file: Path, short: str, stopped: Begun, cut: str) -> None:
    stopped.put(file)
    Path(f"{file}.lock").touch()  # the state after every run
    os.truncate(file, CUTS[cut](file.stat().st_size))
    refuses(call, study, file)
    stopped.put(file)
    assert call("resume", file, "--tracking-uri", "none").code == 0
    assert cases.table(file) == short


@pytest.mark.parametrize("cut", CUTS)
def test_truncated_file_with_its_log(call: Call, study: Path, file: Path, short: str, killed: Begun, cut: str) -> None:
    """The content of the log is not lost with the file: the study resumes."""
    killed.put(file)
    os.truncate(file, CUTS[cut](file.stat().st_size))
    before = hashes(file)
    said = run(call, study, file)
    if said.code:
        refused(said, str(file))
        assert hashes(file) == before
        refuses(call, study, file)
        killed.put(file)
        assert run(call, study, file).code == 0
    assert identity(file) == killed.identity, "the study started again over existing files"
    assert cases.table(file) == short


def test_truncated_log(call: Call, study: Path, file: Path, short: str, killed: Begun) -> None:
    """SQLite reads a log up to its end; the study resumes from there."""
    killed.put(file)
    log = Path(f"{file}-wal")
    for size in (0, log.stat().st_size // 2, log.stat().st_size - 1):
        killed.put(file)
        os.truncate(log, size)
        said = run(call, study, file)
        assert said.code == 0, said
        assert cases.table(file) == short


@pytest.mark.parametrize("log", [False, True], ids=["alone", "with its log"])
@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.soak) for n in range(3, 60))])
def test_overwritten_pages(
    call: Call, study: Path, file: Path, short: str, stopped: Begun, killed: Begun, seed: int, log: bool
) -> None:
    """The damage is found for any content of the pages, or it was in unused space."""
    begun, draw = killed if log else stopped, random.Random(seed)
    begun.put(file)
    with file.open("r+b") as out:
        for page in draw.sample(range(1, file.stat().st_size // 4096), draw.randint(1, 3)):
            out.seek(page * 4096)
            out.write(draw.randbytes(4096))
    before = hashes(file)
    said = run(call, study, file)
    if said.code:
        refused(said, str(file), "damaged")
        assert hashes(file) == before
        begun.put(file)
        assert run(call, study, file).code == 0
    assert cases.table(file) == short


# ── a checkpoint ──────────────────────────────────────────────────────────────────────────────────────────────────────
DAMAGES: dict[str, str] = {
    "state cut": "state = substr(state, 1, length(state) / 2)",
    "state cut by a byte": "state = substr(state, 1, length(state) - 1)",
    "state empty": "state = x''",
    "state of random bytes": "state = randomblob(length(state))",
    "history cut": "history = substr(history, 1, length(history) / 2)",
    "history cut by a byte": "history = substr(history, 1, length(history) - 1)",
    "history empty": "history = x''",
    "history of random bytes": "history = randomblob(length(history))",
    "no history": "history = NULL",
    "another epoch": "epochs = epochs + 100",
    "text for a number": "epochs = 'two'",
}


def change(file: Path, statement: str, *values: object) -> int:
    """Change rows while no study has the file open; return their number."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA writable_schema = 1")  # columns are declared NOT NULL
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'BLOB NOT NULL', 'BLOB') WHERE type = 'table'")
        connection.execute("PRAGMA writable_schema = RESET")
        count = connection.execute(statement, values).rowcount
        connection.commit()
        return count


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint(call: Call, file: Path, short: str, stopped: Begun, damage: str) -> None:
    """Its trial starts over, with a note; the others resume from their checkpoints."""
    stopped.put(file)
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT stage, number FROM hpsearch_checkpoint ORDER BY number").fetchall()
    assert len(rows) > 1
    (stage, number), *others = rows
    where = "WHERE stage = ? AND number = ?"
    assert change(file, f"UPDATE hpsearch_checkpoint SET {DAMAGES[damage]} {where}", stage, number) == 1
    assert call("show", file).code == 0
    said = call("resume", file, "--tracking-uri", "none")
    assert said.code == 0, said
    notes = [line for line in (said.out + said.err).splitlines() if "the trial starts over" in line]
    assert len(notes) == 1 and f"{stage}/{number}: " in notes[0] and others
    assert cases.table(file) == short


@pytest.mark.parametrize(
    "damage",
    [
        *("history = substr(history, 1, length(history) / 2)", "history = randomblob(length(history))"),
        *("history = NULL", "internal_params = '{'", "internal_params = CAST(x'ff00fe' AS TEXT)"),
    ],
)
def test_damaged_outcome(call: Call, study: Path, file: Path, short: str, stopped: Begun, damage: str) -> None:
    """A finished trial would be lost, so the study does not continue without it."""
    stopped.put(file)
    where = "WHERE state != 'running' AND number = (SELECT min(number) FROM hpsearch_trial WHERE state != 'running')"
    assert change(file, f"UPDATE hpsearch_trial SET {damage} {where}") == 1
    for arguments in (("run", study, "--storage", file), ("resume", file)):
        refused(call(*arguments, "--tracking-uri", "none"), str(file), "damaged")
    refused(call("show", file), str(file), "damaged")
    stopped.put(file)
    assert run(call, study, file).code == 0
    assert cases.table(file) == short


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("statement", [1, 4, 6])
def test_killed_while_tables_are_made(call: Call, study: Path, file: Path, statement: int) -> None:
    """All tables are created or none: some of them would look like another database."""
    pid = os.fork()
    if pid == 0:
        count = 0

        def before(*arguments: Any) -> None:
            nonlocal count
            count += str(arguments[2]).lstrip().startswith("CREATE")
            if count == statement:
                os._exit(9)

        sa.event.listen(sa.Engine, "after_cursor_execute", before)
        try:
            StudyDatabase.open(url_of(str(file)), create=True)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    for tables in (0, len(METADATA.tables)):
        with closing(sqlite3.connect(file)) as connection:
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name LIKE 'hpsearch%'").fetchall()
        assert len(found) == tables
        StudyDatabase.open(url_of(str(file)), create=True).close()
