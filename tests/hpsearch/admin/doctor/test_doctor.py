"""All checks, and the command."""

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from hpsearch import cli
from tests.hpsearch.admin.doctor.doctor_cases import GONE, ask, bad, check, contents, set_holder


def test_sound_studies(done: Path, half: Path, mlflow: Path, here: Path) -> None:
    """They are found without being named; nothing is changed, and no file is created."""
    ask(mlflow, "UPDATE runs SET status = 'FINISHED'")
    (here / "studies").mkdir()
    half.rename(here / "studies/half.db")
    ask(here / "other.db", "CREATE TABLE birds (name TEXT)")
    (here / "text.db").write_text("This is no database.")
    (here / "empty.db").touch()
    before = contents(here)
    found = check(tracking=f"sqlite:///{mlflow}")
    assert bad(found) == []
    assert contents(here) == before
    text = "\n".join(map(str, found))
    for fragment in (
        "done.db: study 'small' is readable",
        "done.db: 8 trials: 8 complete",
        "done.db: Optuna's tables agree with 8 trials",
        "done.db: not running",
        "studies/half.db: study 'small'",
        "running",
        "resume with: hpsearch resume studies/half.db",
        "schema",
    ):
        assert fragment in text
    assert "other.db" not in text and "text.db" not in text and "empty.db" not in text


def test_command(done: Path, half: Path) -> None:
    before = contents(done.parent)
    said = CliRunner().invoke(cli.commands, ["doctor"])
    assert said.exit_code == 0, said
    lines = said.stdout.splitlines()
    assert lines[0].startswith("ok    Python 3.") and all(line.startswith("ok    ") for line in lines)
    assert any("half.db" in line for line in lines) and "mlruns/mlflow.db does not exist yet" in lines[-1]
    said = CliRunner().invoke(cli.commands, ["doctor", "done.db", "none.db", "--tracking-uri", "none"])
    assert said.exit_code == 1
    (line,) = [line for line in said.stdout.splitlines() if not line.startswith("ok    ")]
    assert line.startswith("FAIL  none.db: there is no such database → ")
    assert "half.db" not in said.stdout and "Traceback" not in said.output
    set_holder(half, GONE)
    said = CliRunner().invoke(cli.commands, ["doctor", "half.db"])
    assert said.exit_code == 0 and "\nwarn  half.db" in said.stdout, "a warning does not change the exit code"
    half.write_bytes(before["half.db"])
    assert contents(done.parent) == before


def test_nothing_heavy_is_imported(done: Path) -> None:
    script = (
        "import sys\nfrom hpsearch.cli import commands\n"
        "commands(['doctor'], standalone_mode=False)\n"
        "print([m for m in ('mlflow', 'optuna', 'torch', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "[]"


def test_packages_that_cannot_be_imported(done: Path) -> None:
    """The checks report a broken installation."""
    script = (
        "import sys\nfor name in ('sqlalchemy', 'numpy', 'threadpoolctl', 'pydantic', 'packaging'):\n"
        "    sys.modules[name] = None\n"
        "from hpsearch.cli import main\nmain()\n"
    )
    for names in ((), ("done.db",)):
        arguments = [sys.executable, "-c", script, "doctor", *names]
        process = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert process.stderr == "" and process.stdout.count("could not be checked: ModuleNotFoundError") > 4
