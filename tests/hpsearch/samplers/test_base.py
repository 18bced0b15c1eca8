"""The sampler contract, for every sampler in the registry, and the functions that samplers share."""

import math
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import optuna
import pytest
import sampler_cases
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sampler_cases import (
    ALL,
    BOX,
    SCALES,
    WHEN,
    Outcome,
    after,
    asked,
    best,
    complete,
    context,
    frozen,
    history,
    members,
    mixed,
    points,
    searched,
    turned,
)

from hpsearch.core.space import build_space
from hpsearch.samplers import SAMPLERS, missing_extra
from hpsearch.samplers.base import from_unit, sample_uniform, to_unit
from tests.hpsearch.samplers.test_random import PARAMETERS
from tests.hpsearch.samplers.test_random import context as context_over


def test_same_points_in_a_fresh_process() -> None:
    """Equal to the bit with another number of threads and another hash seed."""
    few = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-W", "error", "-c", "import sampler_cases; print(sampler_cases.points())"]
    paths = os.pathsep.join(path for path in (str(Path(sampler_cases.__file__).parent), *sys.path) if path)
    fresh = subprocess.run(command, env={**os.environ, **few, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert fresh.returncode == 0, fresh.stderr
    assert fresh.stdout.strip() == points()


@pytest.mark.parametrize("name", ALL)
def test_points_lie_in_the_box(name: str) -> None:
    """Values lie in the box and have the types that JSON keeps; inactive axes have no value."""
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
    assert len({repr(params) for params, _ in trials}) == len(trials), "another number gives another point"
    assert {params["kind"] for params, _ in trials} == {"a", "b", "c"}
    assert {params["pair"] for params, _ in trials} == {7, 8}
    for key in WHEN:
        drawn = [params[key] for params, _ in trials if key in params]
        assert len(set(drawn)) >= min(len(drawn), 3), key


@pytest.mark.parametrize("name", ALL)
def test_maximizing_is_minimizing_negated_values(name: str) -> None:
    trials = 18 if name == "gp" else 32
    ups = searched(name, turned, trials, parallel=4, direction="maximize")
    assert [p for p, _ in ups] == [p for p, _ in searched(name, mixed, trials, parallel=4)]


@pytest.mark.parametrize("name", ALL)
def test_later_outcomes_of_running_trials_have_no_effect(name: str) -> None:
    """Reports, times and attributes of trials that count as running have no effect."""
    other = history()
    for t in other:
        t.datetime_start = datetime(2030, 1, 1)
        if t.state == TrialState.RUNNING:
            t.intermediate_values, t.user_attrs = {1: -1e6}, {"state": "diverged"}
        else:
            t.datetime_complete = datetime(2031, 1, 1)
    assert after(other, name, context(40)) == after(history(), name, context(40))


@pytest.mark.parametrize("name", ["random", "sobol", "cmaes"])
def test_running_trials_are_ignored(name: str) -> None:
    """By samplers that do not avoid running points; CMA-ES does not fill a population with them."""
    past = history()[:28]
    running = [frozen(t.params, None) for t in history()[28:]]
    assert after([*past, *running], name, context(40)) == after(past, name, context(40))


@pytest.mark.parametrize("name", members("tpe", "forest", "gp", "cmaes"))
def test_outcomes_matter(name: str) -> None:
    """Samplers with a model use the outcomes; the tests above would pass if they did not."""
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
def test_outcomes_without_information(name: str, outcome: Outcome) -> None:
    params = [p for p, _ in searched("random", mixed, 24)]
    drawn = [after([frozen(p, outcome) for p in params], name, context(24 + n)) for n in range(2)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("name", ALL)
def test_enqueued_points_are_kept(name: str) -> None:
    """Enqueued values are kept, and the other parameters are sampled."""
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


@pytest.mark.parametrize(
    ("name", "axes", "trials", "parallel", "seeds", "times"),
    [
        pytest.param("tpe", 4, 64, 8, range(5), 2, id="tpe"),
        pytest.param("forest", 2, 40, 4, range(3), 2, id="forest"),
        pytest.param("gp", 2, 20, 2, range(3), 3, id="gp", marks=members("gp")[0].marks),
        pytest.param("cmaes", 4, 144, 8, range(5), 4, id="cmaes"),
        pytest.param("cmaes", 4, 99, 3, range(5), 4, id="cmaes, population above parallel", marks=pytest.mark.soak),
        pytest.param("cmaes", 4, 144, 20, range(5), 2, id="cmaes, parallel above population", marks=pytest.mark.soak),
    ],
)
def test_better_than_random(name: str, axes: int, trials: int, parallel: int, seeds: range, times: float) -> None:
    box = dict(list(SCALES.items())[:axes])
    found, chance = (
        best(name, trials, seeds, box, parallel=parallel),
        best("random", trials, range(15), box, parallel=32),
    )
    print(f"{name}: {found:.2e}, random {chance:.2e}, {chance / found:.1f} times")
    assert found * times < chance


def test_uniform_samples_are_independent() -> None:
    """Axes differ, and their order has no effect."""
    one, other = sample_uniform(1), sample_uniform(1)
    axis = FloatDistribution(0, 1)
    assert one("a", axis) != one("b", axis)
    assert other("b", axis) == one("b", axis) != sample_uniform(2)("b", axis)


def test_unit_interval_round_trip() -> None:
    for key in ("rate", "share", "units", "batch", "more", "pair"):
        distribution = BOX[key]
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        for step in range(101):
            value = from_unit(distribution, step / 100)
            assert distribution.low <= value <= distribution.high
            assert from_unit(distribution, to_unit(distribution, value)) == pytest.approx(value, rel=1e-12, abs=1e-15)
        assert (from_unit(distribution, 0.0), from_unit(distribution, 1.0)) == pytest.approx(
            (distribution.low, distribution.high)
        )


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_repeat_by_seed(name: str) -> None:
    """The same seed and history give the same point, another seed another point; seeds have 64 bits."""
    if lack := missing_extra(name):
        pytest.skip(lack)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    every = build_space(PARAMETERS)
    distributions = every.distributions(every.full_box())

    def asked(seed: int) -> dict[str, object]:
        study = optuna.create_study(sampler=SAMPLERS["random"](context_over(0, every)))
        for trial in range(12):
            study.tell(study.ask(distributions), trial % 5)
        study.sampler = SAMPLERS[name](context_over(seed, every))
        return study.ask(distributions).params

    assert asked(2**64 - 1) == asked(2**64 - 1)
    assert asked(1) != asked(2)


def test_bounds_that_differ_by_a_bit() -> None:
    """As after a zoom on one point without a margin: their logarithms may be equal."""
    low = 0.005
    high = math.nextafter(low, 1.0)
    distribution = FloatDistribution(low, high, log=True)
    assert not distribution.single() and math.log(low) == math.log(high)
    assert to_unit(distribution, low) == to_unit(distribution, high) == 0.5
    assert low <= from_unit(distribution, 0.5) <= high
