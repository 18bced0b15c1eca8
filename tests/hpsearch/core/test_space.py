"""Parameters and their scales: raw ↔ value, bounds that are exact, what Optuna draws."""

import json
import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpsearch.core.space import Fixed, Range, Space, Values, box_contains, build_space, complement, value_bounds
from hpsearch.core.text import format_value
from hpsearch.samplers import SAMPLERS, SamplerContext, missing_requirement

SHORT = st.decimals(0, "0.9999", places=4).map(float)  # what a person writes
UNIT = st.floats(0, 1)


def context(seed: int, every: Space) -> SamplerContext:
    """The thirteenth trial of a stage over the whole space."""
    return SamplerContext(seed, seed, 12, 4, 0, every.distributions(every.full_box()), frozenset())


@given(SHORT, SHORT)
def test_complement_is_decimal(a: float, b: float) -> None:
    """There and back is the same number, and the order turns round."""
    assert complement(complement(a)) == a
    assert (a < b) == (complement(a) > complement(b))


@pytest.mark.parametrize(("value", "raw"), [(0.999, 0.001), (0.9, 0.1), (0.99, 0.01), (0.5, 0.5), (0, 1.0), (0.7, 0.3)])
def test_one_minus_log_bounds(value: float, raw: float) -> None:
    """Exact, where 1 − 0.999 is 0.0010000000000000009."""
    assert complement(value) == raw
    assert complement(raw) == value


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
    raw = min(
        max(axis.from_scaled(axis.to_scaled(axis.low) * (1 - place) + axis.to_scaled(axis.high) * place), axis.low),
        axis.high,
    )
    value = axis.to_value(raw)
    assert isinstance(value, float)
    assert low <= value <= high
    assert math.isclose(1 - value, raw, rel_tol=1e-9, abs_tol=1e-15)


@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12), UNIT, st.sampled_from(["linear", "log"]))
def test_float_range(a: float, b: float, place: float, scale: str) -> None:
    """The raw coordinate is the value, and a position there and back is the same but for rounding."""
    if a == b:
        return
    low, high = sorted((a, b))
    axis = build_space({"x": Range(min=low, max=high, scale=scale)}).axes[0]
    raw = low + (high - low) * place
    assert axis.to_value(raw) == raw and isinstance(axis.to_value(raw), float)
    assert math.isclose(axis.from_scaled(axis.to_scaled(raw)), raw, rel_tol=1e-12)
    assert (axis.key, axis.low, axis.high, axis.log) == ("x", low, high, scale == "log")


@given(st.integers(1, 1000), st.integers(1, 1000), st.sampled_from(["linear", "log"]), st.integers(0, 2**31))
def test_whole_numbers_stay_whole(low: int, width: int, scale: str, seed: int) -> None:
    """As Optuna draws them and JSON keeps them."""
    one = build_space({"x": Range(type="int", min=low, max=low + width, scale=scale)})
    study = optuna.create_study(sampler=SAMPLERS["random"](context(seed, one)))
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
    assert [axis.to_value(raw) for raw in range(int(axis.low), int(axis.high) + 1)] == values
    distribution = axis.distribution(axis.low, axis.high)
    assert isinstance(distribution, optuna.distributions.IntDistribution)
    assert (distribution.low, distribution.high) == (0, len(values) - 1)


def test_unordered_values_are_names() -> None:
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


PARAMETERS = {
    "rate": Range(min=1e-4, max=1.0, scale="log"),
    "beta": Range(min=0.9, max=0.999, scale="one_minus_log"),
    "share": Range(min=0.2, max=0.6),
    "units": Range(type="int", min=16, max=256, scale="log"),
    "batch": Values(values=(16, 32, 64), ordered=True),
    "kind": Values(values=("a", "b", "c")),
}


def drawn(count: int) -> dict[str, list[object]]:
    """What the random sampler draws, made anew for each trial as the loop does."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    every = build_space(PARAMETERS)
    study, distributions = optuna.create_study(), every.distributions(every.full_box())
    values: dict[str, list[object]] = {name: [] for name in PARAMETERS}
    for seed in range(count):
        study.sampler = SAMPLERS["random"](context(seed, every))
        for name, value in every.point(study.ask(distributions).params).items():
            values[name].append(value)
    return values


def test_random_draws() -> None:
    """Uniform on each scale: β's median is 0.990 where 'reverse log' gives 0.95."""
    count = 1500
    values = drawn(count)
    # The median of n draws that are uniform on a width w scatters by w/(2√n); four times that is allowed.
    slack = 4 * 0.5 / math.sqrt(count)
    beta = np.log10(1 - np.array(values["beta"], float))
    assert abs(np.median(beta) - -2) < slack * 2
    assert abs(np.median(values["beta"]) - 0.990) < 0.001
    assert abs(np.median(np.log10(np.array(values["rate"], float))) - -2) < slack * 4
    assert abs(np.median(np.array(values["share"], float)) - 0.4) < slack * 0.4
    assert abs(np.median(np.log2(np.array(values["units"], float))) - 6) < slack * 4 + 0.05
    for name, parameter in PARAMETERS.items():
        if isinstance(parameter, Range):
            assert all(parameter.min <= v <= parameter.max for v in values[name])  # type: ignore[operator]
        else:
            shares = [values[name].count(v) / count for v in parameter.values]
            assert sum(shares) == 1 and max(shares) - min(shares) < 0.1


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_repeat_by_seed(name: str) -> None:
    """The same seed and history give the same point, another seed another one; seeds have 64 bits."""
    if lack := missing_requirement(name):
        pytest.skip(lack)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    every = build_space(PARAMETERS)
    distributions = every.distributions(every.full_box())

    def asked(seed: int) -> dict[str, object]:
        study = optuna.create_study(sampler=SAMPLERS["random"](context(0, every)))
        for trial in range(12):
            study.tell(study.ask(distributions), trial % 5)
        study.sampler = SAMPLERS[name](context(seed, every))
        return study.ask(distributions).params

    assert asked(2**64 - 1) == asked(2**64 - 1)
    assert asked(1) != asked(2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.9387123, "0.9387"), (0.9777, "0.9777"), (0.9943, "0.9943"), (0.9951234, "0.9951"), (0.999, "0.999")),
        *((0.9995, "0.9995"), (0.99923456, "0.99923"), (0.99999, "0.99999"), (0.99995678, "0.999957")),
        *((1 - 2**-53, "0.99999999999999989"), (1.0, "1"), (1.00001, "1"), (-0.99999, "-1"), (0.0, "0")),
        *((1e-7, "1e-07"), (123456.0, "1.235e+05"), (math.nan, "nan"), (math.inf, "inf")),
        *((12345678, "12345678"), (True, "True"), ("adam", "adam")),
    ],
)
def test_number(value: float | str, text: str) -> None:
    """What is shown of a β near 1 is 1 − β."""
    assert format_value(value) == text


@given(st.floats(0.9, 1, exclude_max=True), st.floats(0.9, 1, exclude_max=True))
def test_number_stays_in_its_range(a: float, b: float) -> None:
    """Whoever reads it finds it on the same side, and at least two digits of 1 − value right."""
    assert (float(format_value(a)) <= float(format_value(b))) >= (a <= b) and float(format_value(a)) < 1
    assert complement(float(format_value(a))) == pytest.approx(complement(a), rel=0.051)
