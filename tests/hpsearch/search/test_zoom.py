"""Zoom: boxes that narrow on each axis's own scale, and the trials of earlier stages that are reused."""

import math
from collections.abc import Mapping, Sequence
from functools import cache

import pytest
from cases import small
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.config.spec import Spec
from hpsearch.core.space import Box, InternalValue, Space, box_contains, build_space
from hpsearch.search.earlier import reusable_trials
from hpsearch.search.zoom import stage_box, trial_box
from hpsearch.storage.records import Trial, ranked
from hpsearch.training.task import TrialState

PARAMETERS = {
    "learning_rate": {"min": 1e-4, "max": 1.0, "scale": "log"},
    "beta": {"min": 0.9, "max": 0.999, "scale": "one_minus_log"},
    "l2": {"min": 0.0, "max": 10.0},
    "hidden_units": {"type": "int", "min": 1, "max": 1024, "scale": "log"},
    "batch_size": {"values": [8, 16, 32, 64, 128, 256], "ordered": True},
    "activation": {"values": ["relu", "tanh", "sigmoid"]},
}


@cache
def zoomed(keep_top: float, margin: float, goal: str = "minimize") -> tuple[Spec, Space]:
    spec = small(
        parameters=PARAMETERS,
        metric={"name": "val/loss" if goal == "minimize" else "val/accuracy", "goal": goal},
        stages=[
            {"name": "coarse", "trials": 4},
            {"name": "fine", "trials": 4, "zoom": {"keep_top": keep_top, "margin": margin}},
            {"name": "finer", "trials": 4, "zoom": {"keep_top": keep_top, "margin": margin}},
        ],
        **{"model.hidden": [{"units": "hidden_units", "activation": "activation"}]},
    )
    return spec, build_space(spec.parameters)


def record(
    axes: Space, number: int, internal_params: Mapping[str, InternalValue], value: float | None, stage: str = "coarse"
) -> Trial:
    state: TrialState = "diverged" if value is None else "complete"
    return Trial(stage, number, internal_params, axes.point(internal_params), state, value)


def internal_params(
    rate: float, beta: float, l2: float, units: int, batch: int, activation: str = "relu"
) -> dict[str, InternalValue]:
    """Return internal values; `beta` is 1 − β."""
    return {
        "learning_rate": rate,
        "one_minus_beta": beta,
        "l2": l2,
        "hidden_units": units,
        "batch_size_index": batch,
        "activation": activation,
    }


def close(found: tuple[float, float], low: float, high: float) -> bool:
    return math.isclose(found[0], low, rel_tol=1e-9) and math.isclose(found[1], high, rel_tol=1e-9)


def curve(number: int, losses: Sequence[float], state: TrialState = "complete", at: float = 0.1) -> Trial:
    """Return a trial of a learning rate with its curve of losses."""
    _, axes = zoomed(0.5, 0.0)
    point = internal_params(at, 0.01, 1.0, 8, 1)
    best = min(losses) if state in ("complete", "pruned") else None
    return Trial(
        *("coarse", number, point, axes.point(point), state, best, len(losses)), history={"val/loss": list(losses)}
    )


def numbers(records: Sequence[Trial]) -> list[int]:
    return [r.number for r in records]


def test_by_hand() -> None:
    """The best two of eight, with a margin of a tenth of each axis's width."""
    spec, axes = zoomed(0.25, 0.1)
    first = [
        record(axes, 0, internal_params(1e-3, 0.01, 4.0, 32, 2, "tanh"), 0.1),
        record(axes, 1, internal_params(1e-2, 0.02, 5.0, 64, 3, "relu"), 0.2),
        *(record(axes, n, internal_params(1.0, 0.1, 0.0, 1, 0, "sigmoid"), 0.3 + n) for n in range(2, 8)),
    ]
    found = stage_box(spec, axes, 1, [first])
    assert close(found["learning_rate"], 10**-3.4, 10**-1.6)  # 4 decades, so 0.4 of them
    assert close(found["one_minus_beta"], 10**-2.2, 0.02 * 10**0.2)  # 2 decades
    assert close(found["l2"], 3.0, 6.0)
    assert found["hidden_units"] == (16, 128)  # 10 octaves, so one
    assert found["batch_size_index"] == (2, 3)  # half a step is none
    assert found["activation"] == (0, 2)  # never zoomed


def test_cut_to_the_whole_range() -> None:
    """The end of a range is that of the study file, to the bit."""
    spec, axes = zoomed(0.5, 0.3)
    first = [
        record(axes, 0, internal_params(1e-4, 0.001, 0.0, 1, 0), 0.1),
        record(axes, 1, internal_params(1.0, 0.1, 10.0, 1024, 5), 0.2),
        record(axes, 2, internal_params(0.5, 0.05, 5.0, 30, 3), 0.9),
    ]
    assert stage_box(spec, axes, 1, [first]) == axes.full_box()


