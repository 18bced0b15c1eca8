"""Parameters, their scales, and the space they span.

A searched parameter is an axis. It has a *value*, which study files and reports show, and an *internal value*, which
Optuna samples and the database stores:

    scale            internal value             value
    linear, log      the value                  the internal value
    one_minus_log    1 − value, on a log scale  1 − internal value   (β: log-uniform in 1 − β)
    ordered values   an index                   values[index]
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self, final

from pydantic import Field, model_validator

from hpsearch.core.schema import Listed, Number, StrictModel
from hpsearch.core.text import complement

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MAX_MAGNITUDE = 1e300  # of a range's bounds
Value = bool | int | float | str
InternalValue = int | float | str | bool
Point = dict[str, Value]  # parameter → value
Box = dict[str, tuple[float, float]]  # axis key → bounds as internal values, inclusive


@final
class Range(StrictModel):
    """`{min: 1e-4, max: 1.0, scale: log}`; `type: int` allows integers only."""

    type: Literal["float", "int"] = Field("float", description="`int` for integers only.")
    min: Number = Field(description="Smallest value, inclusive.")
    max: Number = Field(description="Largest value, inclusive.")
    scale: Literal["linear", "log", "one_minus_log"] = Field(
        "linear",
        description="Scale on which values are sampled uniformly and ranges are narrowed; `one_minus_log` is"
        " logarithmic in 1 − value.",
    )
    guess: Number | None = Field(None, description="Where the best value is expected; trials look there first.")

    @model_validator(mode="after")
    def _validated(self) -> Self:
        if max(abs(self.min), abs(self.max)) > MAX_MAGNITUDE:
            raise ValueError(f"min and max must lie within ±{MAX_MAGNITUDE:g}")
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
        if self.guess is not None and not self.min <= self.guess <= self.max:
            raise ValueError(f"guess must lie between min and max, got guess={self.guess:g}, {got[4:]}")
        if self.type == "int" and self.guess is not None and not float(self.guess).is_integer():
            raise ValueError(f"guess of an int must be a whole number, got {self.guess:g}")
        return self


@final
class Values(StrictModel):
    """`{values: [16, 32, 64], ordered: true}`; values that are not `ordered` are categories and are never zoomed."""

    values: Annotated[tuple[bool | int | float | str, ...], Listed, Field(min_length=1)] = Field(
        description="The values to choose from, all different."
    )
    ordered: bool = Field(
        False, description="The values are increasing numbers; samplers and zooms treat them as a range."
    )
    guess: bool | int | float | str | None = Field(
        None, description="The value that is expected to be best; trials look there first."
    )

    @model_validator(mode="after")
    def _validated(self) -> Self:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"values must differ, got {list(self.values)}")
        if self.ordered and (
            any(isinstance(v, str | bool) for v in self.values) or list(self.values) != sorted(self.values)
        ):
            raise ValueError(f"ordered values must be numbers in increasing order, got {list(self.values)}")
        if self.guess is not None and self.guess not in self.values:
            raise ValueError(f"guess must be one of the values {list(self.values)}, got {self.guess!r}")
        return self


@final
class Fixed(StrictModel):
    """`{value: 1e-4}`, or the bare value: a parameter that is not searched."""

    value: bool | int | float | str = Field(description="The value.")


Parameter = Range | Values | Fixed


class Clause(NamedTuple):
    """A requirement on another parameter: at least `minimum`, or, without a minimum, one of `one_of`."""

    parameter: str
    minimum: int | None = None
    one_of: tuple[Value, ...] = ()

    def holds(self, point: Point) -> bool:
        """Return whether the clause holds at a point; a clause on an inactive parameter never holds."""
        value = point.get(self.parameter)
        if self.minimum is None:
            return value in self.one_of
        return value is not None and not isinstance(value, str) and value >= self.minimum


Condition = tuple[Clause, ...]  # holds where all of its clauses hold


@final
@dataclass(frozen=True)
class Axis:
    """One searched parameter. Bounds are inclusive internal values.

    Attributes:
        name: the parameter's name.
        key: its name in Optuna, which describes the internal value: `one_minus_beta`, `batch_size_index`.
        integer: internal values are integers.
        log: internal values are sampled on a log scale.
        complement: the value is 1 − internal value.
        choices: the values of a parameter given as a list.
        zoomable: values have neighbors, so that a narrower box is meaningful.
        when: the axis is active where any of these conditions holds; without conditions it is active everywhere.
        guess: the internal value at which the best one is expected.
    """

    name: str
    key: str
    low: float
    high: float
    integer: bool = False
    log: bool = False
    complement: bool = False
    choices: tuple[Value, ...] = ()
    zoomable: bool = True
    when: tuple[Condition, ...] = ()
    guess: InternalValue | None = None

    def is_active(self, point: Point) -> bool:
        """Return whether a setting uses the axis at the point; units of absent layers, for example, are inactive."""
        return not self.when or any(all(clause.holds(point) for clause in condition) for condition in self.when)

    def to_value(self, internal: InternalValue) -> Value:
        """Convert an internal value to a value.

        Raises:
            TypeError, ValueError: `internal` is not an internal value of this axis.
        """
        if not isinstance(internal, str) and not abs(internal) <= MAX_MAGNITUDE:  # NaN compares false
            raise ValueError(f"{self.key} cannot be {internal!r}")
        if not self.zoomable:
            return internal
        if isinstance(internal, str) or (self.log and internal <= 0):
            raise ValueError(f"{self.key} cannot be {internal!r}")
        if self.choices and not 0 <= internal < len(self.choices):
            raise ValueError(f"{self.key} cannot be {internal!r}")
        if self.choices:
            return self.choices[int(internal)]
        if self.complement:
            return complement(internal)
        return int(internal) if self.integer else float(internal)

    def to_internal(self, value: Value) -> InternalValue:
        """Convert a value to an internal value: an ordered choice to its index; an unordered choice is unchanged.

        Raises:
            ValueError: the value is not on the axis.
        """
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"must be one of {', '.join(map(str, self.choices))}, got {value}")
            return self.choices.index(value) if self.zoomable else value
        if isinstance(value, str | bool) or (self.integer and not isinstance(value, int)):
            raise ValueError(f"must be a {'whole ' if self.integer else ''}number, got {value!r}")
        internal = complement(value) if self.complement else value
        if not self.low <= internal <= self.high:
            low, high = value_bounds(self, {self.key: (self.low, self.high)})
            raise ValueError(f"must lie in its range {low} … {high}, got {value}")
        return internal if self.integer else float(internal)

    def to_scaled(self, internal: InternalValue) -> float:
        """Return the coordinate in which the axis is sampled uniformly: the internal value or its logarithm."""
        return math.log(float(internal)) if self.log else float(internal)

    def from_scaled(self, scaled: float) -> float:
        """Return the internal value; the inverse of `to_scaled`."""
        return math.exp(scaled) if self.log else scaled

    def distribution(self, low: float, high: float) -> "BaseDistribution":
        """Return Optuna's distribution between two internal values, both inclusive."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if not self.zoomable:
            return CategoricalDistribution(self.choices)
        if self.integer:
            return IntDistribution(int(low), int(high), log=self.log)
        return FloatDistribution(low, high, log=self.log)


