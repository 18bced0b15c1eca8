"""Pruning: rungs, shares, ties and ended curves; decisions do not depend on when they are made; whole studies."""

import functools
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cases
import numpy as np
import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hpsearch.config.spec import Spec, Stage
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.search import pruning
from hpsearch.search.pruning import bracket, rungs, trials_to_prune
from hpsearch.storage.records import Trial
from hpsearch.training.task import TrialState


@functools.cache
def spec(
    kind: str, epochs: int = 9, every: int = 1, metric: str = "val/loss", *, reduction: int = 3, first: int = 1
) -> Spec:
    """Return a study with this pruning; its first rung is at `first` epochs."""
    how: dict[str, Any] = {"kind": kind, "min_epochs": first}
    how |= {"n_startup_trials": 1} if kind == "median" else {"reduction": reduction}
    changes: dict[str, Any] = {"stop": {"value": 0.5}} if metric == "epochs" else {}
    train = {"optimizer": "momentum", "epochs": epochs, "check_every": every, **changes}
    return cases.small(train=train, metric={"name": metric}, pruning=how)


def of(content: Any, **train: Any) -> Spec:
    return cases.small(pruning=content, train={"optimizer": "momentum", **train})


def record(number: int, curve: Sequence[float], state: TrialState = "running", every: int = 1) -> Trial:
    """Return a running or ended trial with these losses."""
    return Trial(
        "coarse", number, {}, {}, state, epochs=len(curve) * every, history={"val/loss": list(curve), "train/loss": []}
    )


def ended(study: Spec, rung: int, cohort: Sequence[Trial], peers: Sequence[Trial] = ()) -> set[int]:
    return trials_to_prune(study, study.stages[0], rung, cohort, peers)


# Rungs.


@pytest.mark.parametrize(
    ("content", "epochs", "every", "want"),
    [
        ("successive_halving", 50, 1, (2, 6, 18)),
        ("hyperband", 50, 1, (2, 6, 18)),
        ("successive_halving", 81, 1, (3, 9, 27)),
        ({"kind": "successive_halving", "min_epochs": 1}, 81, 1, (1, 3, 9, 27)),
        ({"kind": "successive_halving", "min_epochs": 2, "reduction": 2}, 8, 1, (2, 4)),
        ({"kind": "successive_halving", "min_epochs": 2, "reduction": 2}, 9, 1, (2, 4, 8)),
        ({"kind": "successive_halving", "min_epochs": 9}, 9, 1, ()),
        ("successive_halving", 50, 2, (2, 6, 18)),
        ("successive_halving", 50, 5, (5, 10, 20)),
        ("successive_halving", 60, 20, (20,)),
        ("successive_halving", 50, 50, ()),
        ("successive_halving", 1, 1, ()),
        ("median", 50, 1, (5, 10, 15, 20, 25, 30, 35, 40, 45)),
        ("median", 4, 1, (1, 2, 3)),
        ({"kind": "median", "min_epochs": 3}, 10, 1, (3, 6, 9)),
        ({"kind": "median", "min_epochs": 3}, 12, 2, (4, 6, 10)),
        ("none", 50, 1, ()),
    ],
)
def test_rungs_by_hand(content: Any, epochs: int, every: int, want: tuple[int, ...]) -> None:
    study = of(content, epochs=epochs, check_every=every)
    skipped = bracket(study, study.stages[0], 7)
    assert rungs(study, study.stages[0], 7) == want[skipped:]
    assert skipped == 0 or content == "hyperband"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 9), st.integers(2, 5), st.sampled_from(["h", "m"]))