def test_first_stage_and_no_complete_trial() -> None:
    spec, axes = zoomed(0.5, 0.3)
    assert stage_box(spec, axes, 0, []) == axes.full_box()
    lost = [record(axes, n, internal_params(0.1, 0.01, 1.0, 8, 1), None) for n in range(4)]
    assert stage_box(spec, axes, 1, [lost]) == axes.full_box()
    assert reusable_trials(axes, axes.full_box(), [lost]) == []


def test_goal_maximize() -> None:
    spec, axes = zoomed(0.01, 0.0, "maximize")
    first = [
        record(axes, n, internal_params(10.0**-n, 0.01, 1.0, 8, 1), value) for n, value in enumerate([0.2, 0.9, 0.5])
    ]
    assert close(stage_box(spec, axes, 1, [first])["learning_rate"], 0.1, 0.1)


def test_zooms_of_consecutive_stages() -> None:
    """The third zooms within the box of the second, on the trials of both that lie in it."""
    spec, axes = zoomed(0.5, 0.0)
    first = [
        record(axes, 0, internal_params(1e-3, 0.01, 2.0, 8, 1), 0.1),
        record(axes, 1, internal_params(1e-1, 0.01, 6.0, 8, 1), 0.2),
        record(axes, 2, internal_params(1e-2, 0.01, 9.0, 8, 1), 0.3),
        record(axes, 3, internal_params(1e-2, 0.01, 9.0, 8, 1), 0.4),
    ]
    second = [
        record(axes, 0, internal_params(1e-2, 0.01, 4.0, 8, 1), 0.05, "fine"),
        record(axes, 1, internal_params(1e-2, 0.01, 5.0, 8, 1), 0.5, "fine"),
    ]
    assert stage_box(spec, axes, 1, [first])["l2"] == (2.0, 6.0)
    assert stage_box(spec, axes, 2, [first, second])["l2"] == (2.0, 4.0)  # the best two of the four inside


def test_ranked() -> None:
    """Ties by stage, then number, in any input order; complete trials only."""
    _, axes = zoomed(0.5, 0)
    point = internal_params(0.1, 0.01, 1.0, 8, 1)
    a, b = record(axes, 3, point, 1.0), record(axes, 1, point, 1.0, "fine")
    c, d = record(axes, 4, point, 1.0), record(axes, 5, point, 0.5)
    lost = record(axes, 0, point, None)
    names = ["coarse", "fine"]
    assert ranked([b, lost, c, a, d], 1, names) == [d, a, c, b]
    assert ranked([c, b, d, a, lost], -1, names) == [a, c, b, d]


ROWS = st.tuples(
    st.floats(1e-4, 1.0), st.floats(0.001, 0.1), st.floats(0.0, 10.0), st.integers(1, 1024), st.integers(0, 5)
)
VALUES = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0]), st.floats(-10, 10))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(ROWS, VALUES), min_size=1, max_size=12),
    st.lists(st.tuples(ROWS, VALUES), max_size=6),
    st.floats(0.01, 1.0),
    st.one_of(st.just(0.0), st.floats(0, 1)),
    st.sampled_from(["minimize", "maximize"]),
)
def test_boxes(
    first: list[tuple[tuple[float, ...], float | None]],
    second: list[tuple[tuple[float, ...], float | None]],
    keep_top: float,
    margin: float,
    goal: str,
) -> None:
    """Each box is not empty, lies in the one before, and contains the best trials in that one."""
    spec, axes = zoomed(keep_top, margin, goal)
    stages = [
        [record(axes, n, internal_params(*row), value, name) for n, (row, value) in enumerate(rows)]  # type: ignore[arg-type]
        for name, rows in (("coarse", first), ("fine", second))
    ]
    outer = axes.full_box()
    for number in (1, 2):
        earlier = stages[:number]
        found = stage_box(spec, axes, number, earlier)
        assert found["activation"] == (0, 2)
        for axis in axes.axes:
            low, high = found[axis.key]
            assert outer[axis.key][0] <= low <= high <= outer[axis.key][1], axis.key
            if axis.integer:
                assert float(low).is_integer() and float(high).is_integer()
            axis.distribution(low, high)  # Optuna takes it
        best = ranked(
            (r for records in earlier for r in records if inside(axes, outer, r)),
            spec.metric.sign,
            [s.name for s in spec.stages],
        )
        kept = best[: math.ceil(keep_top * len(best))]
        assert all(inside(axes, found, r) for r in kept)
        expected = [r for records in earlier for r in records if r.state == "complete" and inside(axes, found, r)]
        assert reusable_trials(axes, found, earlier) == expected
        outer = found


def inside(axes: Space, area: Box, one: Trial) -> bool:
    return all(
        not axis.zoomable or area[axis.key][0] <= one.internal_params[axis.key] <= area[axis.key][1]  # type: ignore[operator]
        for axis in axes.axes
    )


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-4, 1.0), st.floats(1e-4, 1.0), st.floats(0, 1))
def test_margin_is_of_the_outer_width(a: float, b: float, margin: float) -> None:
    """On the axis's own scale, equally on both sides."""
    spec, axes = zoomed(1.0, margin)
    low, high = sorted((a, b))
    first = [record(axes, n, internal_params(x, 0.01, 1.0, 8, 1), 0.1) for n, x in enumerate((low, high))]
    found = stage_box(spec, axes, 1, [first])["learning_rate"]
    slack = margin * 4  # decades
    assert close(found, max(1e-4, low * 10**-slack), min(1.0, high * 10**slack))


