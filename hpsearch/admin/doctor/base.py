"""What the checks share: what one finds, also when it breaks, and a database that is only read."""

import contextlib
import re
import shlex
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hpsearch.core.text import printable
from hpsearch.errors import HpsearchError

PATIENCE = 5.0  # seconds for a server, or another process that writes
PIP = f"{shlex.quote(sys.executable)} -m pip install"
ELSEWHERE = "name another file, or start a study: hpsearch run STUDY.yaml"


class Finding(NamedTuple):
    """A line: `ok`, `warn` or `FAIL`, what was found, and what mends it."""

    level: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return printable(f"{self.level:<4}  {self.what}" + f" → {self.remedy}" * bool(self.remedy))


Findings = Iterator[Finding]


def unbroken(name: str, check: Callable[..., Findings], *arguments: object) -> Findings:
    """What a check finds, and that it broke if it does."""
    try:
        yield from check(*arguments)
    except HpsearchError as error:
        what, _, remedy = str(error).replace("\n", "; ").partition("; ")
        driver = re.search(r"No module named '(\w+)", what)
        yield Finding("FAIL", what, remedy or (f"{PIP} {driver[1]}" if driver else ELSEWHERE))
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        yield Finding("warn", f"{name}: could not be checked: {type(error).__name__}: {first}", "mend what it names")


def settled(name: str, check: Callable[..., Findings], *arguments: object) -> Findings:
    """What is found in a file; when that fails and the file was written meanwhile, what is found then."""
    from hpsearch.storage.sqlite_file import file_stamp

    path = file_at(name)
    before = file_stamp(path) if path else []
    found = list(unbroken(name, check, *arguments))
    again = any(f.level == "FAIL" for f in found) and path is not None and file_stamp(path) != before
    yield from unbroken(name, check, *arguments) if again else found


def file_at(name: str) -> Path | None:
    """The file of a SQLite database, a path or a URL."""
    from hpsearch.storage.database import file_of
    from hpsearch.storage.sqlite_file import url_of

    with contextlib.suppress(HpsearchError):
        return file_of(url_of(name))
    return None


class Reader(NamedTuple):
    """An open database, and what is asked of any."""

    connection: Any

    def tables(self) -> set[str]:
        from sqlalchemy import inspect

        return set(inspect(self.connection).get_table_names())

    def rows(self, query: str) -> list[Any]:
        return list(self.connection.exec_driver_sql(query))

    def damage(self) -> str:
        """What SQLite says of its file when that is not whole."""
        from hpsearch.storage.sqlite_file import integrity_error

        if self.connection.dialect.name != "sqlite":
            return ""
        return integrity_error(self.connection.exec_driver_sql, thorough=True) or ""


@contextlib.contextmanager
def reading(name: str) -> Iterator[Reader]:
    """A database that is only read, and leaves no file beside one that nobody has open.

    Raises:
        StorageError: there is no database, or it cannot be read.
    """
    import sqlalchemy as sa

    from hpsearch.storage.database import file_of, translate_errors
    from hpsearch.storage.sqlite_file import check_file, readable, url_of

    url, options = url_of(name), dict[str, Any]()
    with contextlib.ExitStack() as stack:
        if path := file_of(url):
            check_file(path, create=False)
            address = stack.enter_context(readable(path))
            options["creator"] = lambda: sqlite3.connect(address, uri=True, timeout=PATIENCE)
            options["poolclass"] = sa.NullPool
        stack.enter_context(translate_errors(url))
        engine = sa.create_engine("sqlite://" if path else url, **options)
        stack.callback(engine.dispose)
        yield Reader(stack.enter_context(engine.connect()))
