"""Samplers: what each owes to the loop, and what each is there for."""

import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import qmc

from hpsearch import samplers
from hpsearch.core.seeds import derive
from hpsearch.samplers import SAMPLERS, SamplerContext, missing, suggest
from hpsearch.samplers.base import place, uniform, unit

optuna.logging.set_verbosity(optuna.logging.ERROR)

Params = dict[str, Any]
Box = Mapping[str, BaseDistribution]
Outcome = tuple[TrialState, float | None, dict[int, float]]  # state, value, reports

BOX: Box = {
    "rate": FloatDistribution(1e-4, 1, log=True),
    "kind": CategoricalDistribution(("a", "b", "c")),
    "beta": FloatDistribution(0.001, 0.1, log=True),  # counts for kind a
    "share": FloatDistribution(-1, 1),
    "units": IntDistribution(1, 200, log=True),
    "only": CategoricalDistribution(("it",)),
    "batch": IntDistribution(0, 4),
    "more": IntDistribution(1, 9),  # counts for batch above 1
    "pair": IntDistribution(7, 8),
    "narrow": IntDistribution(3, 3),
    "point": FloatDistribution(0.5, 0.5),
}
WHEN: Mapping[str, Callable[[Params], bool]] = {"beta": lambda p: p["kind"] == "a", "more": lambda p: p["batch"] > 1}


def members(*names: str) -> list[Any]:
    """Of the menu; what cannot be used here is skipped."""
    lacks = {name: missing(name) for name in names}
    return [pytest.param(n, marks=pytest.mark.skipif(lacks[n] is not None, reason=str(lacks[n]))) for n in names]


def context(number: int, *, seed: int = 5, wave: int = 8, known: int = 0, box: Box = BOX) -> SamplerContext:
    conditional = frozenset(WHEN.keys() & box.keys())
    return SamplerContext(derive(seed, "ask"), derive(seed, number, "ask"), number, wave, known, box, conditional)


def frozen(params: Params, outcome: Outcome | None, box: Box = BOX) -> FrozenTrial:
    """A trial as the loop gives it to the sampler; a running one when there is no outcome."""
    state, value, reports = outcome or (TrialState.RUNNING, None, {})
    distributions = {key: box[key] for key in params}
    return create_trial(
        state=state, value=value, params=params, distributions=distributions, intermediate_values=reports
    )


def asked(memory: optuna.Study, name: str, about: SamplerContext) -> Params:
    """As the loop asks."""
    memory.sampler = SAMPLERS[name](about)
    trial = memory.ask({key: d for key, d in about.box.items() if key not in about.conditional})
    for key, distribution in about.box.items():
        if key in about.conditional and WHEN[key](trial.params):
            suggest(trial, key, distribution)
    return trial.params


def searched(
    name: str,
    outcome: Callable[[int, Params], Outcome],
    trials: int,
    *,
    seed: int = 5,
    wave: int = 8,
    direction: str = "minimize",
    known: Sequence[FrozenTrial] = (),
    box: Box = BOX,
) -> list[tuple[Params, Outcome]]:
    """A stage as the loop runs it: wave k sees the outcomes of waves up to k−2, and wave k−1 as running."""
    done: list[tuple[Params, Outcome]] = []
    for first in range(0, trials, wave):
        memory = optuna.create_study(direction=direction)
        memory.add_trials(known)
        visible = max(0, first - wave)
        memory.add_trials([frozen(p, o if n < visible else None, box) for n, (p, o) in enumerate(done)])
        for number in range(first, min(first + wave, trials)):
            about = context(number, seed=seed, wave=wave, known=len(known), box=box)
            done.append((asked(memory, name, about), (TrialState.RUNNING, None, {})))
        done[first:] = [(p, outcome(n, p)) for n, (p, _) in enumerate(done[first:], first)]
    return done


def complete(value: float) -> Outcome:
    return TrialState.COMPLETE, value, {}


