"""What `hpsearch show` prints: importance as bars, the curve of the best trial, and tables for other programs."""

import csv
import io
import json
import math
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import pandas as pd
import pytest
from rich.console import Console

import hpsearch
from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import prepare
from hpsearch.report.text import HEIGHTS, _interval, as_csv, as_json, as_text, curve, parameters
from hpsearch.search.zoom import Edge
from hpsearch.storage.records import Trial
from hpsearch.study.summary import COLUMNS, Summary
from hpsearch.tracking.mlflow.description import _range
from tests.hpsearch.search.test_importance import complete, far, sampled
from tests.hpsearch.test_cli import call, strict  # noqa: F401 (a fixture)

SHORT = {"train.epochs": 4, "stages.0.trials": 21, "stages.1.trials": 4, "wave": 7}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With conditional parameters, and one that diverged."""
    folder = tmp_path_factory.mktemp("made")
    wide = {"parameters.learning_rate": {"min": 1e-3, "max": 1e16, "scale": "log"}}
    spec = cases.small(**{**cases.RICH, **wide, **SHORT})
    dataset, _ = prepare(spec.data, spec.seed, folder)
    cases.run(spec, dataset, folder / "small.db")
    with closing(sqlite3.connect(folder / "small.db")) as connection:
        connection.execute("UPDATE hpsearch_trial SET state = 'diverged', value = NULL WHERE number = 3")
        connection.commit()
    return folder / "small.db"


def summary(spec: Spec, records: list[Trial], best: Trial | None) -> Summary:
    boxes = [search_space(spec).full_box()]
    return Summary(spec, [records], boxes, [0], [len(records), 0], best)


def drawn(what: Any, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_csv_is_the_frame(call: Callable[..., Any], database: Path) -> None:  # noqa: F811
    """Every trial, in RFC 4180, to the last digit; what a trial has not is empty."""
    said = call("show", database, "--csv")
    assert said.code == 0 and said.err == ""
    lines = said.out.split("\r\n")
    assert lines.pop() == "" and "\n" not in "".join(lines)
    frame = hpsearch.load_study(database).trials
    assert {"diverged", "complete"} <= set(frame.state) and frame["params/more_units"].isna().any()
    read = pd.read_csv(io.StringIO(said.out))
    pd.testing.assert_frame_equal(read, frame, check_dtype=False, check_exact=True)
    rows = list(csv.DictReader(io.StringIO(said.out)))
    words = (text for row in rows for text in row.values() if text and not re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", text))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", text) for text in words), "a formula of a spreadsheet has more in it"
    assert len(rows) == 25 and tuple(rows[0])[: len(COLUMNS)] == COLUMNS
    trials = strict(call("show", database, "--json").out)["trials"]
    for row, trial in zip(rows, trials, strict=True):
        assert (row["stage"], int(row["number"]), row["state"]) == (trial["stage"], trial["number"], trial["state"])
        assert row["value"] == ("" if trial["value"] is None else repr(trial["value"]))
        for name in ("learning_rate", "dropout", "beta1"):
            assert row[f"params/{name}"] == (repr(trial["params"][name]) if name in trial["params"] else "")


def test_csv_of_nothing_yet() -> None:
    assert as_csv(summary(cases.small(), [], None)) == "stage,number,state,value,epochs,seconds\r\n"


def test_csv_quotes(call: Callable[..., Any]) -> None:  # noqa: F811
    """As the standard says, whatever a name holds."""
    spec = cases.small()
    (r,) = sampled(spec, 1)
    odd = complete(r, 0.1 + 0.2)._replace(point={'a,"b"': "c\nd", "flag": True}, metrics={"val/loss": math.inf})
    text = as_csv(summary(spec, [odd], None))
    assert text.startswith('stage,number,state,value,epochs,seconds,"params/a,""b""",params/flag,val/loss\r\n')
    assert text.endswith('coarse,0,complete,0.30000000000000004,1,0.0,"c\nd",True,inf\r\n')


@pytest.mark.parametrize("options", [("--json", "--csv"), ("--csv", "--watch"), ("--watch", "--json")])
def test_one_form_at_a_time(call: Callable[..., Any], database: Path, options: tuple[str, str]) -> None:  # noqa: F811
    said = call("show", database, *options)
    assert said.code == 2 and said.out == "" and all(option in said.err for option in options)


def test_importance_is_shown(call: Callable[..., Any], database: Path) -> None:  # noqa: F811
    shares = strict(call("show", database, "--json").out)["importance"]
    assert next(iter(shares)) == "learning_rate" and sum(shares.values()) == pytest.approx(1)
    lines = call("show", database).out.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("Importance"))
    bars = [line.split() for line in lines[start + 2 : start + 2 + len(shares)]]
    assert [bar[0] for bar in bars] == list(shares)
    assert [bar[-1] for bar in bars] == [f"{share:.0%}" for share in shares.values()]
    long = [line.count("█") for line in lines[start + 2 : start + 2 + len(shares)]]
    assert long[0] == 40 and long == sorted(long, reverse=True) and long[-1] < 40


