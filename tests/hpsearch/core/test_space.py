"""Parameters, their scales, and the space they span."""

import json
import math
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hpsearch.core.space import (
    Clause,
    Fixed,
    InternalValue,
    Range,
    Value,
    Values,
    box_contains,
    build_space,
    check_box,
    value_bounds,
)
from hpsearch.core.text import complement

SHORT = st.decimals(0, "0.9999", places=4).map(float)  # as written in a study file
UNIT = st.floats(0, 1)


@given(SHORT, SHORT)
def test_complement_is_decimal(a: float, b: float) -> None:
    """Applied twice it returns the same number, and it reverses the order."""
    assert complement(complement(a)) == a
    assert (a < b) == (complement(a) > complement(b))


@pytest.mark.parametrize(
    ("value", "internal"), [(0.999, 0.001), (0.9, 0.1), (0.99, 0.01), (0.5, 0.5), (0, 1.0), (0.7, 0.3)]
)
def test_one_minus_log_bounds(value: float, internal: float) -> None:
    """Exact, unlike 1 − 0.999 in binary, which is 0.0010000000000000009."""
    assert complement(value) == internal
    assert complement(internal) == value


def test_one_minus_log() -> None:
    axis = build_space({"beta": Range(min=0.9, max=0.999, scale="one_minus_log")}).axes[0]
    assert (axis.key, axis.low, axis.high, axis.log) == ("one_minus_beta", 0.001, 0.1, True)
    assert (axis.to_value(0.001), axis.to_value(0.1)) == (0.999, 0.9)
    assert value_bounds(axis, {"one_minus_beta": (0.001, 0.1)}) == (0.9, 0.999)


@given(SHORT, SHORT, UNIT)
def test_one_minus_log_values_lie_within(a: float, b: float, place: float) -> None:
    low, high = sorted((a, b))
    if low == high:
        return
    axis = build_space({"beta": Range(min=low, max=high, scale="one_minus_log")}).axes[0]
    internal = min(
        max(axis.from_scaled(axis.to_scaled(axis.low) * (1 - place) + axis.to_scaled(axis.high) * place), axis.low),
        axis.high,
    )
    value = axis.to_value(internal)
    assert isinstance(value, float)
    assert low <= value <= high
    assert math.isclose(1 - value, internal, rel_tol=1e-9, abs_tol=1e-15)


@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12), UNIT, st.sampled_from(["linear", "log"]))
def test_float_range(a: float, b: float, place: float, scale: str) -> None:
    """The internal value is the value; to the scale and back it is the same up to rounding."""
    if a == b:
        return
    low, high = sorted((a, b))
    axis = build_space({"x": Range(min=low, max=high, scale=scale)}).axes[0]
    internal = low + (high - low) * place
    assert axis.to_value(internal) == internal and isinstance(axis.to_value(internal), float)
    assert math.isclose(axis.from_scaled(axis.to_scaled(internal)), internal, rel_tol=1e-12)
    assert (axis.key, axis.low, axis.high, axis.log) == ("x", low, high, scale == "log")


@given(st.integers(1, 1000), st.integers(1, 1000), st.sampled_from(["linear", "log"]), st.integers(0, 2**31))
def test_integers_stay_integers(low: int, width: int, scale: str, seed: int) -> None:
    """Integers as Optuna samples them remain integers in JSON."""
    one = build_space({"x": Range(type="int", min=low, max=low + width, scale=scale)})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    internal_params = study.ask(one.distributions(one.full_box())).params
    value = one.point(json.loads(json.dumps(internal_params)))["x"]
    assert type(value) is int and low <= value <= low + width


def test_int_bounds_written_as_floats() -> None:
    axis = build_space({"x": Range(type="int", min=1e1, max=1e2)}).axes[0]
    assert [type(v) for v in value_bounds(axis, {"x": (axis.low, axis.high)})] == [int, int]


