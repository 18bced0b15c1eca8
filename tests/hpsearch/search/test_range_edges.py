"""Range edges: the best point at an end of a range is reported, with the way to widen the range."""

import math
from typing import Any

import pytest
from pydantic import TypeAdapter

from hpsearch.config.spec import AnyParameter
from hpsearch.core.space import InternalValue, Point, build_space
from hpsearch.search.range_edges import range_edges, supported_edges
from hpsearch.storage.records import Trial
from tests.hpsearch.report.advice.advice_cases import study, summary_of
from tests.hpsearch.search.test_zoom import internal_params, record, zoomed

EDGES: dict[str, tuple[dict[str, Any], Any, str | None]] = {
    "log, on the low end": ({"min": 1e-4, "max": 1.0, "scale": "log"}, 1e-4, "lower min"),
    "log, on the high end": ({"min": 1e-4, "max": 1.0, "scale": "log"}, 1.0, "raise max"),
    "log, near it": ({"min": 1e-4, "max": 1.0, "scale": "log"}, 0.8, "raise max"),  # 0.1 of 4 decades
    "log, off it": ({"min": 1e-4, "max": 1.0, "scale": "log"}, 0.7, None),  # 0.15
    "log, near the low end": ({"min": 1e-4, "max": 1.0, "scale": "log"}, 1.25e-4, "lower min"),
    "log, off the low end": ({"min": 1e-4, "max": 1.0, "scale": "log"}, 1.5e-4, None),
    "linear, on the high end": ({"min": 1.0, "max": 11.0}, 11.0, "raise max"),
    "linear, near it": ({"min": 1.0, "max": 11.0}, 10.8, "raise max"),
    "linear, off it": ({"min": 1.0, "max": 11.0}, 10.6, None),
    "linear, near the low end": ({"min": 1.0, "max": 11.0}, 1.2, "lower min"),
    "linear, off the low end": ({"min": 1.0, "max": 11.0}, 1.4, None),
    "linear, at its natural end": ({"min": 0.0, "max": 0.5}, 0.0, None),
    "linear, below zero": ({"min": -1.0, "max": 0.0}, -1.0, "lower min"),
    "complement, on the low end": ({"min": 0.9, "max": 0.999, "scale": "one_minus_log"}, 0.9, "lower min"),
    "complement, on the high end": ({"min": 0.9, "max": 0.999, "scale": "one_minus_log"}, 0.999, "raise max"),
    "complement, near the low end": ({"min": 0.9, "max": 0.999, "scale": "one_minus_log"}, 0.91, "lower min"),
    "complement, off the low end": ({"min": 0.9, "max": 0.999, "scale": "one_minus_log"}, 0.92, None),
    "complement, near the high end": ({"min": 0.9, "max": 0.999, "scale": "one_minus_log"}, 0.9989, "raise max"),
    "complement, off the high end": ({"min": 0.9, "max": 0.999, "scale": "one_minus_log"}, 0.998, None),
    "int, on the low end": ({"type": "int", "min": 1, "max": 100}, 1, "lower min"),
    "int, one off it": ({"type": "int", "min": 1, "max": 100}, 2, None),
    "int, on the high end": ({"type": "int", "min": 1, "max": 100}, 100, "raise max"),
    "int, one off the high end": ({"type": "int", "min": 1, "max": 100}, 99, None),
    "int, at its natural end": ({"type": "int", "min": 0, "max": 3}, 0, None),
    "int, at the other end": ({"type": "int", "min": 0, "max": 3}, 3, "raise max"),
    "int and log, near the end": ({"type": "int", "min": 16, "max": 256, "scale": "log"}, 240, "raise max"),
    "int and log, off it": ({"type": "int", "min": 16, "max": 256, "scale": "log"}, 230, None),
    "ordered, first": ({"values": [16, 32, 64, 128], "ordered": True}, 16, "add lower values"),
    "ordered, last": ({"values": [16, 32, 64, 128], "ordered": True}, 128, "add higher values"),
    "ordered, within": ({"values": [16, 32, 64, 128], "ordered": True}, 64, None),
    "ordered, only one": ({"values": [16], "ordered": True}, 16, None),
    "names": ({"values": ["relu", "tanh"]}, "relu", None),
}


@pytest.mark.parametrize("case", EDGES)
def test_edges(case: str) -> None:
    """At an end of the range or within 3 % of its width on its own scale; whole numbers only exactly at an end."""
    parameter, value, wider = EDGES[case]
    axes = build_space(
        TypeAdapter(dict[str, AnyParameter]).validate_python({"q": {"min": 0.1, "max": 0.9}, "p": parameter})
    )
    axis = axes.axes[1]
    point: dict[str, InternalValue] = {"q": 0.5, axis.key: axis.to_internal(value)}
    best = Trial("coarse", 0, point, axes.point(point), "complete", 0.1)
    found = range_edges(axes, axes.full_box(), best)
    assert [(e.name, e.advice) for e in found] == ([] if wider is None else [("p", wider)])
    for e in found:
        assert e.value == pytest.approx(value) and e.end in (
            *(parameter.get("min"), parameter.get("max")),
            *parameter.get("values", ()),
        )
        text = str(e)
        assert text.startswith("the best p so far (") and f"{value:g}" in text and f"{e.end:g}" in text
        assert text.endswith(wider or "?")
    assert range_edges(axes, axes.full_box(), None) == []
    if axis.zoomable and axis.low < axis.high:
        inner = {**axes.full_box(), axis.key: (axis.low + 0.5, axis.high - 0.5)}
        assert range_edges(axes, inner, best) == [], "the box already leaves room on that side"


def test_inactive_parameters_have_no_edges() -> None:
    """A best trial without the parameter is not at an end of its range."""
    axes = build_space(TypeAdapter(dict[str, AnyParameter]).validate_python({"q": {"min": 0.1, "max": 0.9}}))
    assert range_edges(axes, axes.full_box(), Trial("coarse", 0, {}, {}, "complete", 0.1)) == []


def test_edges_on_both_ends() -> None:
    """Two parameters, in their order, each by its own name."""
    _, axes = zoomed(0.5, 0.0)
    best = record(axes, 0, internal_params(1.0, 0.1, 5.0, 1, 5), 0.1)
    found = range_edges(axes, axes.full_box(), best)
    assert [(e.name, e.advice, e.value) for e in found] == [
        ("learning_rate", "raise max", 1.0),
        ("beta", "lower min", 0.9),
        ("hidden_units", "lower min", 1),
        ("batch_size", "add higher values", 256),
    ]
    assert str(found[1]) == "the best beta so far (0.9) is at the edge of its range (0.9): lower min"


@pytest.mark.parametrize(("slope", "expected"), [(1.0, ["hidden_units", "l2"]), (0.0, ["l2"]), (-1.0, [])])
def test_edges_that_the_trials_support(slope: float, expected: list[str]) -> None:
    """The best trial has the most units and the largest penalty; what the others say differs."""
    spec = study()

    def value(point: Point) -> float:
        if point["hidden_units"] == 64:
            return 0.99
        return 0.5 + 0.01 * slope * (2 * math.log(float(point["hidden_units"])) + math.log(float(point["l2"])))

    of = summary_of(spec, value, first={"hidden_units": 64, "l2": 1e-2})
    assert [e.name for e in range_edges(of.space, of.boxes[0], of.champion)] == ["hidden_units", "l2"]
    found = supported_edges(spec, of.space, of.boxes[0], of.champion, of.trials)
    assert [e.name for e in found] == expected
