"""Studies on a real PostgreSQL whose processes are killed at every commit, that begin together, and whose server is
restarted: the table is that of an uninterrupted study in a file."""

import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cases
import pytest
import sqlalchemy as sa
from server_cases import OwnServer, needs_binaries, needs_server, new_database
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.storage.access.server import Waiting
from hpsearch.storage.database import connect_engine
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.overview import list_studies
from hpsearch.training.executors import Inline
from hpsearch.training.task import Outcome, Task
from hpsearch.training.trial import advance

pytestmark = [pytest.mark.crash, needs_server]
SMALL = {"train.epochs": 2}  # 24 trials
KILLED = 9  # exit code


def forked(work: Callable[[], object]) -> int:
    """Do work in a child process and return its id; the child exits with 0, or with 1 after an error."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def prepared(folder: Path, changes: dict[str, Any]) -> tuple[Spec, Dataset, str]:
    """Return a study, its data, and its table in a SQLite file; everything is imported here, before any fork."""
    spec = cases.small(**changes)
    dataset, _ = prepare(spec.data, spec.seed, folder)
    cases.run(spec, dataset, folder / "small.db")
    with new_database() as url:
        cases.run(cases.small(**{**SMALL, "stages.0.trials": 2, "stages.1.trials": 1}), dataset, url)
    return spec, dataset, cases.table(folder / "small.db")


def content(url: str) -> str:
    """Return how many rows each table holds, Optuna's too, and the states of the trials."""
    engine = connect_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        names = [name for name in sa.inspect(connection).get_table_names() if name != "hpsearch_lease"]
        counts = [connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() for name in sorted(names)]
        if "hpsearch_trial" in names:
            query = "SELECT count(*), count(finished), sum(epochs) FROM hpsearch_trial"
            counts += list(connection.exec_driver_sql(query).one())
    return repr(counts)


@pytest.mark.parametrize(
    "changes", [SMALL, pytest.param(cases.FULL, marks=pytest.mark.soak)], ids=["small", "everything"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_exits_at_every_commit(tmp_path: Path, changes: dict[str, Any], when: str) -> None:
    """Each process is killed at its second commit, before it arrives or right after it, and the next one resumes; one
    that leaves no more than the last one, such as the lease alone, is followed by one that lives a commit longer."""
    spec, dataset, table = prepared(tmp_path, changes)
    with new_database() as url:

        def run(allowed: int) -> None:
            original, commits = PGDialect_psycopg.do_commit, 0

            def do_commit(self: PGDialect_psycopg, connection: Any) -> None:
                nonlocal commits
                commits += 1
                if when == "before" and commits > allowed:
                    os._exit(KILLED)
                original(self, connection)
                if when == "after" and commits >= allowed:
                    os._exit(KILLED)

            PGDialect_psycopg.do_commit = do_commit  # type: ignore[method-assign]
            cases.run(spec, dataset, url)

        codes, left, allowed = [KILLED], "", 2
        while codes[-1] == KILLED:
            codes.append(ended(forked(lambda allowed=allowed: run(allowed))))
            before, left = left, content(url)
            allowed += left == before
        assert codes[-1] == 0 and len(codes) > 24, codes
        assert cases.table(url) == table


def test_ten_studies_at_once(tmp_path: Path) -> None:
    """In a database without tables: each process finds or makes them, ours and Optuna's."""
    _, dataset, table = prepared(tmp_path, SMALL)
    names = [f"s{number}" for number in range(10)]
    with new_database() as url:
        ready, start = os.pipe()

        def work(name: str) -> Callable[[], object]:
            def run() -> None:
                os.read(ready, 1)
                cases.run(cases.small(**SMALL, name=name), dataset, url)

            return run

        children = [forked(work(name)) for name in names]
        os.write(start, b"." * len(names))
        assert [ended(child) for child in children] == [0] * len(names)
        for name in names:
            assert cases.table(url, name).replace(f"'name': '{name}'", "'name': 'small'") == table
        assert [(study.name, study.state) for study in list_studies(url)] == [(name, "finished") for name in names]
    os.close(ready)
    os.close(start)


def test_two_coordinators_of_one_study(tmp_path: Path) -> None:
    """Two processes that begin at the same moment, several times: one runs, and the other says who."""
    spec, dataset, table = prepared(tmp_path, SMALL)
    with new_database() as url:
        StudyDatabase.open(url, spec.name, create=True).close()
        for _ in range(3):
            ready, start = os.pipe()
            trained = tmp_path / "trained"

            def run(ready: int = ready, trained: Path = trained) -> None:
                os.read(ready, 1)

                def count(task: Task) -> Outcome:
                    with trained.open("a") as file:
                        file.writelines(f"{trial.seed}\n" for trial in task.trials)
                    return advance(task)

                cases.run(spec, dataset, url, Inline(run_task=count))

            children = [forked(run) for _ in range(2)]
            os.write(start, b"..")
            codes = sorted(ended(child) for child in children)
            assert codes in ([0, 1], [0, 0]), "the second one may begin after the first one has ended"
            os.close(ready)
            os.close(start)
        seeds = trained.read_text().split()
        assert len(seeds) == len(set(seeds)) == 24
        assert cases.table(url) == table


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    server = OwnServer()
    yield server
    server.remove()


@needs_binaries
def test_a_server_is_restarted_in_mid_study(tmp_path: Path, own_server: OwnServer) -> None:
    """Once in order and once as in a crash, each time away for a second."""
    spec, dataset, table = prepared(tmp_path, SMALL)
    tasks, notes, threads = 0, list[str](), list[threading.Thread]()

    def restart() -> None:
        time.sleep(1)
        own_server.start()

    def interrupting(task: Task) -> Outcome:
        nonlocal tasks
        tasks += 1
        if tasks in (2, 5):
            own_server.stop("fast" if tasks == 2 else "immediate")
            threads.append(threading.Thread(target=restart))
            threads[-1].start()
        return advance(task)

    patched = Waiting(notes.append)
    storage = StudyDatabase.open(own_server.url, spec.name, create=True, waiting=patched)
    storage.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cases, "Waiting", lambda **_: patched)
        cases.run(spec, dataset, own_server.url, Inline(run_task=interrupting))
    for thread in threads:
        thread.join()
    assert len(threads) == 2 and len(notes) == 2 and "does not answer" in notes[0]
    assert tasks > 5 and cases.table(own_server.url) == table