@final
@dataclass(frozen=True)
class Space:
    """All axes, and the values of the parameters that are not searched."""

    axes: tuple[Axis, ...]
    fixed: Mapping[str, Value]

    def point(self, internal_params: Mapping[str, InternalValue]) -> Point:
        """Return the values at Optuna's parameters, fixed parameters included and inactive ones left out."""
        values = {a.name: a.to_value(internal_params[a.key]) for a in self.axes if a.key in internal_params}
        return values | dict(self.fixed)

    def deciding_keys(self) -> frozenset[str]:
        """Return the keys of the axes on whose values it depends which other axes are active."""
        named = {clause.parameter for a in self.axes for condition in a.when for clause in condition}
        return frozenset(a.key for a in self.axes if a.name in named)

    def active_keys(self, internal_params: Mapping[str, InternalValue]) -> frozenset[str]:
        """Return the keys of active axes; the value of a deciding axis counts only where that axis is active.

        Args:
            internal_params: of the deciding axes at least.
        """
        values, active, waiting = dict(self.fixed), set[str](), list(self.axes)
        while found := [a for a in waiting if a.is_active(values)]:
            active |= {a.key for a in found}
            values |= {a.name: a.to_value(internal_params[a.key]) for a in found if a.key in internal_params}
            waiting = [a for a in waiting if a.key not in active]
        return frozenset(active)

    def full_box(self) -> Box:
        """Return the box that holds the full range of every axis."""
        return {a.key: (a.low, a.high) for a in self.axes}

    def distributions(self, box: Box) -> dict[str, "BaseDistribution"]:
        """Return Optuna's distributions over the box, by axis key."""
        return {a.key: a.distribution(*box[a.key]) for a in self.axes}

    def extreme_points(self) -> Iterator[Point]:
        """Yield points that together contain both ends of every range and every value of every list."""
        count = max([2, *(len(a.choices) for a in self.axes)])
        for i in range(count):
            internal: dict[str, InternalValue] = {}
            for a in self.axes:
                index = min(i, len(a.choices) - 1)
                internal[a.key] = (index if a.zoomable else a.choices[index]) if a.choices else (a.low, a.high)[i % 2]
            yield self.point(internal)


