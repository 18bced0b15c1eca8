"""PostgreSQL for tests: a database of its own for each, and a server that a test may restart.

`HPSEARCH_TEST_POSTGRES` holds the URL of a server on this machine, its password as `${NAME}` of another variable.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from hpsearch.storage.database import connect_engine, connection_url

URL = os.environ.get("HPSEARCH_TEST_POSTGRES", "")
IS_LOCAL = bool(URL) and connection_url(URL).host in ("127.0.0.1", "::1", "localhost")
needs_server = pytest.mark.skipif(not IS_LOCAL, reason="HPSEARCH_TEST_POSTGRES holds no URL of a server here")
_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
needs_binaries = pytest.mark.skipif(not _BINARIES, reason="PostgreSQL is not installed")


def execute(url: str, *statements: str) -> None:
    """Execute statements outside of a transaction."""
    engine = connect_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@contextmanager
def new_database() -> Iterator[str]:
    """Yield the URL of a new database, which is dropped at the end."""
    name = f"hpsearch_{uuid.uuid4().hex}"
    execute(URL, f"CREATE DATABASE {name}")
    try:
        yield URL.rpartition("/")[0] + f"/{name}"
    finally:
        execute(URL, f"DROP DATABASE {name} WITH (FORCE)")


class OwnServer:
    """A server that only this test uses, on loopback and without a password.

    Attributes:
        url: URL of a database.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            self._port = chosen.getsockname()[1]
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres")
        self._call("initdb", "-D", f"{self._folder}/data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C")
        self.url = f"postgresql://tester@127.0.0.1:{self._port}/postgres"
        self.start()

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self._port} -k {self._folder} -c fsync=off"
        self._call("pg_ctl", "-D", f"{self._folder}/data", "-l", f"{self._folder}/log", "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        self._call("pg_ctl", "-D", f"{self._folder}/data", "-m", mode, "-w", "stop")

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self._folder)

    def _call(self, program: str, *arguments: str) -> None:
        prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*prefix, str(_BINARIES[-1] / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder)
