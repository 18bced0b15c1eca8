"""The default plan against plain TPE and TPE with Hyperband, on real data with real training.

    python -m pytest -n 0 -m bench -s tests/benchmarks/search/test_real_searches.py

Plain TPE and TPE with Hyperband are one broad stage of this package with one virtual worker, so that each suggestion
knows every outcome, as in a loop written with Optuna. All searches have equal epochs and paired seeds, and train
without early stopping. Compared is the best val/loss that a search finds.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import paths
import pytest
from scipy.stats import wilcoxon

import hpsearch
from tests.benchmarks.search.recorded_curves import study_of
from tests.benchmarks.search.replay import plan

pytestmark = pytest.mark.bench
BUDGET = float(os.environ.get("SEARCH_BUDGET", "25"))  # full trainings
SEEDS = range(*map(int, os.environ.get("SEARCH_SEEDS", "0:20").split(":")))
SETS = os.environ.get("SEARCH_SETS", "digits,german,phoneme,california").split(",")


def one_stage(**changes: Any) -> dict[str, Any]:
    return {"stages": [{"name": "all", "budget": BUDGET, "sampler": "tpe"}], "parallel": 1, **changes}


PLANS: dict[str, dict[str, Any]] = {
    "default": plan(BUDGET),
    "TPE": one_stage(pruning="none"),
    "TPE + Hyperband": one_stage(pruning={"kind": "hyperband", "min_epochs": 2}),
}


def found(name: str, changes: dict[str, Any], seed: int, database: Path) -> float:
    """Return the log of the best val/loss of a search."""
    content = study_of(name, **changes) | {"seed": seed}
    return float(np.log(hpsearch.run(content, storage=database, tracking_uri="none").best_value))


def test_real_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not paths.DATA.exists():
        pytest.skip(f"needs {paths.DATA}")
    monkeypatch.chdir(paths.DATA)
    values = {key: np.full((len(SETS), len(SEEDS)), np.nan) for key in PLANS}
    for number, name in enumerate(SETS):
        for place, seed in enumerate(SEEDS):
            for key, changes in PLANS.items():
                values[key][number, place] = found(name, changes, seed, tmp_path / f"{name}-{key}-{seed}.db")
            print(
                f"{name}, seed {seed}: " + ", ".join(f"{k} {np.exp(v[number, place]):.5f}" for k, v in values.items()),
                flush=True,
            )
        for key, found_by in values.items():
            ratio = np.exp((values["default"] - found_by)[number].mean())
            print(f"{name}: {key} {np.exp(found_by[number].mean()):.4f}; default ÷ it {ratio:.3f}", flush=True)
    for key in ("TPE", "TPE + Hyperband"):
        difference = (values["default"] - values[key]).ravel()
        p, wins = float(wilcoxon(difference).pvalue), int((difference < 0).sum())
        print(f"default ÷ {key}: {np.exp(difference.mean()):.3f}, better in {wins} of {difference.size}, p {p:.4f}")
        if key == "TPE":
            assert difference.mean() < 0 and p <= 0.01
        else:
            assert difference.mean() < 0 or p > 0.05