def build_space(
    parameters: Mapping[str, Parameter], conditions: Mapping[str, tuple[Condition, ...]] | None = None
) -> Space:
    """Return the space of a study file's parameters.

    Args:
        conditions: parameter → conditions under which it is active; parameters without an entry are always active.
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
    axis, guess = _axis_without_guess(name, parameter), parameter.guess
    if guess is None:
        return axis
    if axis.choices:  # an equal number of another type is this value
        guess = axis.choices[axis.choices.index(guess)]
    return replace(axis, guess=axis.to_internal(int(guess) if axis.integer and not axis.choices else guess))


def _axis_without_guess(name: str, parameter: Range | Values) -> Axis:
    if isinstance(parameter, Values):
        last = len(parameter.values) - 1
        if parameter.ordered:
            return Axis(name, f"{name}_index", 0, last, integer=True, choices=parameter.values)
        return Axis(name, name, 0, last, choices=parameter.values, zoomable=False)
    if parameter.scale == "one_minus_log":
        low, high = complement(parameter.max), complement(parameter.min)
        return Axis(name, f"one_minus_{name}", low, high, log=True, complement=True)
    return Axis(name, name, parameter.min, parameter.max, integer=parameter.type == "int", log=parameter.scale == "log")


def box_contains(axis: Axis, box: Box, internal: InternalValue | None) -> bool:
    """Return whether the box holds an internal value of the axis; None (an inactive axis) is in every box.

    A box holds all values of an axis that are not ordered.
    """
    if internal is None:
        return True
    if not axis.zoomable or isinstance(internal, str):
        return internal in axis.choices
    low, high = box[axis.key]
    return low <= internal <= high


def check_box(axes: Sequence[Axis], box: Box) -> None:
    """Check that a box has valid bounds for each of the axes.

    Raises:
        LookupError, TypeError or ValueError: the bounds of an axis are missing or invalid.
    """
    for axis in axes:
        low, high = box[axis.key]
        value_bounds(axis, box)
        if not axis.to_scaled(low) <= axis.to_scaled(high):
            raise ValueError(f"{axis.key} cannot lie between {low} and {high}")


def point_key(internal_params: Mapping[str, InternalValue]) -> str:
    """Return a key that is equal for equal points, and only for them: 1, 1.0 and true differ."""
    return repr(sorted(internal_params.items()))


def value_bounds(axis: Axis, box: Box) -> tuple[Value, Value] | Sequence[Value]:
    """Return the box on one axis as values, lower bound first: `(0.9, 0.999)`; for unordered values, all of them."""
    if not axis.zoomable:
        return axis.choices
    low, high = (axis.to_value(internal) for internal in box[axis.key])
    return (high, low) if axis.complement else (low, high)
