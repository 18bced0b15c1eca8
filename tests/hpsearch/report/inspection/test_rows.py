"""`hpsearch check --data`: what the rows say, and settings that do not fit them."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from hpsearch.config.spec import Spec
from hpsearch.report.inspection.rows import RowReport, inspect_rows
from tests.hpsearch.test_cli import Call, call  # noqa: F401 (a fixture)

CANCER: dict[str, Any] = {"source": "sklearn", "name": "breast_cancer"}


def table(folder: Path, rows: int, shift: float = 0.0, **data: Any) -> dict[str, Any]:
    """Write a table of two columns whose val rows are shifted in the first one."""
    rng = np.random.default_rng(3)
    parts = ["train"] * (rows * 6 // 10) + ["val"] * (rows * 2 // 10) + ["test"] * (rows * 2 // 10)
    lines = ["a,b,y,part"]
    for part in parts:
        a, b = rng.normal(shift if part == "val" else 0.0), rng.normal(0, 1000)
        lines.append(f"{a:.4f},{b:.2f},{int(a + rng.normal() > 0)},{part}")
    (folder / "t.csv").write_text("\n".join(lines))
    return {
        "source": "csv",
        "path": str(folder / "t.csv"),
        "target": "y",
        "task": "classification",
        "split": {"column": "part"},
        **data,
    }


def report(**changes: Any) -> RowReport:
    return inspect_rows(cases.small(**changes))


def paths(found: RowReport) -> list[str]:
    return [".".join(map(str, note.path)) for note in found.notes]


def test_a_sound_table_has_two_lines_and_no_notes(tmp_path: Path) -> None:
    found = report(data=table(tmp_path, 4000))
    assert found.notes == [] and [line.partition(":")[0] for line in found.lines] == ["val", "test"]
    assert "AUC of 0.5" in found.lines[0] or "AUC of 0.4" in found.lines[0]


def test_drift_between_the_parts(tmp_path: Path) -> None:
    found = report(data=table(tmp_path, 4000, shift=1.5))
    assert paths(found) == ["data.split"] and "val rows come from another distribution" in found.notes[0].text
    assert "'a' +1." in found.lines[0] and "standard deviations" in found.lines[0]


def test_unscaled_columns_are_measured(tmp_path: Path) -> None:
    assert paths(report(data=table(tmp_path, 4000, scale="none"))) == ["data.scale"]


def test_few_rows_and_batches(tmp_path: Path) -> None:
    small = report(data=table(tmp_path, 200), metric={"name": "val/roc_auc"})
    assert paths(small) == ["data.split", "metric.name", "parameters.batch_size"]
    assert "40 val rows tell an error of 10% only to ±" in small.notes[0].text
    assert "with 120 training rows a full batch is cheap" in small.notes[2].text
    large = report(**{"data": table(tmp_path, 200), "parameters.batch_size": {"values": [16, 500], "ordered": True}})
    assert "a batch of 500 rows is larger than the 120 training rows" in large.notes[1].text


def test_a_rare_class_has_few_val_rows(tmp_path: Path) -> None:
    data = table(tmp_path, 1000)
    text = (tmp_path / "t.csv").read_text().splitlines()
    rare = [line if n % 40 == 0 else line.replace(",1,", ",0,") for n, line in enumerate(text)]
    (tmp_path / "t.csv").write_text("\n".join(rare))
    found = report(data=data, metric={"name": "val/f1"})
    assert "metric.name" in paths(found) and any("val rows are of the rarer class" in n.text for n in found.notes)


def test_many_parameters_without_regularization(tmp_path: Path) -> None:
    changes = {"model": {"hidden": [{"units": 2000}]}, "train": {"optimizer": "sgd"}, "data": table(tmp_path, 200)}
    rate = {"learning_rate": 0.1}
    found = report(**{**changes, "parameters": rate})
    assert "model" in paths(found) and "parameters for 120 training rows" in str(found.notes)
    assert "model" not in paths(report(**{**changes, "parameters": {**rate, "l2": 0.1}}))


def test_the_command(call: Call, tmp_path: Path) -> None:  # noqa: F811
    study = cases.write(tmp_path, data=table(tmp_path, 4000, shift=1.5))
    said = call("check", study, "--data")
    assert said.code == 0 and f"note: {study}:" in said.err and "val: a classifier tells val rows" in said.out
    assert call("check", study, "--data", "--strict").code == 2 and call("check", study, "--strict").code == 0


def test_a_study_without_data() -> None:
    spec: Spec = cases.small().model_copy(update={"data": None})
    assert inspect_rows(spec) == ([], [])


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits", "diabetes"])
def test_bundled_tables_have_no_drift_and_no_leak(name: str) -> None:
    found = report(data={"source": "sklearn", "name": name}, metric={"name": "val/loss"})
    assert not [n for n in found.notes if "distribution" in n.text or "alone predicts" in n.text or "also" in n.text]
