"""Pruning: rungs, shares of brackets, values at rungs; whole studies."""

import functools
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.search.schedule import pruning
from hpsearch.search.schedule.clock import Clock
from hpsearch.search.schedule.pruning import bracket, rungs
from hpsearch.search.schedule.told import arrival
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


# Rungs.


@pytest.mark.parametrize(
    ("content", "epochs", "every", "want"),
    [
        ("promote", 50, 1, (2, 6, 18)),
        ("hyperband", 50, 1, (2, 6, 18)),
        ("promote", 81, 1, (3, 9, 27)),
        ({"kind": "promote", "min_epochs": 1}, 81, 1, (1, 3, 9, 27)),
        ({"kind": "promote", "min_epochs": 2, "reduction": 2}, 8, 1, (2, 4)),
        ({"kind": "promote", "min_epochs": 2, "reduction": 2}, 9, 1, (2, 4, 8)),
        ({"kind": "promote", "min_epochs": 9}, 9, 1, ()),
        ("promote", 50, 2, (2, 6, 18)),
        ("promote", 50, 5, (5, 10, 20)),
        ("promote", 60, 20, (20,)),
        ("promote", 50, 50, ()),
        ("promote", 1, 1, ()),
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
        content = {"kind": "promote", "min_epochs": first, "reduction": reduction}
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
    """In any 49 consecutive trials, and in any 16 as far as possible."""
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
    study = cases.small(stages=stages, pruning={"kind": "promote", "min_epochs": 3}, **{"train.epochs": 9})
    assert [pruning.pruning_of(study, s).kind for s in study.stages] == ["promote", "median", "none", "none"]
    assert [rungs(study, s, 0) for s in study.stages] == [(3,), (2, 4, 6, 8), (), ()]


# Values at rungs.


def test_listed_rungs() -> None:
    """They are rounded up to checked epochs; the last epoch is no rung."""
    study = of({"kind": "promote", "rungs": [6, 12, 25]}, epochs=50)
    assert rungs(study, study.stages[0], 0) == (6, 12, 25)
    study = of({"kind": "hyperband", "rungs": [3, 5, 50]}, epochs=50, check_every=2)
    assert rungs(study, study.stages[0], 0) == (4, 6)[bracket(study, study.stages[0], 0) :]


def test_best_value() -> None:
    """The best so far; +inf for a trial that had diverged or failed, or without a finite value."""
    metric = spec("promote").metric
    curve = record(0, [0.8, 0.9, 0.2, math.nan], "complete")
    assert [pruning.best_value(metric, curve, e, 1) for e in (1, 2, 3, 4, 9)] == [0.8, 0.8, 0.2, 0.2, 0.2]
    lost = [
        record(0, [0.01, math.nan], "diverged"),
        record(1, [0.01, math.inf, math.inf], "diverged"),
        record(2, [], "failed"),
        record(3, [0.5], "failed"),
    ]
    values = [[pruning.best_value(metric, r, e, 1) for e in (1, 2, 3)] for r in lost]
    inf = math.inf
    assert values == [[0.01, inf, inf], [0.01, 0.01, inf], [inf, inf, inf], [0.5, inf, inf]]
    accuracy = record(0, [], "complete")._replace(history={"val/accuracy": [0.5, 0.7]})
    assert pruning.best_value(spec("promote", metric="val/accuracy").metric, accuracy, 2, 1) == -0.7
    assert pruning.best_value(metric, record(0, [0.9, 0.3], every=2), 3, 2) == 0.9, "the second check is at epoch 4"


def test_peers_by_rung() -> None:
    """Trials pruned before a rung are not compared there; those that ended by themselves are."""
    study = spec("promote", epochs=27)
    peers = [
        record(0, [0.5, 0.4, 0.3], "pruned"),
        record(1, [0.9, 0.8], "complete"),
        record(2, [0.7] * 2, "diverged"),
        record(3, [0.6] * 26 + [0.1], "complete"),
    ]
    found = pruning.peer_values(study, study.stages[0], peers)
    assert found == {
        (0, 1): [0.5, 0.9, 0.7, 0.6],
        (0, 3): [0.3, 0.8, math.inf, 0.6],
        (0, 9): [0.8, math.inf, 0.6],
    }
    assert pruning.peer_values(of("none"), of("none").stages[0], peers) == {}
    hyperband = of("hyperband", epochs=50)
    whole = [record(n, [0.1 * n] * 50, "complete") for n in range(40)]
    values = pruning.peer_values(hyperband, hyperband.stages[0], whole)
    brackets = {skipped for skipped, _ in values}
    assert brackets == {0, 1, 2, 3} and all(len(v) < 40 for v in values.values())


def test_rules_of_a_stage() -> None:
    study = cases.small(
        pruning={"kind": "stop", "reduction": 4},
        parallel=7,
        stages=[{"name": "a", "budget": 2.5}, {"name": "b", "trials": 3, "pruning": "none"}],
        **{"train.epochs": 10},
    )
    first, second = (pruning.stage_rules(study, stage, 2) for stage in study.stages)
    assert (first.kind, first.reduction, first.parallel, first.budget, first.least) == ("stop", 4, 7, 25.0, 2)
    assert (second.kind, second.budget, second.epochs) == ("none", math.inf, 10)
    assert first.rungs(0) == (0, (1, 4)) and second.rungs(0) == (0, ())


# Whole studies.

RANDOM = {**cases.FULL, "stages": [{"name": "coarse", "trials": 18, "sampler": "random"}]}
GIVEN = [{"learning_rate": 0.1, "beta": 0.9, "hidden_units": 8, "batch_size": 16}, {"learning_rate": 1e-3}]
STUDIES: dict[str, dict[str, Any]] = {
    "promote": RANDOM,
    "stop": {**RANDOM, "pruning": {"kind": "stop", "min_epochs": 2, "reduction": 2}},
    "hyperband": {**RANDOM, "pruning": {"kind": "hyperband", "min_epochs": 1, "reduction": 2}},
    "median": {**RANDOM, "pruning": {"kind": "median", "min_epochs": 1, "n_startup_trials": 3}},
    "accuracy": {**RANDOM, "metric": {"name": "val/accuracy"}},
    "stage": {
        **RANDOM,
        "pruning": {"kind": "median", "min_epochs": 1},
        "stages": [
            {
                **{"name": "coarse", "trials": 18, "points": GIVEN, "seeds": 3},
                "pruning": {"kind": "promote", "min_epochs": 2, "reduction": 2},
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
    assert states.count("pruned") >= 3 and states.count("complete") >= 4
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


def test_trials_end_where_the_clock_says(pair: Pair) -> None:
    """The clock decides the same from the whole curves, which go on where those of the study were pruned."""
    spec, stage = pair.spec, pair.spec.stages[0]
    clock = Clock(pruning.stage_rules(spec, stage, least=1), stage.trials or 0)
    for _ in clock.advance(lambda job: arrival(spec, pair.whole[job.number], job)):
        pass
    assert {n: e for n, e in clock.reached.items() if clock.states[n] in ("paused", "pruned")} == {
        r.number: r.epochs for r in pair.pruned if r.state == "pruned"
    }


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
