"""Selection of an ensemble: by hand, never worse than its best member, and independent of worse trials."""

import itertools

import cases
import numpy as np
import pytest

from engine.types import Floats
from hpsearch.config.spec import Spec
from hpsearch.search.champion import weights_to_keep
from hpsearch.search.ensemble import ensemble_candidates, select_members
from hpsearch.storage.records import Trial

TRUTH = np.array([1.0, 2.0, 3.0, 4.0])


def squared(predicted: Floats) -> float:
    return float(np.square(predicted - TRUTH).mean())


def test_by_hand() -> None:
    """Errors that cancel: the best is first, then its opposite, twice as far away, once for every two of the best."""
    error = np.array([1.0, -1.0, 1.0, -1.0])
    predicted = [TRUTH - 2 * error, TRUTH + error, TRUTH + 3 * error]
    assert select_members(predicted, squared, 1) == {1: 1}
    assert select_members(predicted, squared, 2) == {1: 1, 0: 1}  # errors ½ (1 − 2) = −½
    assert select_members(predicted, squared, 3) == {1: 2, 0: 1}  # (1 − 2 + 1) / 3 = 0
    assert list(select_members(predicted, squared, 9)) == [1, 0]
    assert sum(select_members(predicted, squared, 9).values()) == 3, "members after the best ensemble are left out"


def test_no_worse_than_the_best_candidate() -> None:
    """Also by a metric that is not convex, where a mean may be worse than each of its parts."""
    draw = np.random.default_rng(3)

    def wrong(predicted: Floats) -> float:
        return float(np.mean((predicted > 0.5) != (TRUTH > 2.5)))

    for loss, _ in itertools.product((squared, wrong), range(50)):
        predicted = list(draw.uniform(0, 4, (6, 4)))
        chosen = select_members(predicted, loss, 5)
        counts = list(chosen.values())
        mean = np.average([predicted[k] for k in chosen], axis=0, weights=counts)
        singles = [loss(p) for p in predicted]
        assert loss(mean) <= min(singles) + 1e-12
        assert next(iter(chosen)) == int(np.argmin(singles)) and 1 <= sum(counts) <= 5


def test_equal_candidates() -> None:
    """The first one is taken, once: rounding in the mean of equal predictions is no gain."""
    for shift in np.random.default_rng(2).uniform(0, 1, 50):
        predicted = [(TRUTH + shift).astype(np.float32)] * 3
        assert select_members(predicted, squared, 5) == {0: 1}


def test_losses_that_are_not_finite() -> None:
    bad = np.full(4, np.nan)
    assert select_members([bad, TRUTH + 1], squared, 3) == {1: 1}
    assert select_members([bad, bad], squared, 3) == {} and select_members([], squared, 3) == {}


def trials(stage: str, *values: float) -> list[Trial]:
    return [Trial(stage, n, {"x": n}, {"x": n}, "complete", value) for n, value in enumerate(values)]


def study(size: int = 2, metric: str = "val/loss") -> Spec:
    stages = [{"name": "coarse", "trials": 30}, {"name": "fine", "trials": 30}]
    return cases.small(stages=stages, metric={"name": metric}, ensemble={"size": size})


@pytest.mark.parametrize("metric", ["val/loss", "val/accuracy"])
def test_candidates(metric: str) -> None:
    """Four for each member, the best first, of all stages; only complete ones."""
    sign = 1 if metric == "val/loss" else -1
    coarse, fine = trials("coarse", *(sign * v for v in range(10))), trials("fine", sign * 0.5, sign * 3)
    coarse[2] = coarse[2]._replace(state="pruned")
    found = [t.label for t in ensemble_candidates(study(metric=metric), [coarse, fine])]
    assert found == ["coarse/0", "fine/0", "coarse/1", "coarse/3", "fine/1", "coarse/4", "coarse/5", "coarse/6"]
    assert ensemble_candidates(cases.small(), [coarse, fine]) == []


def test_copied_outcomes() -> None:
    """A copy has the network of its original, which would count twice."""
    coarse = trials("coarse", 1, 2, 2, 3)
    coarse[2] = coarse[2]._replace(copied_from="coarse/1")
    assert [t.number for t in ensemble_candidates(study(), [coarse])] == [0, 1, 3]
    coarse = [t._replace(copied_from="parent:coarse/7") for t in coarse[:2]]
    assert [t.number for t in ensemble_candidates(study(), [coarse])] == [0]


def test_candidates_are_kept_from_the_start() -> None:
    """In whatever order trials end, a trial that is a candidate at the end was one when it ended."""
    draw, spec = np.random.default_rng(4), study(3)
    values = [float(v) for v in draw.integers(0, 15, 25)]
    last = {t.key for t in ensemble_candidates(spec, [trials("coarse", *values)])}
    assert len(last) == 12
    for _ in range(20):
        running = [t._replace(state="running", value=None) for t in trials("coarse", *values)]
        for number in draw.permutation(25):
            running[number] = running[number]._replace(state="complete", value=values[number])
            kept = weights_to_keep(spec, [running])
            assert ("coarse", int(number)) in kept or ("coarse", int(number)) not in last
