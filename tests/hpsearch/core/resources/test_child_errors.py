"""The fork server's errors: a traceback, unless a resource has run out."""

import pytest

from hpsearch.core.processes import PRELOAD
from hpsearch.core.resources import child_errors
from hpsearch.core.resources.child_errors import report_error


def test_the_fork_server_imports_it_first() -> None:
    assert PRELOAD[0] == child_errors.__name__


@pytest.mark.parametrize("error", [MemoryError(), EOFError(), OSError(24, "Too many open files")], ids=repr)
def test_shortages_are_silent(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    report_error(type(error), error, None)
    assert capsys.readouterr().err == ""


def test_defects_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(ValueError, ValueError("odd"), None)
    assert capsys.readouterr().err == "ValueError: odd\n"