@given(st.lists(st.floats(-1e6, 1e6).filter(lambda x: x != 0), min_size=2, max_size=9, unique=True).map(sorted))
def test_ordered_values_are_indices(values: list[float]) -> None:
    axis = build_space({"x": Values(values=tuple(values), ordered=True)}).axes[0]
    assert axis.key == "x_index" and axis.integer and axis.zoomable
    assert [axis.to_value(internal) for internal in range(int(axis.low), int(axis.high) + 1)] == values
    distribution = axis.distribution(axis.low, axis.high)
    assert isinstance(distribution, optuna.distributions.IntDistribution)
    assert (distribution.low, distribution.high) == (0, len(values) - 1)


def test_unordered_values_are_categories() -> None:
    axis = build_space({"x": Values(values=("relu", "tanh", True, 3))}).axes[0]
    assert axis.key == "x" and not axis.zoomable
    assert axis.distribution(0, 3) == optuna.distributions.CategoricalDistribution(("relu", "tanh", True, 3))
    assert axis.to_value("tanh") == "tanh"
    assert box_contains(axis, {"x": (0, 0)}, 3)


def test_point_holds_fixed_values() -> None:
    both = build_space({"a": Range(min=0, max=1), "b": Fixed(value=1e-4), "c": Fixed(value="relu")})
    assert [axis.name for axis in both.axes] == ["a"]
    assert both.point({"a": 0.5}) == {"a": 0.5, "b": 1e-4, "c": "relu"}
    assert set(both.distributions(both.full_box())) == {"a"}


MIXED = {
    "rate": Range(min=1e-4, max=1.0, scale="log"),
    "beta": Range(min=0.9, max=0.999, scale="one_minus_log"),
    "units": Range(type="int", min=16, max=256),
    "batch": Values(values=(16, 32, 64), ordered=True),
    "kind": Values(values=("a", "b", "c", "d")),
    "l2": Fixed(value=1e-4),
}


def test_extreme_points() -> None:
    """Together they contain both ends of every range and every listed value."""
    points = list(build_space(MIXED).extreme_points())
    assert len(points) == 4
    found = {name: {point[name] for point in points} for name in MIXED}
    assert found == {
        "rate": {1e-4, 1.0},
        "beta": {0.9, 0.999},
        "units": {16, 256},
        "batch": {16, 32, 64},
        "kind": set("abcd"),
        "l2": {1e-4},
    }


def test_internal_round_trip() -> None:
    every = build_space(MIXED)
    for point in every.extreme_points():
        internal = {axis.key: axis.to_internal(point[axis.name]) for axis in every.axes}
        assert every.point(internal) == point
        assert all(box_contains(axis, every.full_box(), internal[axis.key]) for axis in every.axes)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rate", 2.0, r"must lie in its range 0.0001 … 1.0, got 2.0"),
        ("beta", 0.5, r"must lie in its range 0.9 … 0.999, got 0.5"),
        ("rate", "a", r"must be a number, got 'a'"),
        ("rate", True, r"must be a number, got True"),
        ("units", 16.5, r"must be a whole number, got 16.5"),
        ("batch", 48, r"must be one of 16, 32, 64, got 48"),
        ("kind", "e", r"must be one of a, b, c, d, got e"),
    ],
)
def test_values_off_the_axis(name: str, value: Value, message: str) -> None:
    axis = next(axis for axis in build_space(MIXED).axes if axis.name == name)
    with pytest.raises(ValueError, match=message):
        axis.to_internal(value)


@pytest.mark.parametrize(("name", "internal"), [("rate", "a"), ("batch", 3), ("batch", -1), ("beta", "x")])
def test_invalid_internal_values(name: str, internal: InternalValue) -> None:
    axis = next(axis for axis in build_space(MIXED).axes if axis.name == name)
    with pytest.raises(ValueError, match=f"{axis.key} cannot be {internal!r}"):
        axis.to_value(internal)


def test_check_box() -> None:
    every = build_space(MIXED)
    check_box(every.axes, every.full_box())
    check_box(every.axes, {**every.full_box(), "batch_index": (1, 1)})
    for key, bounds in {"rate": (1.0, 0.1), "batch_index": (0, 3), "one_minus_beta": ("a", 0.1)}.items():
        with pytest.raises((ValueError, TypeError)):
            check_box(every.axes, {**every.full_box(), key: bounds})  # type: ignore[dict-item]
    with pytest.raises(LookupError):
        check_box(every.axes, {})


