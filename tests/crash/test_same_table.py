"""A study's table depends on its file and seed only: not on workers, batching, order of results, or time slices."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import Interrupted
from hpsearch.study.stages import training
from hpsearch.training.executors import EXECUTORS, Inline

KINDS: dict[str, Any] = {
    "halving": cases.FULL,
    "hyperband": {**cases.FULL, "pruning": {"kind": "hyperband", "min_epochs": 1, "reduction": 2}},
    "compiled": {**cases.FULL, "train.kernel": "compiled"},
    "median": {**cases.FULL, "pruning": {"kind": "median", "min_epochs": 1, "n_startup_trials": 3}},
    "forest": {  # with guesses
        **cases.FULL,
        "parameters.learning_rate": {"min": 1e-3, "max": 1e16, "scale": "log", "guess": 0.1},
        "stages": [
            stage | ({"sampler": "forest"} if stage["name"] == "fine" else {}) for stage in cases.FULL["stages"]
        ],
    },
    "folds": {  # with two ways of preprocessing
        **cases.FULL,
        "data": {"source": "sklearn", "name": "iris", "split": {"folds": 3}, "scale": "scaling"},
        "parameters.scaling": {"values": ["standard", "minmax"]},
        "pruning": {"kind": "stop", "min_epochs": 2, "reduction": 2},
    },
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=() if kind == "hyperband" else pytest.mark.crash) for kind in KINDS],
)
def spec(request: pytest.FixtureRequest) -> Spec:
    return cases.small(**KINDS[request.param])


@pytest.fixture(scope="module")
def dataset(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(spec.data, spec.seed, tmp_path_factory.mktemp("data"), preprocessing_values(spec))[0]


@pytest.fixture(scope="module")
def table(spec: Spec, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the table of the study, trained inline, as the reference."""
    database = tmp_path_factory.mktemp("reference") / "small.db"
    study = cases.run(spec, dataset, database)
    search = [r for records in study.trials[:2] for r in records]
    states = Counter(r.state for r in search)
    assert states.keys() == {"complete", "pruned", "diverged"} and len(search) >= 24
    rungs = {r.epochs for r in search if r.state == "pruned"}
    assert len(rungs) > (spec.pruning.kind != "median"), "trials were pruned at one rung only"
    assert len(study.trials[2]) == 6 and study.best is not None and study.best.stage == "confirm"
    return cases.table(database)


@pytest.mark.parametrize("workers", [1, 4])  # one and two workers on smaller studies: tests/hpsearch/study/test_loop.py
def test_workers(spec: Spec, dataset: Dataset, table: str, tmp_path: Path, workers: int) -> None:
    executor = EXECUTORS["processes"](workers, str(tmp_path / "scratch"))
    try:
        cases.run(spec, dataset, tmp_path / "small.db", executor)
    finally:
        executor.close()
    assert cases.table(tmp_path / "small.db") == table


ORDERS: dict[str, Callable[[], Callable[[int], int]]] = {
    "first": lambda: lambda _: 0,
    "last": lambda: lambda waiting: waiting - 1,
    "random": lambda: random.Random(3).randrange,
}


@pytest.mark.parametrize(("order", "single"), [("first", True), ("last", False), ("random", True)])
def test_order_of_results(spec: Spec, dataset: Dataset, table: str, tmp_path: Path, order: str, single: bool) -> None:
    executor = cases.HeldExecutor(ORDERS[order](), single=single)
    with cases.opened(spec, dataset, tmp_path / "small.db", executor) as study:
        cases.drive(study, executor)
    assert cases.table(tmp_path / "small.db") == table


def test_slices(spec: Spec, dataset: Dataset, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial returns after every epoch, and its checkpoint is stored."""
    monkeypatch.setattr(training, "TIME_SLICE", 0.0)
    cases.run(spec, dataset, tmp_path / "small.db", Inline())
    assert cases.table(tmp_path / "small.db") == table


@pytest.mark.crash
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.soak)], ids=["third", "single"])
def test_stopped_after_every_trial(spec: Spec, dataset: Dataset, table: str, tmp_path: Path, step: int) -> None:
    """Resumed repeatedly, each time for a few more trials; earlier trials are passed to the sampler again first."""
    database, total = tmp_path / "small.db", sum(s.trials for s in spec.stages)
    stopped = 0
    for limit in range(1, total + 1, step):
        tracker, executor = cases.LimitTracker(limit), cases.HeldExecutor(lambda waiting: 0)
        with cases.opened(spec, dataset, database, executor, tracker, tracker.stop) as study:
            try:
                cases.drive(study, executor)
            except Interrupted:
                stopped += 1
    assert stopped > total / step / 2
    cases.run(spec, dataset, database)
    assert cases.table(database) == table
