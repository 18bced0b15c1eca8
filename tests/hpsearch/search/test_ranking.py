"""Ranking: complete and pruned trials are compared at the last epoch that both have reached."""

import math
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.config.spec import Spec
from hpsearch.search.ranking import BestCurves, best_so_far, rank_trials
from hpsearch.storage.records import Trial, ranked
from hpsearch.training.task import TrialState
from tests.hpsearch.search.test_zoom import VALUES, curve, internal_params, numbers, record, zoomed


def ordered(spec: Spec, trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial, _ in rank_trials(spec, trials)]


def test_pruned_trials_among_the_best() -> None:
    """By the last epoch that both have reached: ending early makes no trial worse, continuing none better."""
    spec, _ = zoomed(0.5, 0.0)
    slow = curve(0, [0.9, 0.8, 0.1])
    ahead, between, last = curve(1, [0.5], "pruned"), curve(2, [0.7, 0.65], "pruned"), curve(3, [0.95, 0.9], "pruned")
    fast = curve(4, [0.4, 0.35, 0.3])
    lost = curve(5, [0.01, math.nan], "diverged")
    # Ahead of `ahead` is fast, and of fast slow, by its final value; of slow and between 2 trials, of last 4.
    assert numbers(ordered(spec, [slow, ahead, between, last, fast, lost])) == [1, 4, 0, 2, 3]
    assert numbers(ordered(spec, [slow, last])) == [0, 3]
    assert numbers(ordered(spec, [slow, ahead])) == [1, 0], "0.5 after one epoch against 0.9; later epochs do not count"
    assert numbers(ordered(spec, [between, ahead])) == [1, 2]
    assert numbers(ordered(spec, [slow, fast])) == [0, 4], "complete trials are compared by value"
    stopped = curve(6, [0.6], "complete")
    assert numbers(ordered(spec, [between, stopped])) == [6, 2], "0.6 is carried forward against 0.65"
    assert numbers(ordered(spec, [curve(7, [0.7, 0.55], "pruned"), stopped])) == [7, 6]
    assert numbers(ordered(spec, [curve(8, [math.nan, math.inf], "pruned"), last])) == [3, 8]


def test_curves_of_a_trial_that_trains_on() -> None:
    """A curve is computed once, and again when the trial has a longer one."""
    spec, _ = zoomed(0.5, 0.0)
    curves, paused = BestCurves(spec), curve(0, [0.9, 0.95], "pruned")
    assert curves(paused) == best_so_far(spec, paused) and curves(paused) is curves(paused)
    promoted = curve(0, [0.9, 0.95, 0.2])
    assert curves(promoted) == best_so_far(spec, promoted) == [0.9, 0.9, 0.2]
    others = [curve(1, [0.5], "pruned"), curve(2, [0.6, 0.4])]
    assert rank_trials(spec, [promoted, *others], curves) == rank_trials(spec, [promoted, *others])


CURVES = st.lists(st.one_of(st.sampled_from([0.0, 0.5, math.nan, math.inf]), st.floats(-5, 5)), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(VALUES, CURVES), max_size=10), st.sampled_from(["minimize", "maximize"]))
def test_complete_trials_are_ordered_by_value(rows: list[tuple[float | None, list[float]]], goal: str) -> None:
    """As in `ranked`, whatever their curves."""
    spec, axes = zoomed(0.5, 0.0, goal)
    point = internal_params(0.1, 0.01, 1.0, 8, 1)
    records = [
        record(axes, n, point, value)._replace(history={spec.metric.monitored: losses}, epochs=len(losses))
        for n, (value, losses) in enumerate(rows)
    ]
    assert ordered(spec, records) == ranked(records, spec.metric.sign, ["coarse"])


@settings(max_examples=60, deadline=None)
@given(st.lists(CURVES, min_size=2, max_size=8), st.data())
def test_trials_pruned_at_one_rung_are_ordered_by_their_best_value(
    curves: list[list[float]], data: st.DataObject
) -> None:
    """If all ended at the first epoch, the best one there is first."""
    spec, _ = zoomed(0.5, 0.0)
    length = data.draw(st.integers(1, min(map(len, curves))))
    cut = [[v if math.isfinite(v) else math.inf for v in losses[:length]] for losses in curves]
    records = [curve(n, losses, "pruned") for n, losses in enumerate(cut)]
    assert numbers(ordered(spec, records)) == sorted(range(len(cut)), key=lambda n: min(cut[n]))


def counted(spec: Spec, found: Sequence[Trial]) -> list[int]:
    """Return the number of trials ahead of each, pair by pair; complete ones by value, others at their common epoch."""

    def at(r: Trial, place: int) -> float:
        curve = best_so_far(spec, r)
        return curve[min(place, len(curve) - 1)]

    def ahead(a: Trial, b: Trial) -> bool:
        if a.state == b.state == "complete":
            return spec.metric.sign * (a.value or 0.0) < spec.metric.sign * (b.value or 0.0)
        place = min(len(best_so_far(spec, r)) for r in (a, b) if r.state == "pruned") - 1
        return at(a, place) < at(b, place)

    return [sum(ahead(a, b) for a in found) for b in found]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(VALUES, st.sampled_from(["complete", "pruned", "diverged"]), CURVES), max_size=12),
    st.sampled_from(["minimize", "maximize"]),
)
def test_the_order_is_that_of_pairwise_comparisons(
    rows: list[tuple[float | None, TrialState, list[float]]], goal: str
) -> None:
    """For pruned trials of any length, shorter and longer complete ones, and ties."""
    spec, axes = zoomed(0.5, 0.0, goal)
    records = [
        record(axes, n, internal_params(0.1, 0.01, 1.0, 8, 1), value)._replace(
            state=state, history={spec.metric.monitored: losses}, epochs=len(losses)
        )
        for n, (value, state, losses) in enumerate(rows)
    ]
    found = [r for r in records if r.state != "diverged"]
    ahead = counted(spec, found)
    order = sorted(range(len(found)), key=lambda n: ahead[n])
    assert rank_trials(spec, records) == [(found[n], ahead[n]) for n in order]
    assert ordered(spec, records) == [found[n] for n in order]
