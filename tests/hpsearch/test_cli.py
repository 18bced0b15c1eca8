"""The commands: their output, exit codes, and one clear message for each mistake."""

import contextlib
import itertools
import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cases
import optuna
import pytest
from click.testing import CliRunner

from hpsearch import cli
from hpsearch.data import dataset
from hpsearch.errors import Interrupted
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training import scheduler
from hpsearch.training.objectives import engine as engine_objective
from hpsearch.training.task import Task, TrialResult

SHORT = {"train.epochs": 2, "stages.0.trials": 5, "stages.1.trials": 3, "stages.1.sampler": "random"}
COMMAND = Path(sys.executable).with_name("hpsearch")


class Said(NamedTuple):
    code: int
    out: str
    err: str


Call = Callable[..., Said]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Return a function that calls the command in this process in an empty folder, with inline training."""
    monkeypatch.chdir(tmp_path)

    def hpsearch(*arguments: str | Path, executor: Any = "inline") -> Said:
        monkeypatch.setattr(sys, "argv", ["hpsearch", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main(executor)
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return hpsearch


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return cases.write(tmp_path, **SHORT)


def run(call: Call, study: Path, *others: str | Path) -> Said:
    return call("run", study, "--tracking-uri", "none", *others)


def refused(said: Said, *fragments: str) -> None:
    """Check for exit code 2, an empty stdout, and a message that contains the fragments."""
    assert said.code == 2, said
    assert said.out == ""
    assert said.err.startswith("error: ") and "Traceback" not in said.err
    for fragment in fragments:
        assert fragment in said.err


def strict(text: str) -> dict[str, Any]:
    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    content = json.loads(text, parse_constant=no_constant)
    assert isinstance(content, dict)
    return content


def test_run_show_resume(call: Call, study: Path, tmp_path: Path) -> None:
    said = run(call, study)
    database = tmp_path / "small.db"
    assert said.code == 0 and said.err == ""
    assert "Best: " in said.out and "test/accuracy" in said.out and f"hpsearch show {database}" in said.out
    before = cases.table(database)
    best = strict(call("show", database, "--json").out)["best"]
    assert f"{best['stage']}/{best['number']}" in said.out
    for again in (("run", study), ("resume", database)):
        said = call(*again, "--tracking-uri", "none", "--workers", "2")
        assert said.code == 0
        assert cases.table(database) == before
    shown = call("show", database)
    assert shown.code == 0 and "learning_rate" in shown.out and "8" in shown.out
    every = call("show", database, "--all").out
    assert all(f"{s['name']}/{n}" in every for s in cases.content(**SHORT)["stages"] for n in range(s["trials"]))


def test_quiet(call: Call, study: Path) -> None:
    loud, quiet = run(call, study, "--storage", "a.db"), run(call, study, "--storage", "b.db", "--quiet")
    assert quiet.code == 0 and quiet.err == ""
    assert "Best: " in quiet.out and len(quiet.out) < len(loud.out)
    assert "finished" not in quiet.out


def test_quiet_prints_warnings(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error: trials that failed, and messages about the study."""
    stages = [{"name": "coarse", "trials": 4}, {"name": "confirm", "top": 9, "seeds": 2}]
    study, train, failed = cases.write(tmp_path, **{"train.epochs": 1, "stages": stages}), engine_objective._train, []

    def fail_once(task: Task) -> list[TrialResult]:
        seeds = [t.seed for t in task.trials if t.number == 2]
        if seeds and (not failed or failed == seeds):  # in a batch, and alone
            failed[:] = seeds
            raise ArithmeticError("odd")
        return train(task)

    monkeypatch.setattr(engine_objective, "_train", fail_once)
    said = run(call, study, "--quiet", "--set", "parallel=1")
    assert said.code == 0 and said.out.startswith("Best: ")
    assert said.err.splitlines() == [
        "note: confirm: only 3 of 9 points are available to confirm",
        "warning: 1 failed: ArithmeticError: odd",
    ]


