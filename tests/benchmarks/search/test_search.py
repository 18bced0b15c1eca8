"""The default plan against Optuna's TPE, random search and itself without its parts, on curves that are made.

    python -m pytest -n 0 -m bench -s tests/benchmarks/search

Searches have equal epochs, and their seeds are paired. The regret is the noise-free loss of the chosen point.
"""

from typing import Any

import numpy as np
import pytest
from optuna.pruners import SuccessiveHalvingPruner
from scipy.stats import wilcoxon

from hpsearch.storage.records import Trial
from tests.benchmarks.search.replay import chosen, made_curve, plan, replayed, rival, study

pytestmark = pytest.mark.bench
BUDGETS = (10, 25)
WORLDS = range(16)


def one_stage(budget: float, sampler: str) -> dict[str, Any]:
    """Return a plan of one broad stage without pruning."""
    return {"stages": [{"name": "all", "sampler": sampler, "budget": budget}], "parallel": 4}


def without_zoom(budget: float) -> dict[str, Any]:
    content = plan(budget)
    del content["stages"][1]["zoom"]
    return content


def searched(name: str, budget: float, world: int) -> list[Trial]:
    """Return the trials of a search in one world."""
    curve = made_curve(world)
    if name.startswith("Optuna"):
        pruner = SuccessiveHalvingPruner(min_resource=2, reduction_factor=3) if "SH" in name else None
        return rival(curve, budget, world, pruner)
    contents = {
        "default": plan,
        "no zoom": without_zoom,
        "random": lambda b: one_stage(b, "random"),
        "one broad stage": lambda b: one_stage(b, "tpe"),
    }
    return replayed(study(contents[name](budget), world), curve)


def regret(name: str, budget: float, world: int) -> float:
    """Return the log of the noise-free final loss at the chosen point."""
    best = chosen(searched(name, budget, world))
    assert best is not None
    curve = made_curve(world)
    return float(np.mean([np.log(curve(best.point, 10**9 + seed)[-1]) for seed in range(64)]))


def test_the_default_plan_wins() -> None:
    names = ("default", "no zoom", "one broad stage", "Optuna TPE", "Optuna TPE + SH", "random")
    found = {name: np.array([[regret(name, b, w) for w in WORLDS] for b in BUDGETS]) for name in names}
    for name in names[1:]:
        difference = (found["default"] - found[name]).mean(axis=0)
        p = wilcoxon(difference).pvalue
        means = ", ".join(f"{b}: {np.exp(v.mean()):.4f}" for b, v in zip(BUDGETS, found[name], strict=True))
        print(f"{name:20} {means}; default ÷ it {np.exp(difference.mean()):.3f}, p {p:.4f}")
        if name in ("one broad stage", "Optuna TPE", "random"):
            assert difference.mean() < 0 and p <= 0.01
    print("default", [f"{b}: {np.exp(v.mean()):.4f}" for b, v in zip(BUDGETS, found["default"], strict=True)])


def test_the_same_trials_for_any_plan_of_workers() -> None:
    """A replay is repeatable, and a budget is used up, but hardly exceeded."""
    first, second = (searched("default", 10, 3) for _ in range(2))
    assert first == second
    assert 500 <= sum(t.epochs for t in first) <= 500 + 4 * 50
