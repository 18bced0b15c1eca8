"""Helpers of the sampler tests: stages run as the loop runs them, on a space with every kind of axis."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpsearch.core.seeds import derive
from hpsearch.samplers import SAMPLERS, SamplerContext, missing_extra, suggest_parameter

optuna.logging.set_verbosity(optuna.logging.ERROR)

Params = dict[str, Any]


Box = Mapping[str, BaseDistribution]


Outcome = tuple[TrialState, float | None, dict[int, float]]  # state, value, reports


BOX: Box = {
    "rate": FloatDistribution(1e-4, 1, log=True),
    "kind": CategoricalDistribution(("a", "b", "c")),
    "beta": FloatDistribution(0.001, 0.1, log=True),  # active for kind a
    "share": FloatDistribution(-1, 1),
    "units": IntDistribution(1, 200, log=True),
    "only": CategoricalDistribution(("it",)),
    "batch": IntDistribution(0, 4),
    "more": IntDistribution(1, 9),  # active for batch above 1
    "pair": IntDistribution(7, 8),
    "narrow": IntDistribution(3, 3),
    "point": FloatDistribution(0.5, 0.5),
}


WHEN: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "beta": lambda p: p["kind"] == "a",
    "more": lambda p: p["batch"] > 1,
}
DECIDING = frozenset({"kind", "batch"})


def members(*names: str) -> list[Any]:
    """Return samplers as test parameters; those that cannot be used here are skipped."""
    lacks = {name: missing_extra(name) for name in names}
    return [pytest.param(n, marks=pytest.mark.skipif(lacks[n] is not None, reason=str(lacks[n]))) for n in names]


def context(number: int, *, seed: int = 5, parallel: int = 8, known: int = 0, box: Box = BOX) -> SamplerContext:
    conditional = frozenset(WHEN.keys() & box.keys())
    seeds = derive(seed, "ask"), derive(seed, number, "ask")

    def active_keys(params: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(key for key in box if key not in WHEN or WHEN[key](params))

    return SamplerContext(*seeds, number, parallel, known, box, conditional, DECIDING & box.keys(), active_keys)


def frozen(params: Params, outcome: Outcome | None, box: Box = BOX) -> FrozenTrial:
    """Return a trial as the loop passes it to the sampler; running when there is no outcome."""
    state, value, reports = outcome or (TrialState.RUNNING, None, {})
    distributions = {key: box[key] for key in params}
    return create_trial(
        state=state, value=value, params=params, distributions=distributions, intermediate_values=reports
    )


def asked(memory: optuna.Study, name: str, about: SamplerContext) -> Params:
    """Sample a trial as the loop does."""
    memory.sampler = SAMPLERS[name](about)
    trial = memory.ask({key: d for key, d in about.distributions.items() if key not in about.conditional})
    for key, distribution in about.distributions.items():
        if key in about.conditional and WHEN[key](trial.params):
            suggest_parameter(trial, key, distribution)
    return trial.params


def searched(
    name: str,
    outcome: Callable[[int, Params], Outcome],
    trials: int,
    *,
    seed: int = 5,
    parallel: int = 8,
    direction: str = "minimize",
    known: Sequence[FrozenTrial] = (),
    box: Box = BOX,
) -> list[tuple[Params, Outcome]]:
    """Run a stage in waves: wave k sees the outcomes of waves up to k−2, and wave k−1 as running."""
    done: list[tuple[Params, Outcome]] = []
    for first in range(0, trials, parallel):
        memory = optuna.create_study(direction=direction)
        memory.add_trials(known)
        visible = max(0, first - parallel)
        memory.add_trials([frozen(p, o if n < visible else None, box) for n, (p, o) in enumerate(done)])
        for number in range(first, min(first + parallel, trials)):
            about = context(number, seed=seed, parallel=parallel, known=len(known), box=box)
            done.append((asked(memory, name, about), (TrialState.RUNNING, None, {})))
        done[first:] = [(p, outcome(n, p)) for n, (p, _) in enumerate(done[first:], first)]
    return done


def complete(value: float) -> Outcome:
    return TrialState.COMPLETE, value, {}


def mixed(number: int, params: Params) -> Outcome:
    """Return outcomes of every kind."""
    value = (math.log10(params["rate"]) + 2) ** 2 + params["share"] ** 2 + params["batch"] / 4
    if number % 7 == 3:
        return TrialState.FAIL, None, {}
    if number % 7 == 5 or params["rate"] > 0.5:
        return TrialState.PRUNED, None, {}
    return (TrialState.PRUNED, None, {2: value + 2, 4: value + 1}) if number % 7 == 6 else complete(value)


def turned(number: int, params: Params) -> Outcome:
    """Return the same outcomes with negated values."""
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
    """Return the points of all usable samplers after the same history."""
    usable = [name for name in SAMPLERS if missing_extra(name) is None]
    return repr({name: after(history(), name, context(40)) for name in usable})


SCALES: Box = {
    "rate": FloatDistribution(1e-5, 1, log=True),
    "share": FloatDistribution(-2, 6),
    "units": IntDistribution(16, 1024, log=True),
    "count": IntDistribution(0, 100),
}


OPTIMUM = {"rate": 0.3, "share": 0.7, "units": 0.55, "count": 0.25}  # in the unit cube


WEIGHTS = {"rate": 30.0, "share": 3.0, "units": 10.0, "count": 1.0}


def bowl(params: Params) -> float:
    """Return a quadratic function of the coordinates on the axes' scales."""
    places: dict[str, Callable[[float], float]] = {
        "rate": lambda value: math.log(value / 1e-5) / math.log(1e5),
        "share": lambda value: (value + 2) / 8,
        "units": lambda value: math.log(value / 16) / math.log(64),
        "count": lambda value: value / 100,
    }
    return sum(WEIGHTS[key] * (places[key](value) - OPTIMUM[key]) ** 2 for key, value in params.items())


def best(name: str, trials: int, seeds: Sequence[int], box: Box, **others: Any) -> float:
    """Return the median over seeds of a stage's best value."""

    def of(seed: int) -> float:
        done = searched(name, lambda n, p: complete(bowl(p)), trials, seed=seed, box=box, **others)
        return min(bowl(p) for p, _ in done)

    return statistics.median(map(of, seeds))
