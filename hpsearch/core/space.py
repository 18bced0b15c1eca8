"""Parameters and their scales: what a study searches, as Optuna sees it and as a person does.

An axis has a *raw* coordinate, which Optuna samples and the database holds, and a *value*, which everybody else sees:

    scale            raw                        value
    linear, log      the value                  raw
    one_minus_log    1 − value, on a log scale  1 − raw          (β: log-uniform in 1−β)
    ordered values   an index                   values[raw]
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self, final

from pydantic import Field, model_validator

from hpsearch.core.schema import Listed, Number, Section

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LARGEST = 1e300
Value = bool | int | float | str
Raw = int | float | str | bool
Point = dict[str, Value]  # parameter → value: what a trial trains with and what everybody sees


@final
class Range(Section):
    """`{min: 1e-4, max: 1.0, scale: log}`; `type: int` for whole numbers."""

    type: Literal["float", "int"] = "float"
    min: Number
    max: Number
    scale: Literal["linear", "log", "one_minus_log"] = "linear"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if max(abs(self.min), abs(self.max)) > LARGEST:
            raise ValueError(f"min and max must lie within ±{LARGEST:g}")
        got = f"got min={self.min:g}, max={self.max:g}"
        if not self.min < self.max:
            raise ValueError(f"min must be below max, {got}")
        if self.scale == "log" and not self.min > 0:
            raise ValueError(f"a log scale needs min above 0, {got}")
        if self.scale == "one_minus_log" and not self.max < 1:
            raise ValueError(f"one_minus_log needs max below 1, because it is logarithmic in 1 − value, {got}")
        if self.type == "int" and self.scale == "one_minus_log":
            raise ValueError("whole numbers cannot have the scale one_minus_log; choose linear or log")
        if self.type == "int" and not (float(self.min).is_integer() and float(self.max).is_integer()):
            raise ValueError(f"min and max of an int must be whole numbers, {got}")
        return self


@final
class Values(Section):
    """`{values: [16, 32, 64], ordered: true}`; without `ordered` they are names without neighbors, and never zoomed."""

    values: Annotated[tuple[bool | int | float | str, ...], Listed, Field(min_length=1)]
    ordered: bool = False

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"values must differ, got {list(self.values)}")
        if self.ordered and (
            any(isinstance(v, str | bool) for v in self.values) or list(self.values) != sorted(self.values)
        ):
            raise ValueError(f"ordered values must be numbers that go up, got {list(self.values)}")
        return self


@final
class Fixed(Section):
    """`{value: 1e-4}`, or the bare value: known by a parameter's name, but not searched."""

    value: bool | int | float | str


Parameter = Range | Values | Fixed


class Clause(NamedTuple):
    """Something that must hold of another parameter: at least a number, or one of some values."""

    parameter: str
    least: int | None = None
    among: tuple[Value, ...] = ()

    def holds(self, point: Point) -> bool:
        """A parameter that does not count at the point fulfills nothing."""
        value = point.get(self.parameter)
        if self.least is None:
            return value in self.among
        return value is not None and not isinstance(value, str) and value >= self.least


Condition = tuple[Clause, ...]  # all of them


