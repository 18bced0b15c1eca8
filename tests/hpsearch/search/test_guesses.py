"""Guesses: which trials lie near them, around the best trial, or where the sampler chooses."""

import math
import statistics
from typing import Any

import cases
import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpsearch.config.references import search_space
from hpsearch.core.space import Box, InternalValue, Range, Space, Values, build_space
from hpsearch.search.guesses import EARLY_SHARE, LATE_SHARE, guided_params, prior_share
from hpsearch.search.suggest import Suggester
from hpsearch.storage.records import Trial

SPACE = build_space(
    {
        "rate": Range(min=1e-4, max=1.0, scale="log", guess=1e-2),
        "beta": Range(min=0.9, max=0.999, scale="one_minus_log", guess=0.99),
        "units": Range(type="int", min=4, max=64, scale="log", guess=16),
        "batch": Values(values=(8, 16, 32, 64), ordered=True, guess=16),
        "kind": Values(values=("a", "b", "c"), guess="b"),
        "free": Range(min=0.0, max=1.0),
    }
)
FULL: Box = SPACE.full_box()
AT_GUESSES = {"rate": 1e-2, "one_minus_beta": 0.01, "units": 16, "batch_index": 1, "kind": "b"}
ELSEWHERE = {"rate": 0.9, "one_minus_beta": 0.001, "units": 64, "batch_index": 3, "kind": "c"}


def frozen(values: list[float], params: dict[str, Any], space: Space = SPACE) -> list[FrozenTrial]:
    """Return complete trials at the same point."""
    distributions = {key: d for key, d in space.distributions(space.full_box()).items() if key in params}
    return [create_trial(value=v, params=params, distributions=distributions) for v in values]


def guided(trials: list[FrozenTrial], count: int, sampler: str = "tpe", box: Box = FULL) -> list[dict[str, Any]]:
    found = (guided_params(SPACE, box, sampler, trials, seed, first=False) for seed in range(count))
    return [params for params in found if params]


def test_the_first_trial_lies_at_the_guesses() -> None:
    """In the box of the trial; the axes without a guess are left to the sampler."""
    assert guided_params(SPACE, FULL, "random", [], 0, first=True) == AT_GUESSES
    box = FULL | {"rate": (0.1, 1.0), "units": (4, 8), "batch_index": (2, 3)}
    assert guided_params(SPACE, box, "random", [], 0, first=True) == AT_GUESSES | {
        "rate": 0.1,
        "units": 8,
        "batch_index": 2,
    }


def test_without_guesses() -> None:
    space = build_space({"x": Range(min=0, max=1), "kind": Values(values=("a", "b"))})
    for seed in range(20):
        for first in (True, False):
            assert guided_params(space, space.full_box(), "random", [], seed, first=first) == {}


def test_prior() -> None:
    """A normal distribution on the axis's scale, whose sigma is a quarter of the range, cut at the box."""
    found = guided([], 3000, "random")
    assert abs(len(found) / 3000 - EARLY_SHARE) < 0.04
    assert all(p.keys() == AT_GUESSES.keys() for p in found)
    rate, beta = (np.log10([p[key] for p in found]) for key in ("rate", "one_minus_beta"))
    assert abs(np.median(rate) + 2) < 0.15 and abs(np.median(beta) + 2) < 0.08
    # A normal distribution that is cut two sigmas from its center has the standard deviation 0.88 σ.
    assert abs(rate.std() - 0.88) < 0.06 and abs(beta.std() - 0.44) < 0.03
    shares = {kind: sum(p["kind"] == kind for p in found) / len(found) for kind in "abc"}
    assert abs(shares["b"] - 2 / 3) < 0.05 and abs(shares["a"] - 1 / 6) < 0.04
    counts = [sum(p["batch_index"] == n for p in found) for n in range(4)]
    assert counts[1] == max(counts) and counts[3] == min(counts) > 0
    box = FULL | {"rate": (1e-4, 1e-3), "units": (32, 64)}
    cut = guided([], 300, "random", box)
    assert all(1e-4 <= p["rate"] <= 1e-3 and 32 <= p["units"] <= 64 and type(p["units"]) is int for p in cut)
    assert statistics.median(math.log10(p["rate"]) for p in cut) > -3.5, "most are on the side of the guess"


def test_the_share_of_the_prior() -> None:
    """It falls when the best trials lie elsewhere; the worse two thirds of the trials do not count."""
    guessed = SPACE.axes[:5]
    near, far = dict(AT_GUESSES), dict(ELSEWHERE)
    assert prior_share(guessed, [far] * 4) == 1.0
    assert prior_share(guessed, [near] * 9) == 0.5
    assert prior_share(guessed, [far] * 9) < 0.01
    assert prior_share(guessed, [near] * 3 + [far] * 6) == 0.5
    assert prior_share(guessed, [far, near, near] + [far] * 6) == pytest.approx(1 / 2, abs=0.01)
    inactive = {key: value for key, value in far.items() if key not in ("rate", "kind")}
    assert prior_share(guessed, [far] * 9) < prior_share(guessed, [inactive] * 9) < 0.5