def test_training_without_memory(call: Call, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study ends with one line and code 1, and resumes to the table of an undisturbed one; no trial has failed."""
    monkeypatch.setattr(scheduler, "SHORTAGE_PAUSE", 0.0)
    assert run(call, study, "--storage", "whole.db").code == 0
    train, tasks = engine_objective._train, [0]

    def fail_later(task: Task) -> list[TrialResult]:
        tasks[0] += 1
        if tasks[0] > 2:
            raise MemoryError("Unable to allocate 9 GiB")
        return train(task)

    with monkeypatch.context() as patch:
        patch.setattr(engine_objective, "_train", fail_later)
        said = run(call, study, "--storage", "a.db", "--quiet")
    reason = "out of memory (Unable to allocate 9 GiB), 3 times in a row; everything finished is saved"
    assert said == Said(1, "", f"error: {reason}. Resume with: hpsearch resume a.db --tracking-uri none\n")
    trials = strict(call("show", "a.db", "--json").out)["trials"]
    assert {t["state"] for t in trials} == {"complete", "running"}
    assert run(call, study, "--storage", "a.db").code == 0
    assert cases.table(tmp_path / "a.db") == cases.table(tmp_path / "whole.db")


@pytest.mark.parametrize(
    ("place", "resumable"),
    [
        ("hpsearch.study.session.prepare", True),
        ("hpsearch.study.session.store_diagnostics", True),
        ("hpsearch.search.suggest.Suggester.suggest", True),
        ("hpsearch.cli.run.load_study_file", False),
    ],
)
def test_a_command_without_memory(
    call: Call, study: Path, monkeypatch: pytest.MonkeyPatch, place: str, resumable: bool
) -> None:
    """In this process, before, while and after trials are trained: one line and code 1."""

    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(place, fail)
    said = run(call, study)
    assert said.code == 1 and said.err.startswith("error: out of memory") and said.err.count("\n") == 1
    assert ("Resume with: hpsearch resume" in said.err) == resumable


def test_plain_lines_without_a_terminal(call: Call, study: Path) -> None:
    out = run(call, study).out
    assert "coarse (1/2): " in out and "8/8 finished" in out
    assert "\x1b" not in out


def test_json(call: Call, study: Path, tmp_path: Path) -> None:
    """The structure that programs rely on."""
    run(call, study)
    said = call("show", tmp_path / "small.db", "--json")
    assert said.code == 0 and said.err == ""
    content = strict(said.out)
    results = ["best", "diagnosis", "advice", "ensemble", "baselines"]
    assert list(content) == ["study", "spec", "stages", "trials", "confirmed", "importance", *results]
    assert content["study"] == "small"
    assert content["spec"] == cases.small(**SHORT).model_dump(mode="json")
    assert [(s["name"], s["sampler"], s["trials"], s["finished"]) for s in content["stages"]] == [
        ("coarse", "random", 5, 5),
        ("fine", "random", 3, 3),
    ]
    assert content["stages"][0]["box"]["beta"] == [0.5, 0.99]
    assert content["stages"][0]["reused"] == 0 and content["stages"][1]["reused"] > 0
    low, high = content["stages"][1]["box"]["learning_rate"]
    assert 1e-3 <= low <= high <= 1.0
    keys = {"number", "stage", "state", "value", "params", "epochs", "seconds", "metrics"}
    assert [(t["stage"], t["number"]) for t in content["trials"]] == [
        *(("coarse", n) for n in range(5)),
        *(("fine", n) for n in range(3)),
    ]
    for t in content["trials"]:
        assert set(t) == keys and t["state"] == "complete" and 1 <= t["epochs"] <= 2
        assert t["value"] == t["metrics"]["val/loss"] and t["seconds"] > 0
        assert set(t["params"]) == {"learning_rate", "beta", "hidden_units", "batch_size", "l2"}
        assert 0.5 <= t["params"]["beta"] <= 0.99 and t["params"]["batch_size"] in (16, 32)
        assert {"train/loss", "val/loss", "train/accuracy", "val/accuracy"} <= set(t["metrics"])
    best = content["best"]
    assert set(best) == keys and best["value"] == min(t["value"] for t in content["trials"])
    assert {"test/loss", "test/accuracy"} < set(best["metrics"])


def test_json_of_trials_without_values(call: Call, tmp_path: Path) -> None:
    """Diverged trials: null, not NaN."""
    study = cases.write(tmp_path, **SHORT, **{"parameters.learning_rate": {"min": 1e25, "max": 1e36, "scale": "log"}})
    found = run(call, study)
    assert found.code == 1 and "no trial is complete" in found.err
    content = strict(call("show", tmp_path / "small.db", "--json").out)
    assert content["best"] is None
    assert {(t["state"], t["value"]) for t in content["trials"]} == {("diverged", None)}
    assert call("show", tmp_path / "small.db", "--all").code == 0


def test_show_an_unfinished_study(call: Call, study: Path, tmp_path: Path) -> None:
    spec = cases.small(**SHORT)
    data, _ = dataset.prepare(spec.data, spec.seed, tmp_path)
    tracker, executor = cases.LimitTracker(1), cases.HeldExecutor(lambda waiting: 0, single=True)
    with (
        pytest.raises(Interrupted),
        cases.opened(spec, data, tmp_path / "small.db", executor, tracker=tracker, stop=tracker.stop) as unfinished,
    ):
        cases.drive(unfinished, executor)
    content = strict(call("show", tmp_path / "small.db", "--json").out)
    assert {"running", "complete"} <= {t["state"] for t in content["trials"]}
    assert content["stages"][1]["box"] is None and content["stages"][1]["finished"] == 0
    assert "test/loss" not in content["best"]["metrics"]
    assert call("show", tmp_path / "small.db").code == 0
    assert call("resume", tmp_path / "small.db", "--tracking-uri", "none").code == 0
    assert len(strict(call("show", tmp_path / "small.db", "--json").out)["trials"]) == 8


def test_check(call: Call, study: Path, tmp_path: Path) -> None:
    said = call("check", study)
    assert said.code == 0 and "small" in said.out and "coarse" in said.out and said.err == ""
    study.write_text(study.read_text().replace('"trials": 5', '"n_trials": 5'))
    said = call("check", study)
    assert said.code == 0 and "n_trials" in said.err and "n_trials" not in said.out
    study.write_text(study.read_text().replace('"parallel": 3', '"parallel": 0').replace('"seed": 5', '"seed": -5'))
    said = call("check", study)
    refused(said, "seed", "parallel", str(study))
    assert len([line for line in said.err.splitlines() if str(study) in line]) >= 2
    assert list(tmp_path.iterdir()) == [study]


def test_schema(call: Call, tmp_path: Path) -> None:
    """Printed, or written to a file; the same text."""
    code, out, err = call("schema")
    assert (code, err) == (0, "") and json.loads(out)["$schema"].endswith("2020-12/schema")
    said = call("schema", "--out", "s.json")
    assert said.code == 0 and "s.json: written" in said.out and (tmp_path / "s.json").read_text("utf-8") == out
    said = call("schema", "--out", "none/s.json")
    assert said.code == 2 and said.err == "error: none/s.json: cannot be written: No such file or directory\n"


def test_set_and_storage(call: Call, study: Path, tmp_path: Path) -> None:
    said = run(
        call, study, "--storage", f"sqlite:///{tmp_path}/else.db", "--set", "stages.1.trials=1", "--set", "seed=9"
    )
    assert said.code == 0 and not (tmp_path / "small.db").exists()
    content = strict(call("show", tmp_path / "else.db", "--json").out)
    assert content["spec"]["seed"] == 9 and len(content["trials"]) == 6
    refused(run(call, study, "--set", "seed=x"), "--set", "seed")


def test_bad_options(call: Call, study: Path) -> None:
    for arguments in (("run",), ("run", study, "--workers", "0"), ("run", study, "--wrokers", "2"), ("rnu",)):
        said = call(*arguments)
        assert said.code == 2 and said.out == "" and "Traceback" not in said.err


@pytest.mark.parametrize("arguments", [("show",), ("show", "--json"), ("resume", "--tracking-uri", "none")])
def test_no_database(call: Call, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Missing, a folder, text, empty, of another program, without a study yet."""
    command, *options = arguments

    def told(name: str | Path, *fragments: str) -> None:
        before = sorted(p.name for p in tmp_path.iterdir())
        refused(call(command, name, *options), str(name), *fragments)
        assert sorted(p.name for p in tmp_path.iterdir()) == before

    told("none.db", "no such")
    told(tmp_path / "none" / "a.db", "no such")
    (tmp_path / "folder").mkdir()
    told("folder", "folder")
    (tmp_path / "text.db").write_text("This is no database, but it is longer than a header. " * 9)
    told("text.db", "not a database")
    (tmp_path / "text.db").write_bytes(b"SQLite format 3\0" + b"nonsense" * 999)
    told("text.db")
    (tmp_path / "empty.db").touch()
    told("empty.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
        connection.commit()
    foreign = (tmp_path / "other.db").read_bytes()
    told("other.db", "not of an hpsearch study")
    assert (tmp_path / "other.db").read_bytes() == foreign
    told("nonsense://x/y")
    told("a" * 300)


def test_run_on_other_files(call: Call, study: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused(run(call, study, "--storage", "folder"), "folder")
    text = tmp_path / "text.db"
    text.write_text("This is no database, but it is longer than a header. " * 9)
    kept = text.read_bytes()
    refused(run(call, study, "--storage", text), "not a database")
    assert text.read_bytes() == kept
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
        connection.commit()
    refused(run(call, study, "--storage", "other.db"), "not of an hpsearch study")
    with cases.optuna_storage(tmp_path / "optuna.db") as storage:
        optuna.create_study(storage=storage, study_name="another's")
    refused(run(call, study, "--storage", "optuna.db"), "not of an hpsearch study")


def test_folder_that_cannot_be_written(call: Call, study: Path, tmp_path: Path) -> None:
    """Root can write everywhere but below a file and in /proc."""
    refused(run(call, study, "--storage", study / "a.db"))
    refused(run(call, study, "--storage", tmp_path / "none" / "a.db"), "none")
    if Path("/proc/self").exists():
        refused(run(call, study, "--storage", "/proc/a.db"), "/proc/a.db")


def test_study_file_that_cannot_be_read(call: Call, tmp_path: Path) -> None:
    refused(run(call, tmp_path / "none.yaml"), "none.yaml", "cannot be read")
    refused(run(call, tmp_path), "cannot be read")


def test_another_study(call: Call, study: Path, tmp_path: Path) -> None:
    """A study that shares a database with another, or whose file was changed, does not change what is stored."""
    assert run(call, study).code == 0
    before = cases.table(tmp_path / "small.db")
    other = run(call, cases.write(tmp_path, **SHORT, name="large"), "--storage", "small.db")
    assert other.code == 0 and "hpsearch show small.db --study large" in other.out
    assert cases.table(tmp_path / "small.db", "small") == before
    changed = cases.write(tmp_path, **SHORT, seed=6, **{"parameters.l2": 0.5})
    refused(run(call, changed), "seed", "5", "6", "parameters.l2", "0.5")
    said = run(call, cases.write(tmp_path, **SHORT, workers=2))
    assert said.code == 0 and "workers: 1 → 2" in said.err, "the number of workers does not affect results"
    assert cases.table(tmp_path / "small.db", "small") == before


def test_changed_data(call: Call, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(call, study).code == 0
    sound = dataset.fingerprint
    monkeypatch.setattr(dataset, "fingerprint", lambda table: sound(table)[::-1])
    refused(run(call, study), "data have changed")


def test_second_coordinator(call: Call, study: Path, tmp_path: Path) -> None:
    """It is refused while the first one runs; reading is allowed."""
    assert run(call, study).code == 0
    storage = StudyDatabase.open(url_of(str(tmp_path / "small.db")), create=False)
    with storage.lease.hold():
        who = f"process {os.getpid()} on {socket.gethostname()}, since "
        refused(run(call, study), who, "small.db")
        refused(call("resume", tmp_path / "small.db", "--tracking-uri", "none"), who)
        assert call("show", tmp_path / "small.db").code == 0
    storage.close()
    assert run(call, study).code == 0


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on files")
def test_files_that_may_not_grow(call: Call, study: Path, tmp_path: Path) -> None:
    """Like a full disk: a process with a limit on the size of files."""
    assert run(call, study, "--storage", "whole.db").code == 0
    size = (tmp_path / "whole.db").stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size * 3 // 4, size * 3 // 4))

    command = [sys.executable, "-m", "hpsearch", "run", study, "--tracking-uri", "none"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limit)
    assert process.returncode == 2, process
    assert "small.db" in process.stderr and "disk" in process.stderr and "Traceback" not in process.stderr
    assert run(call, study).code == 0
    assert cases.table(tmp_path / "small.db") == cases.table(tmp_path / "whole.db")


def test_worker_that_dies(study: Path, tmp_path: Path) -> None:
    """Killed, for example by the system: it is replaced, and the study has the same table."""
    code = (
        "from hpsearch import cli\n"
        "from hpsearch.study.stages.run import StageRun\n"
        "save_outcome, saves = StageRun._save, []\n"
        "def save(self, *outcome):\n"
        "    saves.append(1)\n"
        "    if len(saves) == 2:\n"
        "        for worker in list(self._context.executor._workers):\n"
        "            worker.kill()\n"
        "    return save_outcome(self, *outcome)\n"
        "StageRun._save = save\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        "    assert len(saves) > 2\n"
    )
    arguments = ["run", study, "--tracking-uri", "none", "--workers", "2", "--quiet"]
    for name, script in (("killed.db", code), ("whole.db", "from hpsearch import cli; cli.main()")):
        command = [sys.executable, "-c", script, *arguments, "--storage", name]
        process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert process.returncode == 0 and process.stderr == "", process
    assert cases.table(tmp_path / "killed.db") == cases.table(tmp_path / "whole.db")


HEAVY = ("mlflow", "optuna", "sklearn", "plotly", "matplotlib", "scipy", "pandas")


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("--version",), ("check", "small.yaml")])
def test_light_commands_import_nothing_heavy(study: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        "from hpsearch.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert process.stdout.splitlines()[-1] == "[]"


def test_a_study_imports_what_it_needs(tmp_path: Path) -> None:
    """No scikit-learn without columns to fit, and nothing of SciPy for Student's t."""
    stages = [{"name": "coarse", "trials": 3}, {"name": "confirm", "top": 2, "seeds": 2}]
    study = cases.write(tmp_path, **{"stages": stages, "train.epochs": 1})
    code = (
        "import sys\n"
        "from hpsearch.cli import main\n"
        "try:\n    main('inline')\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print([m for m in ('sklearn', 'scipy', 'mlflow', 'pandas') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "run", study, "--tracking-uri", "none", "--quiet"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process
    assert process.stdout.splitlines()[-1] == "[]"


def test_installed_command(study: Path, tmp_path: Path) -> None:
    """With its own processes and the default locations."""
    assert COMMAND.exists(), "install the package first"
    (tmp_path / "work").mkdir()
    process = subprocess.run(
        [COMMAND, "run", study, "--workers", "2"], cwd=tmp_path / "work", capture_output=True, text=True
    )
    assert process.returncode == 0, process
    assert process.stderr == ""
    assert (tmp_path / "small.db").exists() and (tmp_path / "work/mlruns/mlflow.db").exists()
    assert f"MLflow:   {COMMAND} ui\n" in process.stdout and f"Report:   {COMMAND} report " in process.stdout
    refusal = subprocess.run([COMMAND, "show", "none.db"], cwd=tmp_path, capture_output=True, text=True)
    assert (refusal.returncode, refusal.stdout) == (2, "")
    left = {p.name for p in tmp_path.iterdir()} - {"small.yaml", "small.db", "small.db.lock", "work"}
    assert left == set()


def test_nothing_is_left_behind(call: Call, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder for temporary files."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert run(call, study).code == 0
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("options", list(itertools.combinations(["--json", "--csv", "--watch"], 2)), ids=" ".join)
def test_show_prints_one_format(options: tuple[str, str]) -> None:
    result = CliRunner().invoke(cli.commands, ["show", "small.db", *options])
    assert result.exit_code == 2
    assert "--json, --csv and --watch exclude each other" in result.output


def test_check_says_how_rows_are_split_and_which_class_counts(call: Call, study: Path) -> None:
    content = json.loads(study.read_text())
    content["data"] |= {"split": {"folds": 3}}
    content["metric"] = {"name": "val/f1", "positive": "yes"}
    study.write_text(json.dumps(content))
    said = call("check", study).out
    assert "val/f1 of class 'yes'" in said and "rows split at random: 3 folds, 0.2 test" in said
