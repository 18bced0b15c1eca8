"""A study as text: parameter importance as bars, learning curves, and names that hold markup."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import pytest

import hpsearch
from hpsearch.report.export import as_json
from hpsearch.report.tables import format_parameters
from hpsearch.report.text import LEVELS, _bars, _interval, as_text, learning_curve
from hpsearch.search.range_edges import RangeEdge
from hpsearch.tracking.mlflow.description import format_domain
from tests.hpsearch.report.report_summary import drawn, summary
from tests.hpsearch.search.test_importance import complete, far, sampled
from tests.hpsearch.test_cli import call, strict  # noqa: F401 (a fixture)


def test_importance_is_shown(call: Callable[..., Any], database: Path) -> None:  # noqa: F811
    shares = strict(call("show", database, "--json").out)["importance"]
    assert next(iter(shares)) == "learning_rate" and sum(shares.values()) == pytest.approx(1)
    lines = call("show", database).out.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("Parameter importance"))
    bars = [line.split() for line in lines[start + 2 : start + 2 + len(shares)]]
    assert [bar[0] for bar in bars] == list(shares)
    assert [bar[-1] for bar in bars] == [f"{share:.0%}" for share in shares.values()]
    long = [line.count("█") for line in lines[start + 2 : start + 2 + len(shares)]]
    assert long[0] == 40 and long == sorted(long, reverse=True) and long[-1] < 40


def test_few_trials_show_no_importance() -> None:
    spec = cases.small()
    few = [complete(r, far(r)) for r in sampled(spec, 19)]
    assert as_json(summary(spec, few, few[0]))["importance"] == {}
    assert "Parameter importance" not in drawn(as_text(summary(spec, few, few[0]), details=True))


def learned(values: list[float], best: int, every: int = 1, name: str = "val/loss") -> str:
    spec = cases.small(metric={"name": name})
    (r,) = sampled(spec, 1)
    epochs = len(values) * every
    found = learning_curve(spec, r._replace(history={name: values}, epochs=epochs, best_epoch=best, state="complete"))
    return "" if found is None else found.plain


def test_a_curve() -> None:
    assert learned([0.8, 0.46, 0.1, 0.275], 3) == (
        "val/loss of coarse/0, epochs 1 to 4:\n  █▅▁▃\n    ▲\n  first 0.8, best 0.1 at epoch 3, last 0.275\n"
    )
    assert "epochs 2 to 8:\n  █▅▁▃\n    ▲\n" in learned([0.8, 0.46, 0.1, 0.275], 6, every=2)
    assert "\n  ▁▅█▇\n    ▲\n  first 0.1, best 0.9" in learned([0.1, 0.5, 0.9, 0.8], 3, name="val/accuracy")
    assert "\n  █ ▁\n" in learned([0.9, math.nan, 0.1], 3), "a value that is not finite leaves a gap"
    assert "\n  ▁▁▁\n" in learned([0.5, 0.5, 0.5], 1), "a constant curve"
    assert learned([0.5], 1) == learned([math.inf, math.nan], 1) == learned([0.5, 0.4], 0) == ""


@pytest.mark.parametrize("best", [1, 2, 57, 90, 200])
def test_a_long_curve_is_thinned(best: int) -> None:
    """The thinned curve contains the best epoch, with the mark below it."""
    values = [1.0 + n / 200 for n in range(200)]
    values[best - 1] = 0.0
    _, line, mark, words, _ = learned(values, best).split("\n")
    assert len(line) == 62 and len(mark) <= len(line)
    assert line[len(mark) - 1] == LEVELS[0] and line.count(LEVELS[0]) == 1
    assert f"best 0 at epoch {best}," in words and abs(len(mark) - 3 - best * 60 / 200) <= 1


def test_output_is_narrow_and_plain() -> None:
    """Five parameters fit in 100 columns; output to a file has no colors and no control characters."""
    spec = cases.small(**{"parameters.l2": {"min": 1e-7, "max": 1e-1, "scale": "log"}})
    records = [complete(r, far(r))._replace(epochs=50, history={"val/loss": [0.1] * 50}) for r in sampled(spec, 60)]
    page = as_text(summary(spec, records, records[0]), details=True)
    wide, narrow = drawn(page, 400), drawn(page, 100)
    assert max(len(line.rstrip()) for line in wide.splitlines()) <= 100
    assert [line.rstrip() for line in wide.splitlines()] == [line.rstrip() for line in narrow.splitlines()]
    assert all(c == "\n" or c.isprintable() for c in wide)


def test_names_are_not_markup() -> None:
    """Brackets in names are not interpreted as rich markup."""
    spec = cases.small(name="a", metric={"name": "val/loss"})
    records = [complete(r, far(r)) for r in sampled(spec, 30)]
    shares = {"[bold]x[/bold]": 0.7, "[red]": 0.3}
    text = drawn(_bars("Importance", shares))
    assert "[bold]x[/bold]" in text and "[red]" in text
    assert "learning_rate" in drawn(as_text(summary(spec, records, records[0]), details=True))


def test_a_parameter_near_1_is_not_shown_as_1() -> None:
    """Neither in a point, nor in a range, an interval or a warning."""
    spec = cases.small(**{"parameters.beta.max": 0.99999})
    (r,) = sampled(spec, 1)
    best = complete(r, 0.1)._replace(point={"beta": 0.99998765})
    assert format_parameters(best) == "beta 0.999988" and "0.5 … 0.99999" in drawn(
        as_text(summary(spec, [best], best)), 200
    )
    assert format_domain(spec.parameters["beta"]) == "0.5 … 0.99999" and _interval(0.99998765, 1e-6).startswith(
        "0.999988 ±"
    )
    edge = RangeEdge("beta", "raise max", 0.99998765, 0.99999)
    assert str(edge) == "the best beta so far (0.999988) is at the edge of its range (0.99999): raise max"


def test_details_are_optional(call: Callable[..., Any], database: Path) -> None:  # noqa: F811
    """`run` prints no details: parameter importance needs an import that takes long."""
    found = hpsearch.load_study(database).summary
    assert "Parameter importance" not in drawn(as_text(found)) and "▲" not in drawn(as_text(found))
    assert "Parameter importance" in drawn(as_text(found, details=True)) and "▲" in drawn(as_text(found, details=True))
    assert json.dumps(as_json(found), allow_nan=False)