def test_the_incumbent_replaces_a_wrong_guess() -> None:
    """A sampler that learns gets most trials; the others lie around the best trial, on all axes and in the box."""
    trials = frozen([0.0], {**ELSEWHERE, "free": 0.25}) + frozen([1.0, 2.0, 3.0], {**ELSEWHERE, "free": 0.8}) * 4
    found = guided(trials, 1000)
    assert abs(len(found) / 1000 - LATE_SHARE) < 0.03
    assert all(p.keys() == FULL.keys() for p in found)
    kept = [sum(p["free"] == 0.25 for p in found), sum(p["rate"] == 0.9 for p in found)]
    assert all(0.3 < n / len(found) < 0.7 for n in kept)
    assert statistics.median(abs(p["free"] - 0.25) for p in found if p["free"] != 0.25) < 0.1
    assert sum(p["kind"] == "c" for p in found) > 0.6 * len(found)
    narrow = FULL | {"free": (0.3, 0.4), "rate": (1e-3, 1e-2)}
    assert all(0.3 <= p["free"] <= 0.4 and 1e-3 <= p["rate"] <= 1e-2 for p in guided(trials, 300, box=narrow))
    running = create_trial(state=TrialState.RUNNING, params={}, distributions={})
    assert guided([*trials, running], 50) == guided(trials, 50), "running trials have no effect"


def suggested(guess: dict[str, float], trials: int, seed: int, sampler: str = "tpe") -> list[Trial]:
    """Return the trials of a stage whose values are quadratic around learning rate 0.01 and l2 1e-4."""
    parameters: dict[str, Any] = {
        "learning_rate": {"min": 1e-4, "max": 1.0, "scale": "log"},
        "l2": {"min": 1e-7, "max": 1e-1, "scale": "log"},
        **{"beta": 0.9, "hidden_units": 4, "batch_size": 16},
    }
    parameters |= {name: parameters[name] | {"guess": value} for name, value in guess.items()}
    stage = {"name": "all", "trials": trials, "sampler": sampler}
    spec = cases.small(parameters=parameters, stages=[stage], parallel=2, seed=seed)
    space = search_space(spec)
    suggester, done = Suggester(spec, space, 0, space.full_box(), [], []), list[Trial]()
    for n in range(trials):
        t = suggester.suggest(done, [t if k < n - 1 else t._replace(state="running") for k, t in enumerate(done)])
        rate, l2 = (math.log10(float(t.point[name])) for name in ("learning_rate", "l2"))
        value = (rate + 2) ** 2 + (l2 + 4) ** 2 / 4
        ended = t._replace(state="complete", value=value, epochs=1, finished=1.0, history={"val/loss": [value]})
        done.append(ended)
    return done


def test_a_good_guess_helps_and_a_wrong_one_costs_little() -> None:
    """Means of log regret after eight and 24 trials, over the same seeds."""
    good, wrong = {"learning_rate": 0.02, "l2": 3e-4}, {"learning_rate": 0.9, "l2": 0.09}

    def regret(guess: dict[str, float], seed: int) -> tuple[float, float]:
        values = [t.value or 0.0 for t in suggested(guess, 24, seed)]
        return math.log(min(values[:8]) + 1e-3), math.log(min(values) + 1e-3)

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    means = {
        name: np.mean([regret(guess, seed) for seed in range(5)], axis=0)
        for name, guess in {"good": good, "none": {}, "wrong": wrong}.items()
    }
    print(means)
    assert means["good"][0] < means["none"][0] - 0.5
    assert means["wrong"][1] < means["none"][1] + 1.0


def test_suggestions_with_guesses() -> None:
    """The first trial lies at the guess, all lie on their axes, and the same trials come again."""
    guess = {"learning_rate": 0.02}
    for sampler in ("random", "tpe"):
        found = suggested(guess, 16, 3, sampler)
        assert found[0].internal_params["learning_rate"] == 0.02
        assert found == suggested(guess, 16, 3, sampler)
        keys: list[InternalValue] = [t.internal_params["learning_rate"] for t in found]
        assert len(set(keys)) > 12 and all(1e-4 <= float(key) <= 1 for key in keys)
    pairs = zip(suggested({}, 16, 3, "random"), suggested(guess, 16, 3, "random"), strict=True)
    same = [plain.internal_params == guessed.internal_params for plain, guessed in pairs]
    assert 3 <= sum(same) <= 13, "the sampler's own trials are those without a guess"
