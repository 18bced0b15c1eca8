"""`hpsearch show`: one output format at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hpsearch.test_cli import call, strict  # noqa: F401 (a fixture)


@pytest.mark.parametrize("options", [("--json", "--csv"), ("--csv", "--watch"), ("--watch", "--json")])
def test_output_formats_are_exclusive(call: Callable[..., Any], database: Path, options: tuple[str, str]) -> None:  # noqa: F811
    said = call("show", database, *options)
    assert said.code == 2 and said.out == "" and all(option in said.err for option in options)
