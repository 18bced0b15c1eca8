"""The tree-structured Parzen estimator."""

import warnings

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState
from sampler_cases import SCALES, Box, Params, after, asked, bowl, complete, context, frozen, searched

from hpsearch.samplers import SAMPLERS, suggest_parameter
from hpsearch.samplers.base import SEED_LIMIT, SamplerContext
from hpsearch.samplers.tpe import MAX_BRANCH, MIN_BRANCH

UNIT = FloatDistribution(0, 1)
SWITCH: Box = {"kind": CategoricalDistribution(("a", "b")), "x": UNIT, "y": UNIT, "z": UNIT}
WITH_A = frozenset({"kind", "x", "y"})  # y is active for kind a, z for kind b


def ridge(params: Params) -> float:
    """Return a value that is good where x and y are equal, and x is 0.8."""
    if params["kind"] == "b":
        return 1 + float(params["z"])
    return float(10 * (params["x"] - params["y"]) ** 2 + (params["x"] - 0.8) ** 2)


def switched(past: list[FrozenTrial], number: int, *, conditional: bool = True) -> Params:
    """Sample a trial; without `conditional`, y and z are drawn alone after the others."""
    active = {"a": WITH_A, "b": frozenset({"kind", "x", "z"})}
    about = context(number, box=SWITCH)._replace(deciding=frozenset({"kind"}), active_keys=lambda p: active[p["kind"]])
    memory = optuna.create_study()
    memory.add_trials(past)
    memory.sampler = SAMPLERS["tpe"](about._replace(conditional=frozenset("yz" if conditional else "")))
    trial = memory.ask({"kind": SWITCH["kind"], "x": UNIT})
    key = "y" if trial.params["kind"] == "a" else "z"
    suggest_parameter(trial, key, UNIT)
    return trial.params


def of_random(count: int, seed: int = 0) -> list[FrozenTrial]:
    """Return random trials of both kinds with their values."""
    rng = np.random.default_rng(seed)
    rows = [(*u, "ab"[n % 2]) for n, u in enumerate(rng.random((count, 2)).tolist())]
    points = [{"kind": kind, "x": x, "y" if kind == "a" else "z": other} for x, other, kind in rows]
    return [frozen(p, complete(ridge(p)), SWITCH) for p in points]


def known(count: int, *, best_first: bool) -> list[FrozenTrial]:
    """Return finished trials of earlier stages at the same points, with values in one of two orders."""
    points = [params for params, _ in searched("random", lambda n, p: complete(0.0), count)]
    return [frozen(p, complete(float(n if best_first else -n))) for n, p in enumerate(points)]


def proposals(trials: list[FrozenTrial], number: int = 0) -> dict[str, object]:
    memory = optuna.create_study()
    memory.add_trials(trials)
    return asked(memory, "tpe", context(number, known=len(trials)))


def test_random_until_ten_trials_have_finished() -> None:
    """Values have no effect before, and an effect from then on; trials of earlier stages count."""
    assert proposals(known(9, best_first=True)) == proposals(known(9, best_first=False)) == proposals([])
    assert proposals(known(10, best_first=True)) != proposals(known(10, best_first=False))


def test_seed_of_the_trial() -> None:
    trials = known(12, best_first=True)
    assert proposals(trials) == proposals(trials) != proposals(trials, number=1)


def test_a_conditional_axis_is_sampled_jointly() -> None:
    """On a ridge over an axis and a conditional one, points are better than if the conditional axis is drawn alone."""
    past = of_random(120)
    joint, alone = (
        [ridge(switched(past, n, conditional=conditional)) for n in range(120, 136)] for conditional in (True, False)
    )
    print(np.median(joint), np.median(alone))
    assert np.median(joint) < 0.5 * np.median(alone)
    assert [ridge(switched(past, n)) for n in range(120, 125)] == joint[:5], "the same points again"


def test_few_trials_of_a_branch() -> None:
    """From `MIN_BRANCH` finished trials with the same active axes on, other trials have no effect on its points."""
    few, enough = (of_random(2 * (MIN_BRANCH - 1 + more)) for more in (0, 1))

    def of_kind_a(past: list[FrozenTrial], to: float | None = None) -> list[bool]:
        others = [t for t in past if t.params["kind"] == "b"]
        changed = [frozen({**t.params, "x": to or 1 - t.params["x"]}, complete(t.value or 0.0), SWITCH) for t in others]
        kept = [t for t in past if t.params["kind"] == "a"]
        pairs = [(switched([*others, *kept], n), switched([*changed, *kept], n)) for n in range(200, 216)]
        return [one["x"] == other["x"] for one, other in pairs if one["kind"] == other["kind"] == "a"]

    assert not all(of_kind_a(few, to=0.8))
    assert len(of_kind_a(enough)) > 3 and all(of_kind_a(enough))
    failed = [frozen(t.params, (TrialState.FAIL, None, {}), SWITCH) for t in enough[-2:]]
    assert not all(of_kind_a([*enough[:-2], *failed], to=0.8)), "failed trials do not count"


def test_many_trials_of_a_branch() -> None:
    """TPE sees the best trials of a large branch, and the newest of the others."""
    past = of_random(2 * MAX_BRANCH + 60)
    order = sorted((n for n, t in enumerate(past) if t.params["kind"] == "a"), key=lambda n: past[n].value or 0.0)
    old = sorted(order[MAX_BRANCH // 2 :])[:20]
    changed = [
        frozen({**t.params, "y": 0.0}, complete(t.value or 0.0), SWITCH) if n in old else t for n, t in enumerate(past)
    ]
    assert [switched(past, n) for n in range(500, 505)] == [switched(changed, n) for n in range(500, 505)]


def test_without_conditional_axes_it_is_the_sampler_of_optuna() -> None:
    past = [
        frozen(p, complete(bowl(p)), SCALES) for p, _ in searched("random", lambda n, p: complete(0.0), 40, box=SCALES)
    ]
    about: SamplerContext = context(40, box=SCALES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna 4
        sampler = TPESampler(seed=about.seed % SEED_LIMIT, n_startup_trials=10, multivariate=True, constant_liar=True)
    memory = optuna.create_study(sampler=sampler)
    memory.add_trials(past)
    assert memory.ask(dict(SCALES)).params == after(past, "tpe", about)