def test_rungs(checks: int, every: int, first: int, reduction: int, kind: str) -> None:
    """Increasing checked epochs below the last; with a check every epoch each rung is the one before times η."""
    content: dict[str, Any] = {"kind": "median", "min_epochs": first}
    if kind == "h":
        content = {"kind": "successive_halving", "min_epochs": first, "reduction": reduction}
    study = of(content, epochs=checks * every, check_every=every)
    found = rungs(study, study.stages[0], 0)
    assert all(e % every == 0 and 0 < e < checks * every for e in found)
    assert list(found) == sorted(set(found))
    assert bool(found) == (-(-first // every) < checks)
    if found:
        assert found[0] == -(-first // every) * every
        assert found[-1] * (reduction if kind == "h" else 2) >= checks * every, (
            "one more rung would lie below the last epoch"
        )
    if every == 1 and kind == "h":
        assert all(b == a * reduction for a, b in pairwise(found))


# With s rungs left ⌈(s_max + 1)/(s + 1) · ηˢ⌉ trials: Li et al. 2018, algorithm 1, computed by hand.
SHARES = {
    (50, None): ((2, 6, 18), (27, 12, 6, 4)),
    (81, 1): ((1, 3, 9, 27), (81, 34, 15, 8, 5)),
}


@pytest.mark.parametrize(("epochs", "first"), SHARES)
def test_brackets_have_their_shares(epochs: int, first: int | None) -> None:
    places, shares = SHARES[epochs, first]
    study = of({"kind": "hyperband", **({"min_epochs": first} if first else {})}, epochs=epochs)
    found = [bracket(study, study.stages[0], n) for n in range(100 * sum(shares))]
    for number, skipped in enumerate(found[:200]):
        assert rungs(study, study.stages[0], number) == places[skipped:]
    for skipped, share in enumerate(shares):
        assert abs(found.count(skipped) / 100 - share) < 0.05


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_brackets_have_their_shares_in_any_consecutive_trials(start: int) -> None:
    """In any 49 consecutive trials, and in the 16 of a wave as far as possible."""
    study = _fifty()
    found = [bracket(study, study.stages[0], n) for n in range(start, start + 49)]
    assert all(abs(found.count(b) - share) <= 2 for b, share in enumerate((27, 12, 6, 4))), found
    assert all(abs(found[:16].count(b) - share * 16 / 49) < 1.9 for b, share in enumerate((27, 12, 6, 4))), found


@functools.cache
def _fifty() -> Spec:
    return of("hyperband", epochs=50)


def test_pruning_of_a_stage() -> None:
    """A stage's own pruning replaces that of the study; confirming stages have none."""
    stages = [
        {"name": "a", "trials": 4},
        {"name": "b", "trials": 4, "pruning": {"kind": "median", "min_epochs": 2}},
        {"name": "c", "trials": 4, "pruning": "none"},
        {"name": "d", "top": 2, "seeds": 2},
    ]
    study = cases.small(stages=stages, pruning={"kind": "successive_halving", "min_epochs": 3}, **{"train.epochs": 9})
    assert [pruning.pruning_of(study, s).kind for s in study.stages] == ["successive_halving", "median", "none", "none"]
    assert [rungs(study, s, 0) for s in study.stages] == [(3,), (2, 4, 6, 8), (), ()]


# Trials that are behind, by hand.


def test_a_third_continues() -> None:
    study = spec("successive_halving")
    cohort = [record(n, [v]) for n, v in enumerate([0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.4])]
    assert ended(study, 1, cohort) == {0, 2, 4, 6}  # ⌈7/3⌉ = 3 continue: .1, .2, .3
    assert ended(study, 1, cohort[:4], cohort[4:]) == {0, 2}, "peers are compared, not pruned"


def test_half_continues() -> None:
    study = spec("median")
    cohort = [record(n, [v]) for n, v in enumerate([0.5, 0.1, 0.9, 0.3])]
    assert ended(study, 1, cohort) == {0, 2}
    assert ended(study, 1, [*cohort, record(4, [0.4])]) == {0, 2}, "the median itself is not behind"


def test_median_waits_for_enough_trials() -> None:
    """The default is four trials."""
    study = of({"kind": "median", "min_epochs": 1}, epochs=4)
    cohort = [record(n, [0.1 * n]) for n in range(4)]
    assert ended(study, 1, cohort[:3]) == set()
    assert ended(study, 1, cohort) == {2, 3}
    assert ended(study, 1, cohort[:3], cohort[3:]) == {2}


def test_trials_are_compared_by_their_best_value_so_far() -> None:
    """Neither the value at the rung nor later values count."""
    study = spec("successive_halving")
    cohort = [record(0, [0.1, 0.9, 0.9]), record(1, [0.5, 0.5, 0.5]), record(2, [0.8, 0.8, 0.2, 0.0])]
    assert ended(study, 3, cohort) == {1, 2}
    assert ended(study, 1, cohort) == {1, 2}
    assert ended(study, 3, [*cohort[1:], record(3, [math.nan, math.inf, 0.15])]) == {1, 2}


def test_ended_curves_are_carried_forward() -> None:
    study = spec("successive_halving")
    stopped = record(0, [0.3, 0.1], "complete")
    cohort = [stopped, *(record(n, [0.9] * 8 + [0.2]) for n in range(1, 3))]
    assert ended(study, 9, cohort) == {1, 2}, "behind a trial that stopped early"
    assert ended(study, 9, cohort[1:], [stopped]) == {1, 2}
    assert 0 not in ended(study, 9, [record(0, [0.9], "complete"), *cohort[1:]]), "it has ended by itself"


def test_diverged_and_failed_trials_are_the_worst() -> None:
    study = spec("successive_halving")
    lost = [
        record(0, [0.01, math.nan], "diverged"),
        record(1, [0.01, math.inf, math.inf], "diverged"),
        record(2, [], "failed"),
    ]
    sound = [record(n, [v] * 3) for n, v in ((3, 0.5), (4, 0.6), (5, 0.7))]
    out = ended(study, 3, [*lost, *sound])
    assert {3, 4} & out == set() and 5 in out, "six trials reached the rung or ended before it, so two continue"
    assert ended(study, 3, [*lost[:2], sound[2]]) & {5} == set()
    assert ended(study, 1, lost[:2]) == set(), "before they diverged they were equal"
    values = [pruning.best_value(study.metric, r, e, 1) for r in lost for e in (1, 2, 3)]
    assert values == [0.01, math.inf, math.inf, 0.01, 0.01, math.inf, math.inf, math.inf, math.inf]


def test_trials_pruned_earlier_are_not_compared() -> None:
    """Halving keeps a share of the trials that reached the rung; the median is over all trials."""
    cohort = [record(n, [0.1 * n] * 3) for n in range(1, 4)]
    gone = [record(n, [0.01], "pruned") for n in range(4, 10)]
    assert ended(spec("successive_halving"), 3, cohort, gone) == {2, 3}
    assert ended(spec("median"), 3, cohort, gone) == {1, 2, 3}


@pytest.mark.parametrize("kind", ["successive_halving", "hyperband", "median"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_curves_without_a_finite_value(kind: str, bad: float) -> None:
    """They are behind any curve with one, and equal to each other."""
    study = spec(kind)
    cohort = [record(n, [bad]) for n in range(4)]
    assert ended(study, 1, cohort) == set()
    assert ended(study, 1, [*cohort, *(record(n, [1e30]) for n in range(4, 9))]) == {0, 1, 2, 3}


# Trials that are behind, for any curves.

LOSSES = st.one_of(st.floats(-1e3, 1e3), st.sampled_from([0.0, 0.5, math.nan, math.inf, -math.inf]))
KINDS = st.sampled_from(["successive_halving", "hyperband", "median"])
RUNG = 3


@st.composite
def trials(draw: st.DrawFn, least: int = 1) -> list[Trial]:
    """Draw a cohort of trials that have reached the third epoch or ended, some of them beyond it."""
    found = []
    for number in range(draw(st.integers(least, 12))):
        state: TrialState = draw(st.sampled_from(["running", "running", "complete", "diverged", "failed", "pruned"]))
        shortest = {"running": RUNG, "pruned": 1, "failed": 0}.get(state, 1)
        curve = draw(st.lists(LOSSES, min_size=shortest, max_size=5))
        found.append(record(number, curve, state))
    assume(any(r.state != "pruned" or r.epochs >= RUNG for r in found))
    return found


@settings(max_examples=100, deadline=None)
@given(KINDS, trials(), st.integers(0, 12), st.randoms(use_true_random=False))
def test_behind(kind: str, everyone: list[Trial], cut: int, shuffled: Any) -> None:
    study = spec(kind)
    cohort, peers = everyone[cut:], everyone[:cut]
    out = ended(study, RUNG, cohort, peers)
    value = {r.number: pruning.best_value(study.metric, r, RUNG, 1) for r in everyone}
    with_result = [r for r in everyone if r.epochs >= RUNG or r.state not in ("running", "pruned")]
    assert out <= {r.number for r in cohort if r.epochs >= RUNG}
    assert all(value[n] > min(value[r.number] for r in with_result) for n in out), "the best trial has ended"
    for r in cohort:
        assert r.epochs < RUNG or r.number in out or all(value[n] >= value[r.number] for n in out), (
            "a worse trial continues"
        )
    shuffled.shuffle(cohort)
    shuffled.shuffle(peers)
    assert ended(study, RUNG, cohort, peers) == out


@settings(max_examples=100, deadline=None)
@given(KINDS, trials(2), st.data())
def test_improving_a_survivor_keeps_it(kind: str, everyone: list[Trial], data: st.DataObject) -> None:
    """A survivor also survives if its curve improves, or if another one's gets worse."""
    study = spec(kind)
    out = ended(study, RUNG, everyone)
    alive = [r for r in everyone if r.epochs >= RUNG and r.number not in out]
    assume(alive)
    lucky = data.draw(st.sampled_from(alive))
    down = data.draw(st.floats(0, 1e3))
    better = lucky._replace(history={"val/loss": [v - down for v in lucky.history["val/loss"]]})
    assert lucky.number not in ended(study, RUNG, [better if r is lucky else r for r in everyone])
    other = data.draw(st.sampled_from([r for r in everyone if r is not lucky]))
    worse = other._replace(history={"val/loss": [v + down for v in other.history["val/loss"]]})
    assert lucky.number not in ended(study, RUNG, [worse if r is other else r for r in everyone])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30, unique=True), st.integers(2, 5), st.integers(0, 30), KINDS
)
def test_shares(values: list[float], reduction: int, cut: int, kind: str) -> None:
    """⌈n/η⌉ of n different values continue: the judged trials with fewer than that many ahead."""
    study = spec(kind, reduction=2 if kind == "median" else reduction)
    everyone = [record(n, [v]) for n, v in enumerate(values)]
    whole = ended(study, 1, everyone)
    keep = -(-len(values) // (2 if kind == "median" else reduction))
    assert len(values) - len(whole) == keep
    assert ended(study, 1, everyone[cut:], everyone[:cut]) == {n for n in whole if n >= cut}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=20), KINDS)
def test_ties_stay_together(values: list[float], kind: str) -> None:
    """At least the share continues, together with all trials that tie with one that continues."""
    study = spec(kind)
    out = ended(study, 1, [record(n, [v]) for n, v in enumerate(values)])
    assert len(values) - len(out) >= -(-len(values) // (2 if kind == "median" else 3))
    assert not {values[n] for n in out} & {v for n, v in enumerate(values) if n not in out}


@settings(max_examples=60, deadline=None)
@given(KINDS, trials())
def test_goal_and_metric(kind: str, everyone: list[Trial]) -> None:
    """A rising accuracy corresponds to a falling loss; the metric `epochs` is judged by the loss."""
    out = ended(spec(kind), RUNG, everyone)
    grown = [
        r._replace(history={"val/accuracy": [-v for v in r.history["val/loss"]], "val/loss": []}) for r in everyone
    ]
    assert ended(spec(kind, metric="val/accuracy"), RUNG, grown) == out
    assert ended(spec(kind, metric="epochs"), RUNG, everyone) == out


@settings(max_examples=60, deadline=None)
@given(KINDS, st.lists(st.lists(LOSSES, min_size=3, max_size=3), min_size=1, max_size=9))
def test_checked_every_other_epoch(kind: str, curves: list[list[float]]) -> None:
    """Rung 4 is the second value of the curve."""
    every = [record(n, c, every=2) for n, c in enumerate(curves)]
    want = ended(spec(kind), 2, [record(n, c) for n, c in enumerate(curves)])
    assert ended(spec(kind, epochs=18, every=2, first=2), 4, every) == want


class Fate(NamedTuple):
    """A trial as it would continue without pruning."""

    curve: list[float]
    state: TrialState

    def at(self, number: int, epoch: int) -> Trial:
        """Return the trial when it reaches an epoch; a failed one has its earlier values."""
        if epoch < len(self.curve) or (epoch == len(self.curve) and self.state == "failed"):
            return record(number, self.curve[:epoch])
        return record(number, self.curve, self.state)


FATES = st.builds(
    Fate,
    st.lists(st.floats(0, 1).map(lambda v: round(v, 1)), min_size=1, max_size=9),
    st.sampled_from(["complete", "complete", "diverged", "failed"]),
)


@settings(max_examples=100, deadline=None)
@given(KINDS, st.lists(FATES, min_size=1, max_size=10), st.lists(FATES, max_size=5))
def test_judged_again_later(kind: str, fates: list[Fate], before: list[Fate]) -> None:
    """Also after survivors have continued, stopped, diverged or failed, and the others have ended."""
    study = spec(kind)
    peers = [fate.at(100 + n, 9) for n, fate in enumerate(before)]
    end: dict[int, int] = {}
    judged: dict[int, set[int]] = {}

    def stands(epoch: int) -> list[Trial]:
        return [
            record(n, fate.curve[: end[n]], "pruned") if n in end else fate.at(n, epoch) for n, fate in enumerate(fates)
        ]

    for rung in (1, 3):
        now = stands(rung)
        if not any(r.state == "running" for r in now):
            break
        judged[rung] = ended(study, rung, now, peers)
        end |= {r.number: rung for r in now if r.state == "running" and r.number in judged[rung]}
    for rung, out in judged.items():
        for epoch in range(rung, 10):
            later = [r for r in stands(epoch) if r.state != "failed" or r.epochs <= epoch]
            assert ended(study, rung, later, peers) == out, (rung, epoch)


# Optuna's pruners, where they must agree.


def told(curves: Sequence[Sequence[float]], pruner: optuna.pruners.BasePruner, direction: Any) -> list[bool]:
    """Return whether Optuna would prune each trial, one after another; none is ended."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(pruner=pruner, direction=direction)
    said = []
    for curve in curves:
        trial, ends = study.ask(), False
        for step, value in enumerate(curve, 1):
            trial.report(value, step)
            ends = trial.should_prune()
        study.tell(trial, curve[-1])
        said.append(ends)
    return said


SMOOTH = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(lambda c: sorted(c, reverse=True))


@settings(max_examples=60, deadline=None)
@given(st.lists(SMOOTH, min_size=2, max_size=12).filter(lambda c: len(c) % 2 == 0), st.booleans())
def test_median_agrees_with_optuna(curves: list[list[float]], goes_up: bool) -> None:
    """For an odd number of complete peers, including the trial itself does not change the decision."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=3)
    there = [[-v for v in c] for c in curves] if goes_up else curves
    want = told(there, pruner, "maximize" if goes_up else "minimize")[-1]
    peers = [record(n, c, "complete") for n, c in enumerate(curves[:-1])]
    one = record(len(curves) - 1, curves[-1])
    if goes_up:
        accuracies = [r._replace(history={"val/accuracy": c}) for r, c in zip([*peers, one], there, strict=True)]
        assert bool(ended(spec("median", metric="val/accuracy"), 3, accuracies[-1:], accuracies[:-1])) == want
    else:
        assert bool(ended(spec("median"), 3, [one], peers)) == want


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=18).filter(lambda c: len(c) % 3 == 0), st.booleans())
def test_halving_agrees_with_optuna(values: list[float], goes_up: bool) -> None:
    """If a third is a whole number; Optuna rounds down and lets the first trials continue."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=3)
    sign, direction = (-1, "maximize") if goes_up else (1, "minimize")
    want = told([[sign * v] * 3 for v in values], pruner, direction)[-1]
    everyone = [
        record(n, [v] * 3)._replace(history={"val/loss": [v] * 3, "val/accuracy": [-v] * 3})
        for n, v in enumerate(values)
    ]
    study = spec("successive_halving", metric="val/accuracy" if goes_up else "val/loss")
    assert bool(ended(study, 3, everyone[-1:], everyone[:-1])) == want


# Whole studies.

RANDOM = {**cases.FULL, "stages": [{"name": "coarse", "trials": 18, "sampler": "random"}]}
GIVEN = [{"learning_rate": 0.1, "beta": 0.9, "hidden_units": 8, "batch_size": 16}, {"learning_rate": 1e-3}]
STUDIES: dict[str, dict[str, Any]] = {
    "halving": RANDOM,
    "hyperband": {**RANDOM, "pruning": {"kind": "hyperband", "min_epochs": 1, "reduction": 2}},
    "median": {**RANDOM, "pruning": {"kind": "median", "min_epochs": 1, "n_startup_trials": 3}},
    "accuracy": {**RANDOM, "metric": {"name": "val/accuracy"}},
    "stage": {
        **RANDOM,
        "pruning": {"kind": "median", "min_epochs": 1},
        "stages": [
            {
                **{"name": "coarse", "trials": 18, "points": GIVEN, "seeds": 3},
                "pruning": {"kind": "successive_halving", "min_epochs": 2, "reduction": 2},
            }
        ],
    },
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    small = cases.small()
    return prepare(small.data, small.seed, tmp_path_factory.mktemp("data"))[0]


class Pair(NamedTuple):
    """A study that prunes, and the same study without pruning."""

    spec: Spec
    pruned: list[Trial]
    whole: list[Trial]
    database: Path


@pytest.fixture(scope="module")
def whole_studies() -> dict[str, list[Trial]]:
    """Return studies trained without pruning, by their settings."""
    return {}


@pytest.fixture(scope="module", params=STUDIES)
def pair(
    request: pytest.FixtureRequest,
    dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
    whole_studies: dict[str, list[Trial]],
) -> Pair:
    folder, changes = tmp_path_factory.mktemp("studies"), STUDIES[request.param]
    study = cases.small(**changes)
    free = [{**s, "pruning": "none"} for s in changes["stages"]]
    found = cases.rows(cases.run(study, dataset, folder / "a.db"))
    unpruned = cases.small(**{**changes, "stages": free, "pruning": "none"})
    key = unpruned.model_dump_json()
    if key not in whole_studies:
        whole_studies[key] = cases.rows(cases.run(unpruned, dataset, folder / "b.db"))
    whole = whole_studies[key]
    return Pair(study, [bare(r) for r in found], [bare(r) for r in whole], folder / "a.db")


def bare(one: Trial) -> Trial:
    """Return the trials without test scores."""
    return one._replace(metrics={k: v for k, v in one.metrics.items() if k[:4] not in ("test", "fit/")})


def test_survivors_equal_those_without_pruning(pair: Pair) -> None:
    """Pruned trials end at a rung with their best value so far and a prefix of their curves. Equal to the bit."""
    states = [r.state for r in pair.pruned]
    assert states.count("pruned") >= 4 and states.count("complete") >= 4
    assert "diverged" in states or "accuracy" in pair.spec.metric.name
    for one, whole in zip(pair.pruned, pair.whole, strict=True):
        if one.state != "pruned":
            assert repr(one) == repr(whole), "NaN is NaN here"
            continue
        assert one.internal_params == whole.internal_params
        assert one.epochs in rungs(pair.spec, pair.spec.stages[0], one.number)
        assert one.history == {name: values[: one.epochs] for name, values in whole.history.items()}
        curve = one.history[pair.spec.metric.name]
        assert one.value == (max if pair.spec.metric.sign < 0 else min)(curve)
        assert curve.index(one.value) == one.best_epoch - 1
        assert one.metrics == {name: values[one.best_epoch - 1] for name, values in one.history.items()}


def test_pruned_trials_by_hand(pair: Pair) -> None:
    """From the whole curves: waves in turn, each judged with all waves up to the last but one."""
    stage, wave = pair.spec.stages[0], pair.spec.wave
    end: dict[int, int] = {}
    for first in range(0, stage.trials, wave):
        seen = list(range(max(0, first - wave)))
        for skipped in range(3):
            mine = [n for n in range(first, min(first + wave, stage.trials)) if bracket(pair.spec, stage, n) == skipped]
            like = [n for n in seen if bracket(pair.spec, stage, n) == skipped]
            for rung in rungs(pair.spec, stage, mine[0]) if mine else ():
                end |= dict.fromkeys(_behind(pair, stage, rung, mine, like, end), rung)
    assert end == {r.number: r.epochs for r in pair.pruned if r.state == "pruned"}


def _behind(pair: Pair, stage: Stage, rung: int, mine: list[int], like: list[int], end: dict[int, int]) -> list[int]:
    kind = (stage.pruning or pair.spec.pruning).kind

    def best(number: int) -> float:
        one = pair.whole[number]
        if one.state == "diverged" and one.epochs <= min(rung, end.get(number, rung)):
            return math.inf
        return min(
            pair.spec.metric.sign * v for v in one.history[pair.spec.metric.name][: end.get(number, rung)][:rung]
        )

    there = [n for n in [*like, *mine] if kind == "median" or end.get(n, rung) >= rung]
    judged = [n for n in mine if n not in end and pair.whole[n].epochs > rung]
    values = np.array([best(n) for n in there])
    if kind == "median":
        return [n for n in judged if len(there) >= 3 and best(n) > np.median(values)]
    return [n for n in judged if (values < best(n)).sum() >= len(values) / 2]


def test_optuna_has_the_reports(pair: Pair) -> None:
    """Pruned trials have their values at each rung; diverged ones have no report, which is worst for samplers."""
    name = f"small/{pair.spec.stages[0].name}"
    _, stored = cases.optuna_study(pair.database, name)
    best = max if pair.spec.metric.sign < 0 else min
    for one, r in zip(stored, pair.pruned, strict=True):
        assert one.state.name == {"complete": "COMPLETE"}.get(r.state, "PRUNED")
        assert one.params == r.internal_params
        assert one.user_attrs == ({"state": "diverged"} if r.state == "diverged" else {})
        assert one.value == (r.value if r.state == "complete" else None)
        reached = [e for e in rungs(pair.spec, pair.spec.stages[0], r.number) if e <= r.epochs]
        curve = r.history[pair.spec.metric.name]
        want = {e: best(curve[:e]) for e in reached} if r.state != "diverged" else {}
        assert one.intermediate_values == want
        assert r.state != "pruned" or (max(want) == r.epochs and r.value == want[r.epochs])
