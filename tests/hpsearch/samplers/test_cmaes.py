"""CMA-ES."""

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sampler_cases import SCALES, Outcome, Params, after, bowl, complete, context, frozen, history, searched


def test_start_at_the_best_known_trial() -> None:
    """The first population is closer around the best trial of earlier stages, in both directions."""
    close = {"rate": 10**-3.5, "share": 3.6, "units": 158, "count": 25}
    others = [p for p, _ in searched("random", lambda n, p: complete(0.0), 6, box=SCALES)]
    for direction, sign in (("minimize", 1.0), ("maximize", -1.0)):
        known = [frozen(p, complete(sign), SCALES) for p in others] + [frozen(close, complete(-sign), SCALES)]
        known += [frozen(others[0], (TrialState.PRUNED, None, {}), SCALES)]
        first = searched(
            "cmaes", lambda n, p: complete(0.0), 64, direction=direction, known=known, box=SCALES, parallel=64
        )
        shares = np.array([p["share"] for p, _ in first])
        assert abs(shares.mean() - 3.6) < 0.4 and 0.7 < shares.std() < 1.3
    alone = np.array([p["share"] for p, _ in searched("cmaes", mixed_nothing, 64, box=SCALES, parallel=64)])
    assert abs(alone.mean() - 2) < 0.5 and 1.0 < alone.std() < 1.6


def mixed_nothing(number: int, params: Params) -> Outcome:
    return complete(0.0)


ENDS = {("COMPLETE", False), ("PRUNED", True), ("PRUNED", False), ("FAIL", False)}


def test_only_the_best_of_earlier_stages_counts() -> None:
    """Other trials of earlier stages belong to no population of this optimizer."""
    past, best = history(0), min((t for t in history(0) if t.value is not None), key=lambda t: t.value or 0.0)
    assert after(past, "cmaes", context(0, known=32)) == after([best], "cmaes", context(0, known=1))


def test_trials_without_a_value_rank_last() -> None:
    """Pruned trials rank by their last report, then diverged and failed ones, as if they had such values."""

    def without(number: int, params: Params) -> Outcome:
        value = bowl(params)
        if params["share"] < 2:
            return (TrialState.FAIL if number % 2 else TrialState.PRUNED), None, {}
        return (TrialState.PRUNED, None, {1: 0.0, 9: value}) if value > 1 else complete(value)

    def valued(number: int, params: Params) -> Outcome:
        return complete(1e9 if params["share"] < 2 else bowl(params))

    one, other = (searched("cmaes", f, 48, box=SCALES) for f in (without, valued))
    assert {(o[0].name, bool(o[2])) for _, o in one[:16]} == ENDS
    assert [p for p, _ in one] == [p for p, _ in other]


def test_population_without_values_is_left_out() -> None:
    """A population without any value is not ranked by trial number."""
    failed = searched("cmaes", lambda n, p: (TrialState.FAIL, None, {}), 64, box=SCALES, parallel=16)
    shares = np.array([p["share"] for p, _ in failed[48:]])
    again = [after([], "cmaes", context(n, parallel=16, box=SCALES)) for n in range(48, 64)]
    assert [p for p, _ in failed[48:]] == again and shares.std() > 0.5


def test_numerically_stable_after_1000_trials() -> None:
    """Also when the trials converge to one point in a corner."""
    box = {"x": FloatDistribution(0, 1), "y": FloatDistribution(1e-3, 1, log=True), "n": IntDistribution(0, 3)}
    rng = np.random.default_rng(0)
    spread = [(0.97**n * rng.random(2)).tolist() for n in range(1000)]
    past = [frozen({"x": 1 - u, "y": 10 ** (-3 * v), "n": 3}, complete(u + v), box) for u, v in spread]
    params = after(past, "cmaes", context(1000, box=box))
    assert params["x"] > 0.99 and params["y"] > 0.99 and params["n"] == 3