def test_few_trials_show_no_importance() -> None:
    spec = cases.small()
    few = [complete(r, far(r)) for r in sampled(spec, 19)]
    assert as_json(summary(spec, few, few[0]))["importance"] == {}
    assert "Importance" not in drawn(as_text(summary(spec, few, few[0]), closer=True))


def learned(values: list[float], best: int, every: int = 1, name: str = "val/loss") -> str:
    spec = cases.small(metric={"name": name})
    (r,) = sampled(spec, 1)
    epochs = len(values) * every
    found = curve(spec, r._replace(history={name: values}, epochs=epochs, best_epoch=best, state="complete"))
    return "" if found is None else found.plain


def test_a_curve() -> None:
    assert learned([0.8, 0.46, 0.1, 0.275], 3) == (
        "val/loss of coarse/0, epochs 1 to 4:\n  █▅▁▃\n    ▲\n  first 0.8, best 0.1 at epoch 3, last 0.275\n"
    )
    assert "epochs 2 to 8:\n  █▅▁▃\n    ▲\n" in learned([0.8, 0.46, 0.1, 0.275], 6, every=2)
    assert "\n  ▁▅█▇\n    ▲\n  first 0.1, best 0.9" in learned([0.1, 0.5, 0.9, 0.8], 3, name="val/accuracy")
    assert "\n  █ ▁\n" in learned([0.9, math.nan, 0.1], 3), "a gap"
    assert "\n  ▁▁▁\n" in learned([0.5, 0.5, 0.5], 1), "a flat one"
    assert learned([0.5], 1) == learned([math.inf, math.nan], 1) == learned([0.5, 0.4], 0) == ""


@pytest.mark.parametrize("best", [1, 2, 57, 90, 200])
def test_a_long_curve_is_thinned(best: int) -> None:
    """Its best epoch is in it, wherever it is, and the mark below it."""
    values = [1.0 + n / 200 for n in range(200)]
    values[best - 1] = 0.0
    _, line, mark, words, _ = learned(values, best).split("\n")
    assert len(line) == 62 and len(mark) <= len(line)
    assert line[len(mark) - 1] == HEIGHTS[0] and line.count(HEIGHTS[0]) == 1
    assert f"best 0 at epoch {best}," in words and abs(len(mark) - 3 - best * 60 / 200) <= 1


def test_a_page_is_narrow_and_plain() -> None:
    """A hundred columns hold five parameters, and what goes to a file has neither colors nor control characters."""
    spec = cases.small(**{"parameters.l2": {"min": 1e-7, "max": 1e-1, "scale": "log"}})
    records = [complete(r, far(r))._replace(epochs=50, history={"val/loss": [0.1] * 50}) for r in sampled(spec, 60)]
    page = as_text(summary(spec, records, records[0]), closer=True)
    wide, narrow = drawn(page, 400), drawn(page, 100)
    assert max(len(line.rstrip()) for line in wide.splitlines()) <= 100
    assert [line.rstrip() for line in wide.splitlines()] == [line.rstrip() for line in narrow.splitlines()]
    assert all(c == "\n" or c.isprintable() for c in wide)


def test_names_are_shown_as_they_are() -> None:
    """Brackets are no markup of the terminal's."""
    spec = cases.small(name="a", metric={"name": "val/loss"})
    records = [complete(r, far(r)) for r in sampled(spec, 30)]
    shares = {"[bold]x[/bold]": 0.7, "[red]": 0.3}
    from hpsearch.report import text as report

    text = drawn(report._bars("Importance", shares))
    assert "[bold]x[/bold]" in text and "[red]" in text
    assert "learning_rate" in drawn(as_text(summary(spec, records, records[0]), closer=True))


def test_a_parameter_near_1_is_not_shown_as_1() -> None:
    """Wherever it stands, and the ends of its range with it."""
    spec = cases.small(**{"parameters.beta.max": 0.99999})
    (r,) = sampled(spec, 1)
    best = complete(r, 0.1)._replace(point={"beta": 0.99998765})
    assert parameters(best) == "beta 0.999988" and "0.5 … 0.99999" in drawn(as_text(summary(spec, [best], best)), 200)
    assert _range(spec.parameters["beta"]) == "0.5 … 0.99999" and _interval(0.99998765, 1e-6).startswith("0.999988 ±")
    edge = Edge("beta", "raise max", 0.99998765, 0.99999)
    assert str(edge) == "the best beta so far, 0.999988, lies at the end of its range, 0.99999: raise max"


def test_a_run_says_as_much_as_before(call: Callable[..., Any], database: Path) -> None:  # noqa: F811
    """What `show` adds takes an import that `run` does not wait for."""
    found = hpsearch.load_study(database).summary
    assert "Importance" not in drawn(as_text(found)) and "▲" not in drawn(as_text(found))
    assert "Importance" in drawn(as_text(found, closer=True)) and "▲" in drawn(as_text(found, closer=True))
    assert json.dumps(as_json(found), allow_nan=False)
