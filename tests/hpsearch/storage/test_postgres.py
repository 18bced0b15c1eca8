"""Studies on a real PostgreSQL: the same table, nothing lost and nothing twice when connections are lost."""

import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import psycopg
import pytest
from server_cases import URL, execute, needs_server, new_database
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from hpsearch.api import load_study
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import Interrupted, StorageError
from hpsearch.storage.access import server
from hpsearch.storage.access.server import Waiting
from hpsearch.storage.lease import EXPIRY
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.executors import Inline
from hpsearch.training.task import Outcome, Task
from hpsearch.training.trial import advance
from tests.hpsearch.test_cli import call, refused  # noqa: F401 (call is a fixture)

pytestmark = needs_server
Call = Callable[..., Any]
Prepared = tuple[Spec, Dataset, str]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Return a study of 24 trials, its data, and its table in a SQLite file."""
    folder = tmp_path_factory.mktemp("prepared")
    spec = cases.small(**{"train.epochs": 2})
    dataset, _ = prepare(spec.data, spec.seed, folder)
    cases.run(spec, dataset, folder / "small.db")
    return spec, dataset, cases.table(folder / "small.db")


@pytest.fixture
def url() -> Iterator[str]:
    with new_database() as made:
        yield made


def kill(connection: "psycopg.Connection[Any]") -> None:
    """End the server's side of a connection."""
    execute(URL, f"SELECT pg_terminate_backend({connection.info.backend_pid})")


