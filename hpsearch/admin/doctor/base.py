"""Check results, and functions that run a check."""

import contextlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from hpsearch.core.text import printable
from hpsearch.errors import HpsearchError

CHECK_TIMEOUT = 5.0  # seconds to wait for a server, or for another process that writes
PIP_INSTALL = f"{shlex.quote(sys.executable)} -m pip install"
OTHER_FILE = "name another file, or start a study: hpsearch run STUDY.yaml"


class CheckResult(NamedTuple):
    """One line of the output.

    Attributes:
        level: `ok`, `warn` or `FAIL`.
        text: the result.
        remedy: the action to take; empty if none is needed.
    """

    level: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return printable(f"{self.level:<4}  {self.text}" + f" → {self.remedy}" * bool(self.remedy))


CheckResults = Iterator[CheckResult]


def run_check(name: str, check: Callable[..., CheckResults], *arguments: object) -> CheckResults:
    """Yield the results of a check; its exception becomes a result."""
    try:
        yield from check(*arguments)
    except HpsearchError as error:
        text, _, remedy = str(error).replace("\n", "; ").partition("; ")
        driver = re.search(r"No module named '(\w+)", text)
        yield CheckResult("FAIL", text, remedy or (f"{PIP_INSTALL} {driver[1]}" if driver else OTHER_FILE))
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        text = f"{name}: could not be checked: {type(error).__name__}: {first}"
        yield CheckResult("warn", text, "fix the error and check again")


def check_file_twice(name: str, check: Callable[..., CheckResults], *arguments: object) -> CheckResults:
    """Yield the results of a check of a database; repeat a failed check if the file was written in the meantime."""
    from hpsearch.storage.sqlite_file import file_stamp

    path = sqlite_path(name)
    before = file_stamp(path) if path else []
    results = list(run_check(name, check, *arguments))
    failed = any(result.level == "FAIL" for result in results)
    again = failed and path is not None and file_stamp(path) != before
    yield from run_check(name, check, *arguments) if again else results


def sqlite_path(name: str) -> Path | None:
    """Return the file of a SQLite database, given as a path or a URL; None for other databases."""
    from hpsearch.storage.database import file_of
    from hpsearch.storage.sqlite_file import url_of

    with contextlib.suppress(HpsearchError):
        return file_of(url_of(name))
    return None
