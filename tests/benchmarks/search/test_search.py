"""The default plan against Optuna as a user writes it, and against itself without its parts, on recorded curves.

    python -m pytest -n 0 -m bench -s tests/benchmarks/search

Searches have equal epochs and paired seeds. The regret of a search is the loss of the point that it chooses, as a mean
over seeds of the network: 0 is the best found by any search, 1 that of random search after ten full trainings.
"""

import os
from typing import Any

import numpy as np
import pytest
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from scipy.stats import wilcoxon

from hpsearch.storage.records import Trial
from tests.benchmarks.search.recorded_curves import EPOCHS, FOLDER, SETS, recorded
from tests.benchmarks.search.replay import chosen, plan, replayed, rival, study

pytestmark = pytest.mark.bench
BUDGETS = (10, 25, 50)  # full trainings
SEEDS = range(*map(int, os.environ.get("SEARCH_SEEDS", "30:42").split(":")))  # the defaults were chosen on 0–29


def one_stage(budget: float, **changes: Any) -> dict[str, Any]:
    """Return a plan of one broad stage."""
    return {"stages": [{"name": "all", "budget": budget, **changes}], "parallel": 4}


def without_zoom(budget: float) -> dict[str, Any]:
    content = plan(budget)
    del content["stages"][1]["zoom"]
    return content


PLANS: dict[str, Any] = {
    "default": plan,
    "default, parallel 2": lambda b: plan(b, parallel=2),
    "no zoom": without_zoom,
    "one broad stage, pruned": lambda b: one_stage(b, sampler="tpe", pruning={"kind": "promote", "rungs": [6, 12, 25]}),
    "one broad stage": lambda b: one_stage(b, sampler="tpe", pruning="none"),
}
PRUNERS: dict[str, BasePruner | None] = {
    "Optuna TPE": None,
    "Optuna TPE + SH": SuccessiveHalvingPruner(min_resource=2, reduction_factor=3),
    "Optuna TPE + Hyperband": HyperbandPruner(min_resource=2, max_resource=EPOCHS, reduction_factor=3),
    "Optuna random": None,
}


def searched(name: str, plan_name: str, budget: float, seed: int) -> list[Trial]:
    """Return the trials of a search on a set."""
    curves = recorded(name)
    if plan_name in PRUNERS:
        sampler = "random" if "random" in plan_name else "tpe"
        return rival(curves.space, curves.curve, budget, seed, PRUNERS[plan_name], sampler)
    return replayed(study(name, PLANS[plan_name](budget), seed), curves.curve)


def loss(name: str, plan_name: str, budget: float, seed: int) -> float:
    """Return the final loss of the chosen point as a mean over seeds of the network."""
    best = chosen(searched(name, plan_name, budget, seed))
    assert best is not None
    return float(recorded(name).curve(best.point)[-1])


def test_the_default_plan_wins() -> None:
    """Ranks and mean regrets on all sets; each rival is compared over sets, seeds and budgets, paired."""
    names, sets = [*PLANS, *PRUNERS], [name for name in SETS if (FOLDER / f"{name}.npz").exists()]
    assert len(sets) >= 4
    table = np.array(
        [[[[loss(s, p, b, seed) for seed in SEEDS] for b in BUDGETS] for p in names] for s in sets]
    )  # set, plan, budget, seed
    best = table.min(axis=(1, 2, 3), keepdims=True)
    scale = table[:, names.index("Optuna random"), 0].mean(axis=-1)[:, None, None, None] - best
    regret = (table - best) / scale
    for place, name in enumerate(names):
        means = " / ".join(f"{v:.3f}" for v in regret[:, place].mean(axis=(0, 2)))
        by_set = ", ".join(f"{s} {v:.3f}" for s, v in zip(sets, regret[:, place].mean(axis=(1, 2)), strict=True))
        difference = (regret[:, 0] - regret[:, place]).mean(axis=1).ravel()  # mean over budgets, by set and seed
        p = 1.0 if place == 0 else float(wilcoxon(difference).pvalue)
        print(f"{name:26} {means}   default − it {difference.mean():+.3f}, p {p:.4f}   {by_set}", flush=True)
        if name in ("Optuna TPE", "one broad stage", "Optuna random"):
            assert difference.mean() < 0 and p <= 0.01, name


def test_a_replay_is_repeatable_and_keeps_its_budget() -> None:
    first, second = (searched("digits", "default", 10, 3) for _ in range(2))
    assert first == second
    assert 500 <= sum(t.epochs for t in first) <= 500 + 4 * 50
