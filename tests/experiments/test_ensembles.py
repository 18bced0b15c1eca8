"""Ensembles on real tables, with few trials: what they gain on the validation rows and on the test rows."""

from pathlib import Path

import paths
import pytest

import hpsearch

FEW = ["stages.0.trials=8", "stages.1.trials=8", "pruning=none", "metric.name=val/loss", "ensemble.size=5", "seed=1"]

pytestmark = pytest.mark.experiments


@pytest.mark.parametrize("name", ["titanic", "german", "phoneme"])
def test_gain(name: str, tmp_path: Path) -> None:
    """Never worse than the best member on the validation rows; clearly better on both where networks differ enough."""
    table = paths.DATA / f"{name}.csv"
    if not table.exists():
        pytest.skip(f"{name} is not in ../shared/data")
    result = hpsearch.run(
        paths.STUDIES / f"{name}.yaml",
        overrides=[*FEW, f"data.path={table}"],
        storage=tmp_path / "study.db",
        tracking_uri="none",
    )
    ensemble = result.summary.ensemble
    assert ensemble is not None and len(ensemble.members) > 1
    assert ensemble.scores["val/loss"] < ensemble.single["val/loss"]
    worse = {"titanic": 1.01, "german": 1.01, "phoneme": 0.995}[name]
    assert ensemble.scores["test/loss"] < worse * ensemble.single["test/loss"]
    assert ensemble.scores["test/loss"] < worse * result.best_metrics["test/loss"]
    assert len(result.ensemble.members) == len(ensemble.members)
