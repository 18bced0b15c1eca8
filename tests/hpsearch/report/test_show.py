"""`hpsearch show`: one output format at a time."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paths import REPOSITORY

from hpsearch.data.sources import SOURCES
from tests.hpsearch.test_architecture import SLOW
from tests.hpsearch.test_cli import call, strict  # noqa: F401 (a fixture)


@pytest.mark.parametrize("options", [("--json", "--csv"), ("--csv", "--watch"), ("--watch", "--json")])
def test_output_formats_are_exclusive(call: Callable[..., Any], database: Path, options: tuple[str, str]) -> None:  # noqa: F811
    said = call("show", database, *options)
    assert said.code == 2 and said.out == "" and all(option in said.err for option in options)


def test_nothing_is_imported_without_need(database: Path) -> None:
    """No slow library, even for the importance of parameters; no training; of the data sources only the study's."""
    code = (
        "import os, sys\n"
        "from hpsearch import cli\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        "    print(*sys.modules, os.environ['PYDANTIC_DISABLE_PLUGINS'], file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, "show", str(database)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Parameter importance" in done.stdout
    modules = set(done.stderr.split())
    assert "__all__" in modules  # no search for plugins of Pydantic
    assert {module.partition(".")[0] for module in modules} & (SLOW | {"ruamel", "jinja2"}) == set()
    assert {f"hpsearch.data.sources.{name}" for name in SOURCES} & modules == {"hpsearch.data.sources.sklearn"}
    training = {"engine.network", "engine.training.trainer", "engine.analysis.diagnostics"}
    assert modules & {*training, "hpsearch.data.text_files.csv_file"} == set()