def test_the_table_is_that_of_a_file(url: str, prepared: Prepared) -> None:
    spec, dataset, table = prepared
    cases.run(spec, dataset, url)
    assert cases.table(url) == table
    assert load_study(url).summary.trained


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Optuna leaves its engine open
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_lost_at_every_commit(
    url: str, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Before the commit arrives, or after it, when its answer is lost: each write is done once.

    The first attempt of each of our transactions fails, and three in ten of Optuna's.
    """
    spec, dataset, table = prepared
    monkeypatch.setattr(server, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(server, "LONGEST_DELAY", 0.001)
    original, lost, failed = PGDialect_psycopg.do_commit, 0, list[bool]()
    dialects, chance = list[PGDialect_psycopg](), random.Random(1)
    with closing(StudyDatabase.open(url, spec.name, create=True)):
        pass  # the tables

    def do_commit(self: PGDialect_psycopg, connection: Any) -> None:
        nonlocal lost
        driver = connection.dbapi_connection
        busy = driver.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        if not dialects:
            dialects.append(self)  # of our engine, which commits first
        repeated, failed[:] = failed == [True], [False]
        passes = repeated if self is dialects[0] else chance.random() > 0.3
        if not busy or passes:
            original(self, connection)
            return
        lost, failed[:] = lost + 1, [True]
        if when == "after":
            original(self, connection)
        kill(driver)
        if when == "after":
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        original(self, connection)

    monkeypatch.setattr(PGDialect_psycopg, "do_commit", do_commit)
    seeds = list[int]()

    def count(task: Task) -> Outcome:
        seeds.extend(trial.seed for trial in task.trials)
        return advance(task)

    cases.run(spec, dataset, url, Inline(run_task=count))
    monkeypatch.undo()
    gc.collect()  # here, where the warning is expected
    assert len(seeds) == len(set(seeds)) == 24
    assert cases.table(url) == table and lost > 20


def test_a_fork_is_beside_its_parent(call: Call, url: str, tmp_path: Path) -> None:  # noqa: F811
    study = cases.write(tmp_path, **{"train.epochs": 1, "stages.0.trials": 2, "stages.1.trials": 1})
    command = ("run", study, "--storage", url, "--tracking-uri", "none")
    assert call(*command).code == 0
    forked = call(*command, "--fork", "other")
    assert forked.code == 0 and "forked from 'small': 3 of its 3 finished trials are reused" in forked.err
    assert f"(hpsearch show '{url}' --study other)" in forked.out
    refused(call(*command, "--fork", "other"), f"already exists; resume it with: hpsearch resume '{url}' --study other")
    assert [line.split()[:2] for line in call("list", url).out.splitlines()[1:]] == [
        ["other", "finished"],
        ["small", "finished"],
    ]


# ── the lease ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def two(url: str) -> Iterator[tuple[StudyDatabase, StudyDatabase]]:
    """Yield two open databases of one study, each with the connections of a process of its own."""
    opened = [StudyDatabase.open(url, "small", create=True) for _ in range(2)]
    opened[0].begin("small", {}, "fingerprint", "test")
    yield opened[0], opened[1]
    for database in opened:
        database.close()


def test_of_two_coordinators_one_runs(two: tuple[StudyDatabase, StudyDatabase]) -> None:
    """They begin at the same moment: both see a free lease."""
    barrier, results = threading.Barrier(2), list[str]()

    def contend(database: StudyDatabase) -> None:
        take = database.lease._take

        def together(*arguments: Any) -> bool:
            barrier.wait(10)
            return take(*arguments)

        database.lease._take = together  # type: ignore[method-assign]
        try:
            with database.lease.hold():
                results.append("runs")
                barrier.wait(10)  # held until the other has tried
        except StorageError as error:
            results.append(str(error))
            barrier.wait(10)

    threads = [threading.Thread(target=contend, args=(database,)) for database in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 2 and results.count("runs") == 1
    assert any("another process has just begun to run this study" in result for result in results)


def test_leases_are_by_study(two: tuple[StudyDatabase, StudyDatabase], url: str) -> None:
    with closing(StudyDatabase.open(url, "other", create=True)) as other, other.lease.hold(), two[0].lease.hold():
        assert sorted(two[1].lease.holders()) == ["other", "small"]
        with pytest.raises(StorageError, match=f"this study is run by process {os.getpid()} on"), two[1].lease.hold():
            pass


@pytest.mark.parametrize("ahead", [-7 * 86400.0, 7 * 86400.0])
def test_times_are_by_the_clock_of_the_server(
    two: tuple[StudyDatabase, StudyDatabase], url: str, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    """Two machines whose clocks are wrong by a week, one in each direction: neither takes over a study that the other
    one runs, nor waits for one that has ended."""
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - ahead)
    with two[0].lease.hold():
        execute(url, "UPDATE hpsearch_lease SET host = 'elsewhere', since = since - 1000")
        monkeypatch.setattr(time, "time", lambda: clock() + ahead)
        holder = two[1].lease.holder()
        assert holder is not None and not holder.has_ended
        assert abs(holder.since - holder.ahead - (clock() + ahead - 1000)) < 60, "shown by the clock of this machine"
        with pytest.raises(StorageError, match="is run by process"), two[1].lease.hold():
            pass
        execute(url, f"UPDATE hpsearch_lease SET heartbeat = heartbeat - {EXPIRY + 5}")
        with two[1].lease.hold():
            monkeypatch.undo()
            with pytest.raises(StorageError, match=f"was taken over by process {os.getpid()} on"):
                two[0].stages.begin("coarse", {})
            two[1].stages.begin("coarse", {})
    assert two[1].lease.holder() is None


# ── a server that does not answer ─────────────────────────────────────────────────────────────────────────────────────
def unreachable(monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
    """Let the next attempts to connect fail."""
    connect, left = psycopg.connect, [attempts]

    def failing(*arguments: Any, **options: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise psycopg.OperationalError("connection failed: Connection refused")
        return connect(*arguments, **options)

    monkeypatch.setattr(psycopg, "connect", failing)


def lose(database: StudyDatabase) -> None:
    """Let the server end all connections of a database."""
    name = database.url.rpartition("/")[2]
    execute(URL, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def test_the_user_is_told_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_DELAY", 0.001)
    notes = list[str]()
    with closing(StudyDatabase.open(url, "small", create=True, waiting=Waiting(notes.append))) as database:
        database.begin("small", {}, "fingerprint", "test")
        with database.lease.hold():
            lose(database)
            database.stages.begin("coarse", {})  # a connection that was lost is made again without a word
            assert notes == []
            lose(database)
            unreachable(monkeypatch, 5)
            assert list(database.stages.load()) == ["coarse"]
            database.stages.begin("fine", {})
    (note,) = notes
    assert "the server does not answer; waiting up to 5 min" in note and "${HPSEARCH_TEST_SECRET}@" in note


def test_a_study_stops_when_the_server_stays_away(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(server, "PATIENCE", 0.05)
    stopped = False
    waiting = Waiting(stop=lambda: stopped)
    with closing(StudyDatabase.open(url, "small", create=True, waiting=waiting)) as database:
        database.begin("small", {}, "fingerprint", "test")
        with pytest.raises(StorageError, match="has not answered"), database.lease.hold():
            lose(database)
            unreachable(monkeypatch, 10**6)
            database.stages.begin("coarse", {})
        monkeypatch.undo()
        with pytest.raises(Interrupted), database.lease.hold():
            lose(database)
            unreachable(monkeypatch, 10**6)
            stopped = True
            database.stages.begin("coarse", {})
        monkeypatch.undo()
        assert database.stages.load() == {}


# ── bad input ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def no_rights(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the URL of a user who may connect, and nothing else."""
    role, secret = f"{url.rpartition('/')[2]}_guest", "hunter-22"
    execute(url, f"CREATE ROLE {role} LOGIN PASSWORD '{secret}'", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    monkeypatch.setenv("GUEST_PASSWORD", secret)
    yield f"postgresql://{role}:${{GUEST_PASSWORD}}@{url.rpartition('@')[2]}"
    execute(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.fixture
def run(call: Call, tmp_path: Path) -> Call:  # noqa: F811
    study = cases.write(tmp_path, **{"train.epochs": 1, "stages.0.trials": 2, "stages.1.trials": 1})
    return lambda url, *more: call("run", study, "--storage", url, "--tracking-uri", "none", *more)


def test_a_database_without_rights(run: Call, no_rights: str, url: str) -> None:
    """Before its tables exist, and afterwards."""
    said = run(no_rights)
    refused(said, "permission denied for schema public; the user needs the rights to create tables")
    assert "hunter" not in said.err and "${GUEST_PASSWORD}@" in said.err
    StudyDatabase.open(url, create=True).close()
    refused(run(no_rights), "permission denied for table hpsearch_study")


def test_wrong_addresses(run: Call, call: Call, url: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("WRONG", "hunter-22")
    server_part = url.rpartition("@")[2]
    for address, words in {
        f"postgresql://tester:${{WRONG}}@{server_part}": "password authentication failed",
        "postgresql://tester@no-such-host.invalid/x": "no-such-host.invalid",
        "postgresql://tester@127.0.0.1:1/x": "refused",
        f"{url}_none": "does not exist",
        f"postgresql://tester:${{UNSET_PASSWORD}}@{server_part}": "environment variable UNSET_PASSWORD is not set",
        f"postgresql://tester:hunter-22@{server_part}": "a password must not be written into a command",
        f"postgresql://tester@${{WRONG}}/{server_part}": "must stand for the user, the password or the whole URL",
        "${UNSET_URL}": "environment variable UNSET_URL is not set",
    }.items():
        for said in (run(address), call("show", address), call("list", address)):
            refused(said, words)
            assert "hunter" not in said.err and "Traceback" not in said.err
