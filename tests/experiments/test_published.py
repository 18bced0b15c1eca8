"""The study files of `studies/published/`: shortened; behind `soak` in full, with the goals that they reach."""

from pathlib import Path

import paths
import pytest

import hpsearch
from engine.metrics import METRICS

FOLDER = paths.STUDIES / "published"
FEW = [
    "stages.0.trials=2",
    "stages.1.trials=3",
    "stages.2.top=1",
    "stages.2.seeds=2",
    "ensemble.size=2",
    "baselines=false",
]
IMAGES = (("mnist.npz",), "accuracy", ["train.epochs=2", "data.rows=4000", "pruning=none"])
# Study → its files, the test metric, what shortens it, the value to reach shortened and in full.
STUDIED = {
    "adult": (("adult-train.csv", "adult-test.csv"), "accuracy", ["train.epochs=3", "pruning=none"], 0.84, 0.856),
    "california": (("california.csv",), "rmse", ["train.epochs=8", "pruning=none"], 66_000.0, 49_000.0),
    "mnist_dense": (*IMAGES, 0.9, 0.985),
    "mnist_conv": (*IMAGES, 0.93, 0.992),
}

pytestmark = pytest.mark.experiments


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["short", "full"])
@pytest.mark.parametrize("name", STUDIED)
def test_goals(name: str, full: bool, tmp_path: Path) -> None:
    """The champion reaches the goal; the ensemble is no worse than its best member."""
    files, metric, few, bound, goal = STUDIED[name]
    found = [paths.DATA / file for file in files]
    if not all(path.exists() for path in found):
        pytest.skip(f"{', '.join(files)} are not in ../shared/data")
    where = [f"data.{key}={path}" for key, path in zip(("path", "test_path"), found, strict=False)]
    result = hpsearch.run(
        FOLDER / f"{name}.yaml",
        overrides=where if full else [*where, *FEW, *few],
        storage=tmp_path / "study.db",
        tracking_uri="none",
    )
    sign, test = METRICS[metric].sign, f"test/{metric}"
    assert result.best.stage == "confirm"
    assert sign * result.best_metrics[test] <= sign * (goal if full else bound)
    ensemble, searched = result.summary.ensemble, result.summary.spec.metric.name
    assert ensemble is not None
    assert METRICS[searched.removeprefix("val/")].sign * (ensemble.scores[searched] - ensemble.single[searched]) <= 0
    if full:
        assert sign * (ensemble.scores[test] - ensemble.single[test]) <= 0
        assert {baseline.name for baseline in result.summary.baselines} == {"constant", "linear", "boosting"}


def test_all_files_are_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(STUDIED)
