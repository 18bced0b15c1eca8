"""Pruning digits trains a fraction of the epochs, and the confirmed winner is not worse."""

from pathlib import Path
from statistics import median
from typing import NamedTuple

import cases
import paths
import pytest

from hpsearch.config.load import load_spec
from hpsearch.data.dataset import prepare
from hpsearch.search import confirm
from hpsearch.training.executors import EXECUTORS

STUDY = paths.STUDIES / "digits.yaml"
STAGES = (  # as many trials with pruning as without
    "[{name: coarse, trials: 48}, {name: fine, trials: 32, sampler: tpe, zoom: {}}, {name: confirm, top: 3, seeds: 5}]"
)


class Found(NamedTuple):
    """Epochs of the searching stages, and the winner's mean val loss over the confirming seeds."""

    epochs: int
    loss: float


def found(folder: Path, seed: int, pruning: str) -> Found:
    spec, _ = load_spec(STUDY, (f"seed={seed}", f"pruning={pruning}", f"stages={STAGES}"))
    folder.mkdir()
    dataset, _ = prepare(spec.data, spec.seed, folder)
    executor = EXECUTORS["processes"](2, str(folder))
    try:
        study = cases.run(spec, dataset, folder / "digits.db", executor)
    finally:
        executor.close()
    *search, confirming = study.trials
    return Found(sum(r.epochs for each in search for r in each), confirm.compare_points(spec, confirming)[0].mean)


@pytest.mark.experiments
@pytest.mark.parametrize("seeds", [1, pytest.param(10, marks=pytest.mark.soak)])
def test_pruning_pays(tmp_path: Path, seeds: int) -> None:
    pairs = [
        tuple(found(tmp_path / f"{seed}-{kind}", seed, kind) for kind in ("none", "promote")) for seed in range(seeds)
    ]
    shares = [pruned.epochs / whole.epochs for whole, pruned in pairs]
    losses = [median(each[kind].loss for each in pairs) for kind in (0, 1)]
    print(f"epochs {min(shares):.2f} to {max(shares):.2f} of those without pruning; median losses {losses}")
    assert max(shares) <= 0.4
    assert seeds == 1 or losses[1] <= losses[0]  # one seed would prove nothing
