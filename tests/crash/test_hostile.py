"""No damaged model and no damaged database ends in a traceback: thousands of them, made from valid ones."""

import contextlib
import io
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import cases
import hostile
import numpy as np
import pandas as pd
import pytest
from people_cases import content, people, run_ensemble

import hpsearch
from engine.layers import Conv2d, Dense, Flatten, Residual
from engine.network import Network
from hpsearch import cli
from hpsearch.data.dataset import prepare
from hpsearch.data.sources import SOURCES
from hpsearch.errors import HpsearchError
from hpsearch.models.export import export_model
from hpsearch.models.model import Model
from hpsearch.models.predictors.network import NetworkPredictor
from tests.crash.test_files import harmless
from tests.hpsearch.models.test_model import build

HANGS = 60  # seconds
FEW, SOME, MANY = 20, 150, 5000  # by default, in CI and by hand


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """End what hangs."""

    def hang(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("hangs")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def judged(codes: tuple[int, ...], *arguments: str | Path) -> tuple[int, str]:
    """Run a command in this process; return its exit code and its output, which must be free of control characters."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, limited():
        patch.setattr(sys, "argv", ["hpsearch", *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main("inline")
            except SystemExit as end:
                code = int(end.code or 0)
    said = out.getvalue(), err.getvalue()
    assert code in codes and "Traceback" not in said[1], (arguments, code, said)
    assert harmless(said[0].replace("\r", "") + said[1]), (arguments, said)
    if code == 2:
        lines = [line for line in said[1].splitlines() if not line.startswith(("note: ", "warning: "))]
        where = str(arguments[1])
        assert lines and lines[0].startswith("error: ") and len(said[1]) < 20_000, (arguments, said)
        assert all(where in line or line.startswith("… and ") for line in lines[1:]), (arguments, said)
    return code, said[0]


def build_images(folder: Path) -> Model:
    """Return a model with convolutions and a residual block, with random weights."""
    source = cases.small(data={"source": "sklearn", "name": "digits", "image": [1, 8, 8]}).data
    dataset, model = build(source, folder)
    layers = (Conv2d(2, 3, padding=1), Residual((Conv2d(2, 3, padding=1),)), Flatten(), Dense(10))
    network = Network(dataset.inputs, layers, dataset.loss)
    theta = network.initialize(np.random.default_rng(1), model.theta.dtype)[None]
    return Model(NetworkPredictor(network, theta), model.preprocessing, model.classes, model.about)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    return make_models(tmp_path_factory.mktemp("models"))


def make_models(top: Path) -> list[tuple[Path, Path]]:
    """Return folders of models and files of rows for them."""
    made = []
    for name in ("table", "images", "values", "ensemble"):
        folder = top / name
        folder.mkdir()
        rows = folder / "rows.csv"
        if name == "images":
            model = build_images(folder)
            pd.DataFrame(np.zeros((3, 64)), columns=list(model.features)).to_csv(rows, index=False)
        elif name == "ensemble":
            people()[:20].to_csv(rows, index=False)
            model = run_ensemble(folder).ensemble
        else:
            target = "happy" if name == "table" else "pay"
            people()[:20].to_csv(rows, index=False)
            given = content(folder, people(), target=target, scale="quantile" if name == "values" else "standard")
            _, model = build(SOURCES["csv"].model_validate(given["data"]), folder)
        model.save(folder / "model")
        made.append((folder / "model", rows))
    return made


def try_model(number: int, models: list[tuple[Path, Path]], folder: Path) -> bool:
    """Damage a model, load it, predict, export it as a folder and as ONNX; return whether it could be loaded."""
    draw = np.random.default_rng([1, number])
    source, rows = models[draw.integers(len(models))]
    model = hostile.copied(source, folder / "model")
    hostile.damage_model(model, draw)
    out = folder / "out.csv"
    code, _ = judged((0, 2), "predict", model, rows, "--out", out)
    assert not code or not out.exists(), number
    if code:
        return False
    out.unlink()
    try:
        with limited():
            export_model(Model.load(model), folder / "again", onnx=True)
    except HpsearchError as error:
        assert harmless(str(error)) and "\n" not in str(error), number
    return True


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_databases(tmp_path_factory.mktemp("databases"))


def make_databases(folder: Path) -> list[Path]:
    """Return study databases: a finished study with folds and diagnostics, and one that was stopped in a rung."""
    given = content(folder, people(), split={"folds": 2}, impute="filling")
    given["parameters"]["filling"] = {"values": ["indicator", "most_frequent"]}
    given["stages"].append({"name": "confirm", "top": 2, "seeds": 2})
    given["ensemble"] = {"size": 3}
    hpsearch.run(given, storage=folder / "done.db", tracking_uri="none", workers=1, executor="inline")
    changes = {**cases.FULL, "stages": [{"name": "coarse", "trials": 8}], "train.epochs": 4}
    spec = cases.small(**changes, **{"data": {"source": "csv", "path": str(folder / "people.csv"), "target": "pay"}})
    (folder / "prepared").mkdir()
    dataset, _ = prepare(spec.data, spec.seed, folder / "prepared")
    tracker, steps = cases.LimitTracker(100), iter(range(100))
    with (
        contextlib.suppress(BaseException),
        cases.opened(spec, dataset, folder / "half.db", tracker=tracker, stop=lambda: next(steps) > 5) as study,
    ):
        for _ in study.run():
            pass
    return [folder / "done.db", folder / "half.db"]


COMMANDS: list[tuple[tuple[int, ...], tuple[str, ...]]] = [
    ((0, 2), ("show", "{}")),
    ((0, 2), ("show", "{}", "--csv")),
    ((0, 1), ("doctor", "{}", "--tracking-uri", "none")),
    ((0, 2), ("export", "{}", "--to", "exported")),
    ((0, 2), ("export", "{}", "--to", "exported", "--ensemble")),
    ((0, 2), ("report", "{}", "--out", "report.html", "--no-png")),
    ((0, 1, 2), ("resume", "{}", "--tracking-uri", "none", "--quiet")),
]
ALWAYS = ("show", "{}", "--json")


def try_database(number: int, databases: list[Path], folder: Path) -> bool:
    """Damage a database and run two commands on it; return whether it could be shown."""
    draw = np.random.default_rng([2, number])
    source = databases[draw.integers(len(databases))]
    file = hostile.copied(source, folder / "study.db")
    hostile.damage_database(file, draw)
    code, _ = judged((0, 2), *(str(file) if word == "{}" else word for word in ALWAYS))
    codes, command = COMMANDS[number % len(COMMANDS)]
    other, _ = judged(codes, *(str(file) if word == "{}" else word for word in command))
    report = folder / "report.html"
    if command[0] == "report" and not other:
        text = re.sub(r"<script.*?</script>", "", report.read_text("utf-8"), flags=re.DOTALL)
        assert harmless(text.replace("\t", " ")), number
        report.unlink()
    return not code


def attack(kind: str, numbers: range, made: Any, folder: Path) -> None:
    one = try_model if kind == "models" else try_database
    sound = 0
    for number in numbers:
        try:
            sound += one(number, made, folder)
        except Exception as error:
            raise AssertionError(f"{kind} number {number}: {type(error).__name__}: {error}") from error
    assert 0 < sound < len(numbers), "the damage is too small or too large"


@pytest.mark.parametrize("kind", ["models", "databases"])
def test_few(kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    attack(kind, range(FEW), request.getfixturevalue(kind), tmp_path)


@pytest.mark.crash
@pytest.mark.parametrize("kind", ["models", "databases"])
def test_some(kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    attack(kind, range(FEW, FEW + SOME), request.getfixturevalue(kind), tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["models", "databases"])
def test_many(kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    attack(kind, range(MANY), request.getfixturevalue(kind), tmp_path)