def test_conditions() -> None:
    """An axis is active where all clauses of one of its conditions hold."""
    deep, adam = Clause("depth", minimum=2), Clause("optimizer", one_of=("adam", "adamw"))
    axis = build_space({"x": Range(min=0, max=1)}, {"x": ((deep, adam), (Clause("force", one_of=(True,)),))}).axes[0]
    assert axis.is_active({"depth": 2, "optimizer": "adam"})
    assert not axis.is_active({"depth": 1, "optimizer": "adam"})
    assert not axis.is_active({"depth": 3, "optimizer": "sgd"})
    assert axis.is_active({"depth": 1, "force": True})
    assert not deep.holds({}) and not deep.holds({"depth": "deep"})
    assert build_space({"x": Range(min=0, max=1)}).axes[0].is_active({})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"min": 1, "max": 1}, "min must be below max, got min=1, max=1"),
        ({"min": -1e301, "max": 1}, "min and max must lie within ±1e\\+300"),
        ({"min": 0, "max": 1, "scale": "log"}, "a log scale needs min above 0"),
        ({"min": 0, "max": 1, "scale": "one_minus_log"}, "one_minus_log needs max below 1"),
        ({"min": 0, "max": 0.5, "type": "int"}, "min and max of an int must be whole numbers"),
        ({"min": -3, "max": 0, "type": "int", "scale": "one_minus_log"}, "whole numbers cannot have the scale"),
        ({"min": 1, "max": 5, "guess": 7}, "guess must lie between min and max, got guess=7, min=1, max=5"),
        ({"min": 1, "max": 5, "type": "int", "guess": 2.5}, "guess of an int must be a whole number, got 2.5"),
    ],
)
def test_invalid_ranges(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Range.model_validate(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"values": []}, "at least 1 item"),
        ({"values": [1, 1]}, "values must differ"),
        ({"values": [2, 1], "ordered": True}, "must be numbers in increasing order"),
        ({"values": ["a", "b"], "ordered": True}, "must be numbers in increasing order"),
        ({"values": ["a", "b"], "guess": "c"}, r"guess must be one of the values \['a', 'b'\], got 'c'"),
    ],
)
def test_invalid_values(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Values.model_validate(content)


def test_active_keys() -> None:
    """The value of a deciding axis counts only where that axis is active itself; other values are not needed."""
    whole = {"depth": Range(type="int", min=0, max=3), "kind": Values(values=("a", "b")), "x": Range(min=0, max=1)}
    deep = (Clause("depth", minimum=2),)
    space = build_space(
        {**whole, "force": Fixed(value=True)}, {"kind": (deep,), "x": ((Clause("kind", one_of=("a",)),),)}
    )
    assert space.deciding_keys() == {"depth", "kind"}
    assert space.active_keys({"depth": 2, "kind": "a"}) == {"depth", "kind", "x"}
    assert space.active_keys({"depth": 2, "kind": "b"}) == {"depth", "kind"}
    assert space.active_keys({"depth": 1, "kind": "a"}) == {"depth"}
    forced = build_space({**whole, "force": Fixed(value=True)}, {"x": ((Clause("force", one_of=(True,)),),)})
    assert forced.active_keys({}) == {"depth", "kind", "x"} and not forced.deciding_keys()


def test_guesses() -> None:
    """They become internal values of the axis's own type."""
    space = build_space(
        {
            "rate": Range(min=0, max=1, guess=1),
            "beta": Range(min=0.9, max=0.999, scale="one_minus_log", guess=0.99),
            "units": Range(type="int", min=4, max=64, guess=16.0),
            "batch": Values(values=(8, 16, 32), ordered=True, guess=16.0),
            "kind": Values(values=("a", 1, 2), guess=True),
            "none": Values(values=("a", "b")),
        }
    )
    assert [repr(a.guess) for a in space.axes] == ["1.0", "0.01", "16", "1", "1", "None"]
