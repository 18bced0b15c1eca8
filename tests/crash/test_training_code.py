"""Studies that other code than the engine trains: the same table for any number of workers and after any kill."""

import contextlib
import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import cases
import code_cases
import pytest
import sqlalchemy as sa
from code_cases import COMMAND, LEARNS, SHELL, own_spec, write_code
from killed import dump

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.processes import start_time
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.context import StudyContext
from hpsearch.study.loop import Study
from hpsearch.tracking import NullTracker
from hpsearch.training.executors import Inline
from hpsearch.training.executors.processes import Processes
from hpsearch.training.objectives.code import find_code
from tests.crash.test_kills import Life

pytestmark = [pytest.mark.crash, pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")]

TORCH = """
import io, torch

def train(params, seed, state=None):
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=params["rate"])
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(64, 4, generator=draw)
    y = x.sum(1, keepdim=True)
    if state:
        saved = torch.load(io.BytesIO(state), weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])

    def save():
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        return file.getvalue()

    while True:
        for rows in torch.randperm(64).split(16):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            model.eval()
            loss = torch.nn.functional.mse_loss(model(x), y)
            model.train()
        yield {"val/loss": loss}, save
"""
ESTIMATOR_KIND = pytest.param("estimator", marks=pytest.mark.soak)  # test_estimator.py has a short version
KILLED = 9  # exit code of a process that ends in place of a commit
SLOW = "import time\n" + LEARNS.replace("        epoch += 1\n", "        epoch += 1\n        time.sleep(0.01)\n")
CODE = {"function": ("train.py", LEARNS), "command": ("train.sh", SHELL), "torch": ("train.py", TORCH)}
STAGES: dict[str, Any] = {
    "stages": [
        {"name": "search", "trials": 10, "sampler": "random"},
        {"name": "fine", "trials": 4, "sampler": "tpe", "zoom": {"keep_top": 0.5, "margin": 0.2}},
        {"name": "confirm", "top": 2, "seeds": 2},
    ],
    "pruning": {"kind": "promote", "min_epochs": 1, "reduction": 2},
    "parallel": 4,
}


ESTIMATOR: dict[str, Any] = {
    "data": {"source": "sklearn", "name": "iris"},
    "train": {
        "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
        "grow": {"max_iter": 1},
        "epochs": 6,
    },
    "parameters": {"learning_rate": {"min": 0.01, "max": 0.5, "scale": "log"}, "max_leaf_nodes": 4},
}


def content(kind: str, folder: Path, epochs: int = 6) -> dict[str, Any]:
    """Write the code of a study, and return its study file."""
    if kind == "estimator":
        return {**STAGES, **ESTIMATOR}
    name, code = CODE[kind]
    write_code(folder, code, name)
    what = {"command": COMMAND} if kind == "command" else {"function": "train.py:train"}
    return {**STAGES, "train": {**what, "epochs": epochs}}


class Place:
    """A folder with the code and the database of a study."""

    def __init__(self, kind: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.spec = folder, own_spec(**content(kind, folder))
        self.database = folder / "own.db"

    def run(self, executor: Any = None) -> None:
        """Run or resume the study to its end."""
        with opened(self.spec, self.folder, self.database, executor or Inline()) as study:
            for _ in study.run():
                pass

    def killed_after(self, commits: int) -> bool:
        """Run the study in a child process that ends in place of its next commit; return whether it came to it."""
        pid = os.fork()
        if pid == 0:
            try:
                done = itertools.count(1)
                sa.event.listen(sa.Engine, "commit", lambda _: next(done) > commits and os._exit(KILLED))
                self.run()
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in (0, KILLED)
        return code == KILLED

    def table(self) -> str:
        return dump(self.database)


@contextlib.contextmanager
def opened(spec: Spec, folder: Path, database: Path, executor: Any) -> Any:
    """Yield the study on a database, new or begun, with its code."""
    dataset, code = Dataset.empty(str(folder)), find_code(spec, folder)
    if spec.data is not None:
        dataset, _ = prepare(spec.data, spec.seed, folder)
    storage = StudyDatabase.open(url_of(str(database)), spec.name, create=True)
    try:
        with storage.lease.hold():
            if storage.study.find() is None:
                storage.begin(spec.name, spec.model_dump(mode="json"), dataset.fingerprint, "test")
            parts = (dataset, storage, executor, NullTracker(), lambda: False, code)
            yield Study(StudyContext(spec, search_space(spec), *parts))
    finally:
        storage.close()


@pytest.fixture(scope="module", params=["function", "command", "torch", ESTIMATOR_KIND])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "torch":
        pytest.importorskip("torch", reason="needs PyTorch")
    return str(request.param)


@pytest.fixture(scope="module")
def whole(kind: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the tables of an uninterrupted study, trained in this process."""
    place = Place(kind, tmp_path_factory.mktemp("whole"))
    place.run()
    with contextlib.closing(sqlite3.connect(place.database)) as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM hpsearch_trial GROUP BY 1").fetchall())
    assert states["pruned"] >= 3 and states["complete"] >= 5 and states.keys() == {"pruned", "complete"}
    return place.table()


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.soak), 2, 4])
def test_any_number_of_workers(kind: str, whole: str, tmp_path: Path, workers: int) -> None:
    place, executor = Place(kind, tmp_path / "study"), Processes(workers, str(tmp_path))
    try:
        place.run(executor)
    finally:
        executor.close()
    assert place.table() == whole


@pytest.mark.parametrize("step", [31, pytest.param(1, marks=pytest.mark.soak)], ids=["some", "every"])
def test_killed_at_commits(kind: str, whole: str, tmp_path: Path, step: int) -> None:
    """A study that is killed before a commit resumes to the same tables."""
    for commits in range(1, 1000, step):
        place = Place(kind, tmp_path / str(commits))
        came = place.killed_after(commits)
        place.run()
        assert place.table() == whole, commits
        if not came:
            assert commits > 20
            return


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.soak)], ids=["a few", "many"])
@pytest.mark.parametrize("trained", [pytest.param("function", marks=pytest.mark.soak), "command"])
def test_killed_at_any_moment(
    trained: str, kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Coordinators, workers and the commands, whose trials then train again."""
    monkeypatch.setitem(CODE, "function", ("train.py", SLOW))
    slow = SHELL.replace('  echo "$epoch', '  sleep 0.05\n  echo "$epoch')
    monkeypatch.setitem(CODE, "command", ("train.sh", slow))
    draw, done = random.Random(kills), {"worker": 0, "coordinator": 0, "command": 0}
    tables = list[str]()
    while sum(done.values()) < kills or len(tables) < 2:
        folder = tmp_path / str(len(tables))
        folder.mkdir()
        changes = content(trained, folder, 12)
        monkeypatch.setattr(cases, "write", lambda where, c=changes, **_: written(where, c))
        spared = 0 if not tables else 2  # the first study is left alone
        resumed_times = 0
        while True:
            life = Life(folder)
            try:
                while life.begun() and tables and sum(done.values()) < kills and resumed_times < 6:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        life.process.wait(draw.uniform(0, 0.7))
                    if spared and trained == "command" and draw.random() < 0.8 and killed_command(life):
                        done["command"], spared = done["command"] + 1, spared - 1
                    elif spared and draw.random() < 0.5 and life.kill_worker(draw):
                        done["worker"], spared = done["worker"] + 1, spared - 1
                    elif life.process.poll() is None and life.kill():
                        done["coordinator"] += 1
                        spared, resumed_times = 2, resumed_times + 1
                        break
                if life.process.returncode != -signal.SIGKILL:
                    _, errors = life.process.communicate()
                    assert life.process.returncode == 0, errors
                    break
            finally:
                life.process.kill()
                life.process.communicate()
                life.close()
        tables.append(dump(folder / "small.db"))
        assert tables[-1] == tables[0], f"study {len(tables)}, after {done}"
        assert left(folder) == []
    with capsys.disabled():
        print(f"\n{trained}: {len(tables) - 1} studies, {done}")


def killed_command(life: Life) -> bool:
    """Wait a second for a command that trains, and kill it; return False if there was none."""
    end = time.monotonic() + 1
    while time.monotonic() < end and life.process.poll() is None:
        for pid, command in life.below().items():
            if "\0train.sh" in command:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                    return True
    return False


def written(folder: Path, changes: dict[str, Any]) -> Path:
    path = folder / "small.yaml"
    path.write_text(json.dumps({**code_cases.content(**changes), "name": "small"}), "utf-8")
    return path


def left(folder: Path) -> list[str]:
    """Return the living processes whose current folder is that of a study, after a moment for their guard."""
    end = time.monotonic() + 20
    while True:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if Path(os.readlink(f"/proc/{pid}/cwd")) == folder and start_time(int(pid)) is not None:
                    found.append(Path(f"/proc/{pid}/cmdline").read_bytes().decode())
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.05)
