"""Rows and sentences of a report: seeds, ranges, epochs saved, the winner, and scores."""

import math
from itertools import islice
from pathlib import Path
from typing import Any

import cases
from click.testing import CliRunner

import hpsearch
from hpsearch.cli import commands
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.report.tables import (
    box_tables,
    epochs_saved,
    format_range,
    format_scores,
    point_letters,
    pruning_line,
    renewed_boxes,
    seed_tables,
    stage_table,
    winner_line,
)
from hpsearch.search.confirm import Finalist
from tests.hpsearch import test_cli
from tests.hpsearch.report.report_summary import summary
from tests.hpsearch.search.test_importance import complete, sampled
from tests.hpsearch.study import test_loop

call = test_cli.call  # fixtures
spec, dataset = test_loop.spec, test_loop.dataset
Call = test_cli.Call


def test_medians_over_seeds(call: Call, tmp_path: Path) -> None:
    parameters: dict[str, Any] = {name: cases.RICH["parameters"][name] for name in ("optimizer", "depth")}
    parameters |= {"learning_rate": 0.1, "hidden_units": 4, "more_units": 3, "activation": "tanh", "dropout": 0.0}
    parameters |= {"limit": 1.0}
    points: list[dict[str, Any]] = [{"optimizer": "momentum", "depth": 1}, {"optimizer": "adam", "depth": 0}]
    changes = {
        **cases.RICH,
        "parameters": parameters,
        "stages": [{"name": "both", "points": points, "seeds": 3, "trials": 10}],
    }
    spec, database = cases.small(**changes), tmp_path / "small.db"
    dataset, _ = prepare(spec.data, spec.seed, tmp_path)
    records = cases.rows(cases.run(spec, dataset, database))
    ((title, (header, first, second)),) = seed_tables(hpsearch.load_study(database).summary)
    assert title == "both: over 3 seeds"
    assert header == ["optimizer", "depth", "complete", "median val/loss", "min", "max"]
    shown = call("show", database).out
    assert title in shown and "median val/loss" in shown
    for number, cells in enumerate((first, second)):
        values = sorted(r.value for r in records[number:6:2] if r.value is not None)
        assert cells[2:] == ["3/3", *(f"{v:.4g}" for v in (values[1], values[0], values[2]))]
    assert first[:2] == ["momentum", "1"] and second[:2] == ["adam", "0"]


def test_letters_of_points() -> None:
    letters = list(islice(point_letters(), 30))
    assert letters[:3] == ["A", "B", "C"] and letters[25:28] == ["Z", "AA", "AB"]


def test_the_winner() -> None:
    """Points that are tied with the winner are named; there is no winner if no mean is finite."""
    best, tied = Finalist({}, (), 0.1, 0.02), Finalist({}, (), 0.2, 0.02, 0.1, 0.15)
    worse = tied._replace(behind_half_width=0.05)
    assert winner_line([best]) == "A was the only point to confirm."
    assert winner_line([best, worse]) == "A is the winner."
    significant = "A has the best mean but does not differ significantly from"
    assert winner_line([best, worse, tied]) == f"{significant} C (95%)."
    assert winner_line([best, tied, tied, worse, tied]) == f"{significant} B, C and E (95%)."
    assert winner_line([best._replace(mean=math.nan), tied]) == "No winner: no point completed with every seed."


def test_ranges() -> None:
    assert format_range((1e-4, 1.0), True) == "0.0001 … 1"
    assert format_range(("tanh", "relu", True), False) == "tanh, relu, True"


def test_scores() -> None:
    """Validation scores, and test scores of the same metrics; followed by standard deviations over folds."""
    metrics = {"train/loss": 1.0, "val/loss": 0.25, "val/loss_std": 0.5, "test/loss": 0.125, "test/f1": 1.0}
    assert format_scores(metrics) == "val/loss 0.25 ± 0.5, test/loss 0.125"


def test_epochs_that_pruning_saved() -> None:
    """Trials copied from another study neither trained nor saved epochs."""
    spec = cases.small(**{"train.epochs": 10})
    records = [complete(r, 0.1)._replace(epochs=7) for r in sampled(spec, 4)]
    assert pruning_line(summary(spec, records, records[0])) is None
    records[1:] = [r._replace(state="pruned", epochs=3) for r in records[1:]]
    records[3] = records[3]._replace(copied_from="old:coarse/1")
    assert epochs_saved(spec, records) == 14
    line = "Pruned 3 of 4 trials: 13 epochs trained, at most 14 saved."
    assert pruning_line(summary(spec, records, records[0])) == line


def test_stages() -> None:
    """One column for each stage, empty before it begins; one row for each parameter and each state that occurs."""
    spec = cases.small()
    records = [complete(r, 0.1) for r in sampled(spec, 3)]
    records[1] = records[1]._replace(state="diverged", value=None)
    rows = {name: cells for name, *cells in stage_table(summary(spec, records, records[0]))}
    assert rows[""] == [s.name for s in spec.stages] and rows["finished"] == ["3/3", "0/0"]
    assert rows["diverged"] == ["1", ""] and "pruned" not in rows and "failed" not in rows
    assert rows["learning_rate"][0].count("…") == 1 and rows["learning_rate"][1] == ""


def test_every_cell_is_text() -> None:
    spec = cases.small()
    table = stage_table(summary(spec, [complete(r, 0.1) for r in sampled(spec, 3)], None))
    assert len({len(row) for row in table}) == 1 and all(isinstance(cell, str) for row in table for cell in row)


def test_partial_points_are_not_counted_as_repeated(dataset: Dataset, tmp_path: Path) -> None:
    cases.run(cases.small(**cases.RICH), dataset, tmp_path / "small.db")
    result = CliRunner().invoke(commands, ["show", str(tmp_path / "small.db")], catch_exceptions=False)
    assert result.exit_code == 0
    assert not any("over 2 seeds" in line for line in result.output.splitlines())


def test_boxes_of_a_renewed_zoom() -> None:
    """One row for each box, from which trial on; the trials outside and those of other stages are left out."""
    spec = cases.small()
    records = [complete(r, 0.1) for r in sampled(spec, 6)]
    study = summary(spec, records, records[0])
    axes = [axis for axis in study.space.axes if axis.zoomable]
    assert list(box_tables(study)) == []
    whole = study.boxes[0]
    small_box = {key: (low, low) if low == high else (low, (low + high) / 2) for key, (low, high) in whole.items()}
    small_box |= {a.key: (a.low, a.low + 1) for a in axes if a.integer}
    boxes = [None, small_box, None, small_box, *[None] * (len(study.trials[0]) - 4)]
    trials = [t._replace(box=box) for t, box in zip(study.trials[0], boxes, strict=True)]
    assert renewed_boxes(trials) == [(1, small_box)]
    ((title, rows),) = box_tables(study._replace(trials=[trials, *study.trials[1:]]))
    assert title.startswith(f"{study.spec.stages[0].name}: ")
    assert [row[0] for row in rows] == ["from trial", "0", "1"] and rows[0][1:] == [a.name for a in axes]
    assert rows[1][1] != rows[2][1] and all(" … " in cell for row in rows[1:] for cell in row[1:])
