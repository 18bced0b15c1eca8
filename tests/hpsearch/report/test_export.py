"""A study as JSON and CSV."""

import csv
import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import pandas as pd

import hpsearch
from hpsearch.data.text_files.csv_file import _precision
from hpsearch.report.export import as_csv
from hpsearch.study.summary import COLUMNS
from tests.hpsearch.report.report_summary import summary
from tests.hpsearch.search.test_importance import complete, sampled
from tests.hpsearch.test_cli import call, strict  # noqa: F401 (a fixture)


def test_csv_equals_the_data_frame(call: Callable[..., Any], database: Path) -> None:  # noqa: F811
    """All trials in the format of RFC 4180 with full precision; cells without a value are empty."""
    said = call("show", database, "--csv")
    assert said.code == 0 and said.err == ""
    lines = said.out.split("\r\n")
    assert lines.pop() == "" and "\n" not in "".join(lines)
    frame = hpsearch.load_study(database).trials
    assert {"diverged", "complete"} <= set(frame.state) and frame["params/more_units"].isna().any()
    read = pd.read_csv(io.StringIO(said.out), **_precision(pd.__version__))
    pd.testing.assert_frame_equal(read, frame, check_dtype=False, check_exact=True)
    rows = list(csv.DictReader(io.StringIO(said.out)))
    words = (text for row in rows for text in row.values() if text and not re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", text))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", text) for text in words), "no cell is a formula that calls a function"
    assert len(rows) == 25 and tuple(rows[0])[: len(COLUMNS)] == COLUMNS
    trials = strict(call("show", database, "--json").out)["trials"]
    for row, trial in zip(rows, trials, strict=True):
        assert (row["stage"], int(row["number"]), row["state"]) == (trial["stage"], trial["number"], trial["state"])
        assert row["value"] == ("" if trial["value"] is None else repr(trial["value"]))
        for name in ("learning_rate", "dropout", "beta1"):
            assert row[f"params/{name}"] == (repr(trial["params"][name]) if name in trial["params"] else "")


def test_csv_without_trials() -> None:
    assert as_csv(summary(cases.small(), [], None)) == "stage,number,state,value,epochs,seconds\r\n"


def test_csv_quotes(call: Callable[..., Any]) -> None:  # noqa: F811
    """Quotes, commas and line breaks in names are quoted as in RFC 4180."""
    spec = cases.small()
    (r,) = sampled(spec, 1)
    odd = complete(r, 0.1 + 0.2)._replace(point={'a,"b"': "c\nd", "flag": True}, metrics={"val/loss": math.inf})
    text = as_csv(summary(spec, [odd], None))
    assert text.startswith('stage,number,state,value,epochs,seconds,"params/a,""b""",params/flag,val/loss\r\n')
    assert text.endswith('coarse,0,complete,0.30000000000000004,1,0.0,"c\nd",True,inf\r\n')


def test_csv_without_formulas() -> None:
    """Text that a spreadsheet would run is written as text, unless it is asked for as it is; numbers are numbers."""
    spec = cases.small()
    trials = [
        complete(r, 0.5)._replace(point={"units": name, "l2": -0.5})
        for r, name in zip(sampled(spec, 2), ("=1+1", "-3"), strict=True)
    ]
    for raw, first in ((False, "'=1+1"), (True, "=1+1")):
        rows = list(csv.DictReader(io.StringIO(as_csv(summary(spec, trials, None), raw=raw))))
        assert [row["params/units"] for row in rows] == [first, "-3"]
        assert [row["params/l2"] for row in rows] == ["-0.5", "-0.5"]