@final
@dataclass(frozen=True)
class Axis:
    """One searched parameter. Bounds are inclusive and in raw coordinates.

    Attributes:
        name: the parameter's.
        key: what Optuna calls it: `one_minus_beta` and `batch_size_index` say what the raw coordinate is.
        choices: of ordered and unordered values.
        zoomable: it has neighbors, so that a narrower box means something.
        when: it counts at points where any of these holds; always when there are none.
    """

    name: str
    key: str
    low: float
    high: float
    whole: bool = False
    log: bool = False
    complement: bool = False
    choices: tuple[Value, ...] = ()
    zoomable: bool = True
    when: tuple[Condition, ...] = ()

    def counts(self, point: Point) -> bool:
        """Whether anything at the point needs it: the units of a layer that is absent are not sampled."""
        return not self.when or any(all(clause.holds(point) for clause in condition) for condition in self.when)

    def value(self, raw: Raw) -> Value:
        """Raw → what people see.

        Raises:
            ValueError: it is no raw coordinate of the axis.
        """
        if not self.zoomable:
            return raw
        if isinstance(raw, str) or (self.choices and not 0 <= raw < len(self.choices)):
            raise ValueError(f"{self.key} cannot be {raw!r}")
        if self.choices:
            return self.choices[int(raw)]
        if self.complement:
            return complement(raw)
        return int(raw) if self.whole else float(raw)

    def raw_of(self, value: Value) -> Raw:
        """The inverse of `value`; of choices the one that equals it.

        Raises:
            ValueError: it is not on the axis.
        """
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"must be one of {', '.join(map(str, self.choices))}, got {value}")
            return self.choices.index(value) if self.zoomable else value
        if isinstance(value, str | bool) or (self.whole and not isinstance(value, int)):
            raise ValueError(f"must be a {'whole ' if self.whole else ''}number, got {value!r}")
        raw = complement(value) if self.complement else value
        if not self.low <= raw <= self.high:
            low, high = bounds(self, {self.key: (self.low, self.high)})
            raise ValueError(f"must lie in its range {low} … {high}, got {value}")
        return raw if self.whole else float(raw)

    def position(self, raw: Raw) -> float:
        """Raw → where it stands on the axis' own scale, on which it was sampled uniformly."""
        return math.log(float(raw)) if self.log else float(raw)

    def raw(self, position: float) -> float:
        """The inverse of `position`."""
        return math.exp(position) if self.log else position

    def distribution(self, low: float, high: float) -> "BaseDistribution":
        """For Optuna, between two raw bounds."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if not self.zoomable:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(low), int(high), log=self.log)
        return FloatDistribution(low, high, log=self.log)


@final
@dataclass(frozen=True)
class Space:
    """All axes, and the values of parameters that are not searched."""

    axes: tuple[Axis, ...]
    fixed: Mapping[str, Value]

    def point(self, raws: Mapping[str, Raw]) -> Point:
        """Optuna's parameters → values by parameter name, fixed ones included; axes that do not count have none."""
        return {a.name: a.value(raws[a.key]) for a in self.axes if a.key in raws} | dict(self.fixed)

    def whole(self) -> "Box":
        """The whole range of every axis."""
        return {a.key: (a.low, a.high) for a in self.axes}

    def distributions(self, box: "Box") -> dict[str, "BaseDistribution"]:
        """The box for Optuna."""
        return {a.key: a.distribution(*box[a.key]) for a in self.axes}

    def ends(self) -> Iterator[Point]:
        """Points that together hold both ends of every range and every one of values."""
        most = max([2, *(len(a.choices) for a in self.axes)])
        for i in range(most):
            raws: dict[str, Raw] = {}
            for a in self.axes:
                place = min(i, len(a.choices) - 1)
                raws[a.key] = (place if a.zoomable else a.choices[place]) if a.choices else (a.low, a.high)[i % 2]
            yield self.point(raws)


Box = dict[str, tuple[float, float]]  # axis key → raw bounds, inclusive


def space(parameters: Mapping[str, Parameter], conditions: Mapping[str, tuple[Condition, ...]] | None = None) -> Space:
    """The space that a study file's parameters span.

    Args:
        conditions: parameter → when it counts; always when it is not in there.
    """
    when = conditions or {}
    return Space(
        axes=tuple(
            replace(_axis(name, p), when=when.get(name, ()))
            for name, p in parameters.items()
            if not isinstance(p, Fixed)
        ),
        fixed={name: p.value for name, p in parameters.items() if isinstance(p, Fixed)},
    )


def _axis(name: str, parameter: Range | Values) -> Axis:
    if isinstance(parameter, Values):
        last = len(parameter.values) - 1
        if parameter.ordered:
            return Axis(name, f"{name}_index", 0, last, whole=True, choices=parameter.values)
        return Axis(name, name, 0, last, choices=parameter.values, zoomable=False)
    if parameter.scale == "one_minus_log":
        low, high = complement(parameter.max), complement(parameter.min)
        return Axis(name, f"one_minus_{name}", low, high, log=True, complement=True)
    return Axis(name, name, parameter.min, parameter.max, whole=parameter.type == "int", log=parameter.scale == "log")


def complement(value: float) -> float:
    """1 − value in decimal: 1 − 0.999 is 0.001, where binary subtraction gives 0.0010000000000000009."""
    return float(1 - Decimal(repr(float(value))))


def contains(axis: Axis, box: Box, raw: Raw | None) -> bool:
    """Whether a raw coordinate lies in the box; None, of an axis that does not count, lies in any."""
    if raw is None or isinstance(raw, str) or not axis.zoomable:
        return True
    low, high = box[axis.key]
    return low <= raw <= high


def check(axes: Sequence[Axis], box: Box) -> None:
    """Whether a box is one of these axes.

    Raises:
        LookupError, TypeError or ValueError: it is not.
    """
    for axis in axes:
        low, high = box[axis.key]
        bounds(axis, box)
        if not axis.position(low) <= axis.position(high):
            raise ValueError(f"{axis.key} cannot lie between {low} and {high}")


def bounds(axis: Axis, box: Box) -> tuple[Value, Value] | Sequence[Value]:
    """The box on that axis in values, lower first: `(0.9, 0.999)`; all of them for unordered values."""
    if not axis.zoomable:
        return axis.choices
    low, high = (axis.value(raw) for raw in box[axis.key])
    return (high, low) if axis.complement else (low, high)
