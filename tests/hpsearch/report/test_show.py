"""`hpsearch show`: one output format at a time."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paths import REPOSITORY

from tests.hpsearch.test_architecture import SLOW
from tests.hpsearch.test_cli import call, strict  # noqa: F401 (a fixture)


@pytest.mark.parametrize("options", [("--json", "--csv"), ("--csv", "--watch"), ("--watch", "--json")])
def test_output_formats_are_exclusive(call: Callable[..., Any], database: Path, options: tuple[str, str]) -> None:  # noqa: F811
    said = call("show", database, *options)
    assert said.code == 2 and said.out == "" and all(option in said.err for option in options)


def test_no_slow_library_is_imported(database: Path) -> None:
    """Not even for the importance of parameters; their imports take seconds."""
    code = (
        "import sys\n"
        "from hpsearch import cli\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        "    print(*sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, "show", str(database)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Parameter importance" in done.stdout
    assert set(done.stderr.split()) & (SLOW | {"ruamel", "jinja2"}) == set()