def mixed(number: int, params: Params) -> Outcome:
    """Every way a trial can end."""
    value = (math.log10(params["rate"]) + 2) ** 2 + params["share"] ** 2 + params["batch"] / 4
    if number % 7 == 3:
        return TrialState.FAIL, None, {}
    if number % 7 == 5 or params["rate"] > 0.5:
        return TrialState.PRUNED, None, {}
    return (TrialState.PRUNED, None, {2: value + 2, 4: value + 1}) if number % 7 == 6 else complete(value)


def turned(number: int, params: Params) -> Outcome:
    """The same upside down."""
    state, value, reports = mixed(number, params)
    return state, None if value is None else -value, {step: -v for step, v in reports.items()}


def history(running: int = 8) -> list[FrozenTrial]:
    trials = searched("random", mixed, 32 + running)
    return [frozen(p, o if n < 32 else None) for n, (p, o) in enumerate(trials)]


def after(past: Sequence[FrozenTrial], name: str, about: SamplerContext, direction: str = "minimize") -> Params:
    memory = optuna.create_study(direction=direction)
    memory.add_trials(past)
    return asked(memory, name, about)


ALL = members(*SAMPLERS)


def points() -> str:
    """What each sampler here draws after the same history."""
    usable = [name for name in SAMPLERS if missing(name) is None]
    return repr({name: after(history(), name, context(40)) for name in usable})