@pytest.mark.parametrize(("raw", "there"), [(0.1, True), (0.05, False), (0.2, True), (0.21, False)])
def test_bounds_are_inside(raw: float, there: bool) -> None:
    _, axes = zoomed(1.0, 0.0)
    axis = axes.axes[0]
    assert box_contains(axis, {axis.key: (0.1, 0.2)}, raw) is there


@pytest.mark.parametrize(("having", "narrowed"), [(1, False), (2, True), (4, True)])
def test_an_axis_that_few_of_the_best_have_is_not_narrowed(having: int, narrowed: bool) -> None:
    """Of the best four trials, this many have a width of 64."""
    spec, axes = zoomed(0.5, 0.0)
    records = []
    for number in range(8):
        point = internal_params(1e-2, 0.02, 5.0, 64, 3)
        if number >= having:
            del point["hidden_units"]
        records.append(record(axes, number, point, 0.1 + number))
    found = stage_box(spec, axes, 1, [records])
    assert found["hidden_units"] == ((64, 64) if narrowed else (1, 1024))
    assert found["batch_size_index"] == (3, 3)
    assert len(reusable_trials(axes, found, [records])) == 8, "a trial without the axis lies in any box"


def test_a_box_includes_pruned_trials() -> None:
    """The best half of six, one of them pruned among better ones; all but diverged trials are reused."""
    spec, axes = zoomed(0.5, 0.0)
    first = [
        curve(0, [0.2, 0.1], at=1e-2),
        curve(1, [0.3], "pruned", at=1e-1),
        curve(2, [0.9], "pruned", at=1.0),
        curve(3, [0.8, 0.7], at=1e-4),
        curve(4, [0.4, 0.35], at=2e-2),
        curve(5, [0.95, 0.9], at=3e-4),
        curve(6, [0.01, math.inf], "diverged", at=5e-2),
    ]
    found = stage_box(spec, axes, 1, [first])
    assert close(found["learning_rate"], 1e-2, 1e-1)
    assert numbers(reusable_trials(axes, found, [first])) == [0, 1, 4]


RENEWED = [
    {"name": "coarse", "trials": 4},
    {"name": "fine", "trials": 40, "zoom": {"keep": 2, "every": 4, "outside": 0.3, "margin": 0.0}},
    {"name": "finer", "trials": 4},
]


def renewed() -> tuple[Spec, Space]:
    spec = small(
        parameters=PARAMETERS,
        stages=RENEWED,
        **{"model.hidden": [{"units": "hidden_units", "activation": "activation"}]},
    )
    return spec, build_space(spec.parameters)


def known(axes: Space, count: int, stage: str = "coarse") -> list[Trial]:
    """Return trials of which the first are the best."""
    return [record(axes, n, internal_params(0.01 * (n + 1), 0.01, 1.0, 8, 1), 0.1 * n, stage) for n in range(count)]


def test_a_renewed_box_stays_for_a_run_of_trials() -> None:
    """The box of the best two is found at every fourth trial; three of ten trials see the whole range."""
    spec, axes = renewed()
    outer, trials, boxes = axes.full_box(), list[Trial](), list[Box]()
    for number in range(40):
        seen = known(axes, 5 + number)[number:]  # the best two differ each time
        box = trial_box(spec, axes, 1, outer, trials, seen)
        boxes.append(box)
        trials.append(Trial("fine", number, {}, {}, "running", box=None if box == outer else box))
    outside = [box == outer for box in boxes]
    assert 4 <= sum(outside) <= 20
    for first in range(0, 40, 4):
        inside = [box for box, out in zip(boxes[first : first + 4], outside[first : first + 4], strict=True) if not out]
        assert all(box == inside[0] for box in inside)
        if inside:
            at = first + next(n for n, out in enumerate(outside[first : first + 4]) if not out)
            assert close(inside[0]["learning_rate"], 0.01 * (at + 1), 0.01 * (at + 2))


def test_a_renewed_box_needs_five_trials() -> None:
    spec, axes = renewed()
    boxes = [trial_box(spec, axes, 1, axes.full_box(), known(axes, n, "fine"), known(axes, 4)) for n in range(9)]
    assert all(box == axes.full_box() for box in boxes)
    boxes = [trial_box(spec, axes, 1, axes.full_box(), known(axes, n, "fine"), known(axes, 5)) for n in range(9)]
    assert any(box != axes.full_box() for box in boxes)


def test_stages_with_and_after_a_renewed_zoom() -> None:
    """Its stage searches the outer box; the next one begins around its best trials."""
    spec, axes = renewed()
    coarse, fine = known(axes, 6), known(axes, 6, "fine")
    assert stage_box(spec, axes, 1, [coarse]) == axes.full_box()
    assert close(stage_box(spec, axes, 2, [coarse, fine])["learning_rate"], 0.01, 0.01)
