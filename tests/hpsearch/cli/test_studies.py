"""Several studies in one database: which one a command means, what it prints, and the list of all of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.api import load_study, run
from hpsearch.data.dataset import prepare
from hpsearch.errors import StorageError
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from tests.hpsearch.test_cli import call, refused  # noqa: F401 (call is a fixture)

Call = Callable[..., Any]
BRIEF = {"train.epochs": 1, "stages.0.trials": 3, "stages.1.trials": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of four studies: finished, stopped, not begun, and one that this version cannot read."""
    folder = tmp_path_factory.mktemp("shared")
    file, specs = folder / "shared.db", [cases.small(**BRIEF, name=name) for name in ("alpha", "beta", "gamma")]
    dataset, _ = prepare(specs[0].data, specs[0].seed, folder)
    run(cases.content(**BRIEF, name="alpha"), storage=file, tracking_uri="none", executor="inline")
    with cases.opened(specs[1], dataset, file) as study:
        steps = study.run()
        while not any(t.state == "complete" for trials in study.trials for t in trials):
            next(steps)
    with cases.opened(specs[2], dataset, file):
        pass
    odd = StudyDatabase.open(url_of(str(file)), "my odd one", create=True)
    odd.begin("my odd one", {"seed": "x"}, "fingerprint", "test")
    odd.close()
    return file


@pytest.fixture
def shared(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the file in the current folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(made, "shared.db"))


def test_the_list(call: Call, shared: Path) -> None:  # noqa: F811
    lines = call("list", shared).out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["study", "alpha", "beta", "gamma", "my odd one"]
    assert "finished  5/5 (coarse 3/3, fine 2/2)" in " ".join(lines[1].split()).replace("finished 5", "finished  5")
    assert "stopped" in lines[2] and "not begun" in lines[3] and "0/5 (coarse 0/3, fine 0/2)" in lines[3]
    assert "unreadable" in lines[4] and len(lines) == 5
    found = {study["study"]: study for study in json.loads(call("list", shared, "--json").out)}
    result = load_study(shared, study="alpha")
    assert found["alpha"]["best"] == result.best_value and found["alpha"]["metric"] == "val/loss"
    beta = load_study(shared, study="beta").summary
    complete = [t.value for trials in beta.trials for t in trials if t.value is not None]
    assert found["beta"]["best"] == min(complete) and 0 < found["beta"]["finished"] < 5
    assert found["gamma"]["best"] is None and found["gamma"]["holder"] is None
    assert found["my odd one"]["state"] == "unreadable" and found["my odd one"]["metric"] is None


def test_the_list_of_a_running_study(call: Call, shared: Path) -> None:  # noqa: F811
    opened = StudyDatabase.open(url_of(str(shared)), "beta", create=False)
    with opened.lease.hold():
        (line,) = (line for line in call("list", shared).out.splitlines() if line.startswith("beta"))
        other = StudyDatabase.open(url_of(str(shared)), "gamma", create=False)
        said = r"study 'beta' of this file is run by process \d+ on .*, and one study of a file runs at a time"
        with pytest.raises(StorageError, match=said), other.lease.hold():
            pass
        other.close()
    opened.close()
    assert "running" in line and "process" in line


@pytest.mark.parametrize("command", ["show", "report", "export", "resume", "sync"])
def test_the_study_must_be_named(call: Call, shared: Path, command: str) -> None:  # noqa: F811
    more = ["--to", "model"] if command == "export" else []
    refused(call(command, shared, *more), "shared.db: holds 4 studies; name one with --study: alpha, beta, gamma, my")
    refused(call(command, shared, *more, "--study", "alfa"), "holds no study 'alfa'; did you mean 'alpha'?")


def test_commands_of_one_study(call: Call, shared: Path) -> None:  # noqa: F811
    assert json.loads(call("show", shared, "--study", "alpha", "--json").out)["study"] == "alpha"
    assert "fine (2/2): 5/5 finished" in call("show", shared, "--study", "alpha", "--watch").out
    stopped = call("show", shared, "--study", "beta").out
    assert "Resume with: hpsearch resume shared.db --study beta" in stopped
    for name in ("alpha", "beta"):
        assert call("report", shared, "--study", name, "--no-png").code == 0
        assert f"shared.db --study {name}" in Path(f"shared-{name}-report.html").read_text("utf-8")
    assert call("export", shared, "--study", "alpha", "--to", "model").code == 0
    before = cases.table(shared, "alpha")
    said = call("resume", shared, "--study", "beta", "--tracking-uri", "none")
    assert said.code == 0 and "(hpsearch show shared.db --study beta)" in said.out
    assert cases.table(shared, "alpha") == before
    checked = call("doctor", shared, "--tracking-uri", "none", "--study", "beta").out
    assert "shared.db: beta: study 'beta' is readable" in checked and "alpha" not in checked


def test_a_result_reads_its_own_study(shared: Path) -> None:
    result = load_study(shared, study="alpha")
    assert result.model.about["study"] == "alpha"
    with pytest.raises(StorageError, match="holds 4 studies"):
        load_study(shared)