def test_same_points_in_a_fresh_process() -> None:
    """To the bit, with another number of threads and another hash seed."""
    few = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-W", "error", "-c", "import test_samplers; print(test_samplers.points())"]
    paths = os.pathsep.join(path for path in (str(Path(__file__).parent), *sys.path) if path)
    fresh = subprocess.run(command, env={**os.environ, **few, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert fresh.returncode == 0, fresh.stderr
    assert fresh.stdout.strip() == points()


def test_importing_is_cheap() -> None:
    """The menu is read by every check of a study file."""
    heavy = "{'optuna', 'scipy', 'torch', 'cmaes', 'sklearn'} & set(sys.modules)"
    code = f"import sys, hpsearch.samplers; hpsearch.samplers.missing('gp'); sys.exit(repr({heavy}) if {heavy} else 0)"
    paths = os.pathsep.join(path for path in sys.path if path)
    fresh = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert fresh.returncode == 0, fresh.stderr


@pytest.mark.parametrize("name", ALL)
def test_points_lie_in_the_box(name: str) -> None:
    """Of the right types too, as JSON keeps them; what does not count is not there."""
    trials = searched(name, mixed, 24)
    for params, _ in trials:
        assert params.keys() == {key for key in BOX if key not in WHEN or WHEN[key](params)}
        for key, value in params.items():
            distribution = BOX[key]
            if isinstance(distribution, CategoricalDistribution):
                assert value in distribution.choices
            else:
                assert isinstance(distribution, FloatDistribution | IntDistribution)
                assert type(value) is (int if isinstance(distribution, IntDistribution) else float)
                assert distribution.low <= value <= distribution.high
    assert len({repr(params) for params, _ in trials}) == len(trials), "another number, another point"
    assert {params["kind"] for params, _ in trials} == {"a", "b", "c"}
    assert {params["pair"] for params, _ in trials} == {7, 8}
    for key in WHEN:
        drawn = [params[key] for params, _ in trials if key in params]
        assert len(set(drawn)) >= min(len(drawn), 3), key


@pytest.mark.parametrize("name", ALL)
def test_maximizing_is_minimizing_turned_round(name: str) -> None:
    trials = 18 if name == "gp" else 32
    ups = searched(name, turned, trials, wave=4, direction="maximize")
    assert [p for p, _ in ups] == [p for p, _ in searched(name, mixed, trials, wave=4)]


@pytest.mark.parametrize("name", ALL)
def test_what_becomes_of_running_trials_does_not_matter(name: str) -> None:
    """Neither reports nor clocks nor notes of trials whose outcome may not be seen."""
    other = history()
    for t in other:
        t.datetime_start = datetime(2030, 1, 1)
        if t.state == TrialState.RUNNING:
            t.intermediate_values, t.user_attrs = {1: -1e6}, {"state": "diverged"}
        else:
            t.datetime_complete = datetime(2031, 1, 1)
    assert after(other, name, context(40)) == after(history(), name, context(40))


@pytest.mark.parametrize("name", ["random", "sobol", "cmaes"])
def test_running_trials_are_not_there(name: str) -> None:
    """For those that do not keep away from them; a population is not filled up with them."""
    past = history()[:28]
    running = [frozen(t.params, None) for t in history()[28:]]
    assert after([*past, *running], name, context(40)) == after(past, name, context(40))


@pytest.mark.parametrize("name", members("tpe", "gp", "cmaes"))
def test_outcomes_matter(name: str) -> None:
    """Which tests above would not see if nothing were learned."""
    past = history()
    turned_round = [frozen(t.params, complete(-t.value) if t.value is not None else None) for t in past[:32]]
    assert after([*turned_round, *past[32:]], name, context(40)) != after(past, name, context(40))


@pytest.mark.parametrize("name", ALL)
def test_seeds_of_stage_and_trial(name: str) -> None:
    assert after(history(), name, context(40, seed=6)) != after(history(), name, context(40))
    assert after([], name, context(0, seed=6)) != after([], name, context(0))
    assert after([], name, context(0, seed=2**64)) == after([], name, context(0, seed=2**64))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("outcome", [(TrialState.FAIL, None, {}), (TrialState.PRUNED, None, {}), complete(1.0)])
def test_outcomes_that_say_nothing(name: str, outcome: Outcome) -> None:
    params = [p for p, _ in searched("random", mixed, 24)]
    drawn = [after([frozen(p, outcome) for p in params], name, context(24 + n)) for n in range(2)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("name", ALL)
def test_given_points_are_kept(name: str) -> None:
    """What they leave open is drawn."""
    for past in ([], history()):
        memory = optuna.create_study()
        memory.add_trials(past)
        memory.enqueue_trial({"rate": 0.25, "kind": "a", "units": 17, "beta": 0.05})
        params = asked(memory, name, context(len(past)))
        assert [params[key] for key in ("rate", "kind", "units", "beta")] == [0.25, "a", 17, 0.05]
        assert -1 <= params["share"] <= 1


@pytest.mark.parametrize("name", ALL)
def test_nothing_to_search(name: str) -> None:
    assert searched(name, lambda n, p: complete(n), 20, box={})[-1][0] == {}
    single = {key: BOX[key] for key in ("only", "narrow", "point")}
    assert searched(name, lambda n, p: complete(n), 20, box=single)[-1][0] == {"only": "it", "narrow": 3, "point": 0.5}


# --- what Sobol's sequence is there for


def test_sobol_is_the_sequence() -> None:
    """SciPy's, each axis its dimension; axes that do not count at a point take nothing from the others."""
    sequence = qmc.Sobol(len(BOX), scramble=True, rng=context(0).stage_seed).random(32)
    for (params, _), row in zip(searched("sobol", mixed, 32, wave=5), sequence, strict=True):
        at = dict(zip(BOX, row.tolist(), strict=True))
        assert params["rate"] == pytest.approx(1e-4 ** (1 - at["rate"]), rel=1e-12)
        assert params["share"] == 2 * at["share"] - 1
        assert params["kind"] == "abc"[int(3 * at["kind"])]
        assert params["batch"] == int(5 * at["batch"])
        assert params["units"] == round(0.5 * 401 ** at["units"])
        if "more" in params:
            assert params["more"] == 1 + int(9 * at["more"])


def test_sobol_fills_the_box_evenly() -> None:
    box = {name: FloatDistribution(0, 1) for name in "xyz"}
    spread: dict[str, list[float]] = {"sobol": [], "random": []}
    for name, found in spread.items():
        for seed in range(12):
            trials = searched(name, lambda n, p: complete(0.0), 32, seed=seed, box=box)
            found.append(qmc.discrepancy(np.array([list(p.values()) for p, _ in trials])))
    assert statistics.median(spread["sobol"]) < statistics.median(spread["random"]) / 10
    assert max(spread["sobol"]) < min(spread["random"])


def test_sobol_counts_equally() -> None:
    """2ⁿ points put equally many into 2ᵏ equal parts of each axis."""
    parts = {"kind": CategoricalDistribution(tuple("abcd")), "whole": IntDistribution(-3, 4)}
    trials = [p for p, _ in searched("sobol", lambda n, p: complete(0.0), 64, box=parts)]
    assert [[p["kind"] for p in trials].count(kind) for kind in "abcd"] == [16] * 4
    assert [[p["whole"] for p in trials].count(whole) for whole in range(-3, 5)] == [8] * 8


# --- what the others are there for

SCALES: Box = {
    "rate": FloatDistribution(1e-5, 1, log=True),
    "share": FloatDistribution(-2, 6),
    "units": IntDistribution(16, 1024, log=True),
    "count": IntDistribution(0, 100),
}
OPTIMUM = {"rate": 0.3, "share": 0.7, "units": 0.55, "count": 0.25}  # in the unit cube
WEIGHTS = {"rate": 30.0, "share": 3.0, "units": 10.0, "count": 1.0}


def bowl(params: Params) -> float:
    """A quadratic in the axes' own scales."""
    places: dict[str, Callable[[float], float]] = {
        "rate": lambda value: math.log(value / 1e-5) / math.log(1e5),
        "share": lambda value: (value + 2) / 8,
        "units": lambda value: math.log(value / 16) / math.log(64),
        "count": lambda value: value / 100,
    }
    return sum(WEIGHTS[key] * (places[key](value) - OPTIMUM[key]) ** 2 for key, value in params.items())


def best(name: str, trials: int, seeds: Sequence[int], box: Box, **others: Any) -> float:
    """The median over seeds of a stage's best."""

    def of(seed: int) -> float:
        done = searched(name, lambda n, p: complete(bowl(p)), trials, seed=seed, box=box, **others)
        return min(bowl(p) for p, _ in done)

    return statistics.median(map(of, seeds))


@pytest.mark.parametrize(
    ("name", "axes", "trials", "wave", "seeds", "times"),
    [
        pytest.param("tpe", 4, 64, 8, range(5), 2, id="tpe"),
        pytest.param("gp", 2, 20, 2, range(3), 3, id="gp", marks=members("gp")[0].marks),
        pytest.param("cmaes", 4, 144, 8, range(5), 4, id="cmaes"),
        pytest.param("cmaes", 4, 99, 3, range(5), 4, id="cmaes, population above wave", marks=pytest.mark.soak),
        pytest.param("cmaes", 4, 144, 20, range(5), 2, id="cmaes, wave above population", marks=pytest.mark.soak),
    ],
)
def test_better_than_random(name: str, axes: int, trials: int, wave: int, seeds: range, times: float) -> None:
    box = dict(list(SCALES.items())[:axes])
    found, chance = best(name, trials, seeds, box, wave=wave), best("random", trials, range(15), box, wave=32)
    print(f"{name}: {found:.2e}, random {chance:.2e}, {chance / found:.1f} times")
    assert found * times < chance


def test_cmaes_begins_at_the_best_known() -> None:
    """Of earlier stages, whichever way is better, and closer around it."""
    close = {"rate": 10**-3.5, "share": 3.6, "units": 158, "count": 25}
    others = [p for p, _ in searched("random", lambda n, p: complete(0.0), 6, box=SCALES)]
    for direction, sign in (("minimize", 1.0), ("maximize", -1.0)):
        known = [frozen(p, complete(sign), SCALES) for p in others] + [frozen(close, complete(-sign), SCALES)]
        known += [frozen(others[0], (TrialState.PRUNED, None, {}), SCALES)]
        first = searched("cmaes", lambda n, p: complete(0.0), 64, direction=direction, known=known, box=SCALES, wave=64)
        shares = np.array([p["share"] for p, _ in first])
        assert abs(shares.mean() - 3.6) < 0.4 and 0.7 < shares.std() < 1.3
    alone = np.array([p["share"] for p, _ in searched("cmaes", mixed_nothing, 64, box=SCALES, wave=64)])
    assert abs(alone.mean() - 2) < 0.5 and 1.0 < alone.std() < 1.6


def mixed_nothing(number: int, params: Params) -> Outcome:
    return complete(0.0)


ENDS = {("COMPLETE", False), ("PRUNED", True), ("PRUNED", False), ("FAIL", False)}


def test_cmaes_takes_nothing_else_from_earlier_stages() -> None:
    """They were not drawn for its populations."""
    past, best = history(0), min((t for t in history(0) if t.value is not None), key=lambda t: t.value or 0.0)
    assert after(past, "cmaes", context(0, known=32)) == after([best], "cmaes", context(0, known=1))


def test_cmaes_counts_what_has_no_value_as_worst() -> None:
    """Pruned trials by their last report, then diverged and failed ones: as if they had had such values."""

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


def test_cmaes_does_not_learn_from_failures_alone() -> None:
    """A population none of which says anything is passed over, not ranked by number."""
    failed = searched("cmaes", lambda n, p: (TrialState.FAIL, None, {}), 64, box=SCALES, wave=16)
    shares = np.array([p["share"] for p, _ in failed[48:]])
    again = [after([], "cmaes", context(n, wave=16, box=SCALES)) for n in range(48, 64)]
    assert [p for p, _ in failed[48:]] == again and shares.std() > 0.5


def test_cmaes_stays_sound_for_long() -> None:
    """After a thousand trials that went into a corner until they were all the same point."""
    box = {"x": FloatDistribution(0, 1), "y": FloatDistribution(1e-3, 1, log=True), "n": IntDistribution(0, 3)}
    rng = np.random.default_rng(0)
    spread = [(0.97**n * rng.random(2)).tolist() for n in range(1000)]
    past = [frozen({"x": 1 - u, "y": 10 ** (-3 * v), "n": 3}, complete(u + v), box) for u, v in spread]
    params = after(past, "cmaes", context(1000, box=box))
    assert params["x"] > 0.99 and params["y"] > 0.99 and params["n"] == 3


@pytest.mark.parametrize("name", members("gp"))
def test_gp_keeps_away_from_what_diverges(name: str) -> None:
    """Half of the axis has no values; a model that never heard of it would go and look there."""
    box = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}

    def outcome(number: int, params: Params) -> Outcome:
        far = params["x"] > 0.5
        return (TrialState.PRUNED, None, {}) if far else complete(1 - params["x"] + (params["y"] - 0.5) ** 2)

    done = searched(name, outcome, 24, box=box, wave=5)
    assert sum(p["x"] > 0.6 for p, _ in done[15:]) <= 3


@pytest.mark.parametrize("name", members("gp"))
def test_gp_draws_the_same_on_any_number_of_threads(name: str) -> None:
    """Sums over many rows depend on how they are split."""
    import torch

    trials = [p for p, _ in searched("random", lambda n, p: complete(0.0), 116, wave=58, box=SCALES)]
    past = [frozen(p, complete(bowl(p)) if n < 100 else None, SCALES) for n, p in enumerate(trials)]
    before, drawn = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            drawn.append(after(past, name, context(116, box=SCALES)))
            assert torch.get_num_threads() == threads, "as it was"
    finally:
        torch.set_num_threads(before)
    assert drawn[0] == drawn[1]


def test_axes_drawn_alone_are_independent() -> None:
    """Neither equal nor dependent on their order."""
    one, other = uniform(1), uniform(1)
    axis = FloatDistribution(0, 1)
    assert one("a", axis) != one("b", axis)
    assert other("b", axis) == one("b", axis) != uniform(2)("b", axis)


def test_units_and_back() -> None:
    for key in ("rate", "share", "units", "batch", "more", "pair"):
        distribution = BOX[key]
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        for step in range(101):
            value = place(distribution, step / 100)
            assert distribution.low <= value <= distribution.high
            assert place(distribution, unit(distribution, value)) == pytest.approx(value, rel=1e-12, abs=1e-15)
        assert (place(distribution, 0.0), place(distribution, 1.0)) == pytest.approx(
            (distribution.low, distribution.high)
        )


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(missing(name) is None for name in SAMPLERS if name != "gp")
    monkeypatch.setattr(samplers, "find_spec", lambda module: None)
    assert missing("gp") == "sampler gp needs torch: pip install 'hpsearch[gp]'"
    assert missing("cmaes") is missing("random") is None
