"""The random forest."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from sampler_cases import BOX, Params, after, complete, context, frozen, mixed, searched

from hpsearch.samplers.forest import FOREST_ROWS, normal_scores

GRID = {"kind": CategoricalDistribution(("a", "b", "c")), "n": IntDistribution(0, 4)}
LINE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


def uniform(count: int) -> list[Params]:
    return [params for params, _ in searched("random", mixed, count)]


def test_uniform_until_ten_trials_have_finished() -> None:
    """Values have no effect before, and an effect from then on; failed trials do not count."""
    points = uniform(10)
    failed = frozen(points[9], (TrialState.FAIL, None, {}))

    def proposed(count: int, sign: float, *others: FrozenTrial) -> Params:
        past = [frozen(p, complete(sign * n)) for n, p in enumerate(points[:count])]
        return after([*past, *others], "forest", context(20))

    assert proposed(9, 1.0) == proposed(9, -1.0) == proposed(9, 1.0, failed) == proposed(0, 1.0)
    assert proposed(10, 1.0) != proposed(10, -1.0)


def test_no_known_point_again() -> None:
    """Finished, failed and running trials are known; when every point is known, the best one is sampled again."""
    points = [{"kind": kind, "n": n} for kind in "abc" for n in range(5)]
    for new in range(15):
        others = [p for n, p in enumerate(points) if n != new]
        past = [frozen(p, complete(float(n)), GRID) for n, p in enumerate(others[:12])]
        past += [frozen(others[12], (TrialState.FAIL, None, {}), GRID), frozen(others[13], None, GRID)]
        assert after(past, "forest", context(14, box=GRID)) == points[new]
    seen = [frozen(p, complete(float(n)), GRID) for n, p in enumerate(points[:12])]
    about = context(14, box=GRID)._replace(points=points[:14])
    assert after(seen, "forest", about) == points[14], "points that the study in memory leaves out are known too"
    known = [frozen(p, complete(float(n)), GRID) for n, p in enumerate(points)]
    assert after(known, "forest", context(15, box=GRID)) == points[0]


def test_running_trials_repel() -> None:
    """They count as average trials, so fewer points are sampled near one that runs at the best place."""
    rng = np.random.default_rng(0)
    past = [frozen({"x": x, "y": y}, complete(x + y), LINE) for x, y in rng.random((40, 2)).tolist()]
    running = [frozen({"x": x, "y": y}, None, LINE) for x, y in (rng.random((3, 2)) * 0.05).tolist()]
    near = [
        sum(max(after(trials, "forest", context(n, box=LINE)).values()) < 0.05 for n in range(40, 52))
        for trials in (past, [*past, *running])
    ]
    print(near)
    assert near[1] < near[0]


def test_inactive_axes_are_part_of_the_model() -> None:
    """`beta` is good when it is small, and kind a, where it is active, is best: both are found, with unequal starts."""
    points = uniform(60)

    def value(p: Params) -> float:
        return 20 * p["beta"] if p["kind"] == "a" else 1.0

    past = [frozen(p, complete(value(p))) for p in points]
    proposed = [after(past, "forest", context(n)) for n in range(60, 72)]
    assert sum(p["kind"] == "a" for p in proposed) >= 9
    assert np.median([p["beta"] for p in proposed if "beta" in p]) < 0.004
    assert all(("beta" in p) == (p["kind"] == "a") for p in proposed)


def test_many_trials() -> None:
    """The forest sees the best trials and the newest of the others; the bad ones of long ago have no effect."""
    rng = np.random.default_rng(1)
    points = [{"x": x, "y": y} for x, y in rng.random((FOREST_ROWS + 50, 2)).tolist()]
    values = rng.permutation(len(points)).astype(float).tolist()
    others = [n for n, value in enumerate(values) if value >= FOREST_ROWS // 2]

    def proposed(*mirrored: int) -> Params:
        moved = {n: {key: 1 - value for key, value in points[n].items()} for n in mirrored}
        trials = [frozen(moved.get(n, p), complete(values[n]), LINE) for n, p in enumerate(points)]
        return after(trials, "forest", context(len(points), box=LINE))

    assert proposed() == proposed(*others[:50])
    assert proposed() != proposed(*others[50:])
    assert proposed() != proposed(*(n for n, value in enumerate(values) if value < 3))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_normal_scores(sign: float) -> None:
    """Equal trials share their mean rank; pruned trials come after complete ones, those without a report last."""
    outcomes = [
        complete(sign * 2.0),
        complete(sign * 1.0),
        (TrialState.PRUNED, None, {}),
        (TrialState.PRUNED, None, {3: sign * 0.5}),
        complete(sign * 2.0),
        (TrialState.PRUNED, None, {}),
    ]
    study = optuna.create_study()
    study.add_trials([frozen({"only": "it"}, outcome, BOX) for outcome in outcomes])
    scores = normal_scores(study.trials, sign)
    assert scores == pytest.approx([-0.4307, -1.3830, 0.9674, 0.2104, -0.4307, 0.9674], abs=1e-3)
