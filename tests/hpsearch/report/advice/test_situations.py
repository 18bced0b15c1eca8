"""Real small studies, each with one fault that the diagnosis or the advice must name, and sound ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpsearch
from hpsearch.report.advice.collect import advise
from hpsearch.report.advice.errors import diagnosis_lines, diagnosis_of
from hpsearch.study.summary import Summary

RATE = {"min": 1e-2, "max": 1.0, "scale": "log"}
BASE: dict[str, Any] = {
    "seed": 1,
    "model": {"hidden": [{"units": 16, "activation": "tanh"}]},
    "train": {"optimizer": "momentum", "epochs": 30, "kernel": "numpy", "early_stopping": {"patience": 8}},
    "metric": {"name": "val/accuracy"},
    "parameters": {"learning_rate": RATE},
    "stages": [{"name": "only", "trials": 10}],
    "workers": 1,
}
MOONS = {"source": "formula", "name": "moons", "rows": 600}


def ran(folder: Path, name: str, **changes: Any) -> tuple[Summary, dict[str, str], str]:
    """Return the summary of a finished study, its advice by topic, and its diagnosis."""
    study = {**BASE, "name": name, **changes}
    result = hpsearch.run(study, storage=folder / f"{name}.db", tracking_uri="none", executor="inline")
    summary = result.summary
    assert summary.evidence is not None
    return summary, {a.topic: str(a) for a in advise(summary)}, "\n".join(diagnosis_lines(summary))


def table(folder: Path, name: str, rows: list[str]) -> dict[str, Any]:
    (folder / f"{name}.csv").write_text("\n".join(rows))
    return {"source": "csv", "path": str(folder / f"{name}.csv"), "target": "y", "task": "classification"}


def noisy_rows(count: int, flip: float, seed: int = 0) -> list[str]:
    """Return rows whose label is the sign of a + b, and flipped with some probability."""
    rng = np.random.default_rng(seed)
    return [f"{a:.4f},{b:.4f},{int((a + b > 0) != (rng.random() < flip))}" for a, b in rng.normal(size=(count, 2))]


def test_a_label_leak_is_named(tmp_path: Path) -> None:
    rows = [f"{row},{row[-1] * 2}" for row in noisy_rows(500, 0.2)]
    _, advice, _ = ran(tmp_path, "leak", data=table(tmp_path, "leak", ["a,b,y,code", *rows]))
    assert next(iter(advice)) == "leak" and "'code' alone predicts the target" in advice["leak"]
    assert "data.drop: [code]" in advice["leak"]


def test_duplicated_test_rows_are_counted(tmp_path: Path) -> None:
    rows = noisy_rows(400, 0.2)
    data = table(tmp_path, "train", ["a,b,y", *rows])
    table(tmp_path, "test", ["a,b,y", *rows[:150]])
    split = {"train": 0.8, "val": 0.2, "test": 0}
    data |= {"test_path": str(tmp_path / "test.csv"), "split": split}
    _, advice, _ = ran(tmp_path, "duplicates", data=data)
    assert "150 test rows" in advice["repeated"] and "are also training rows, against 0%" in advice["repeated"]


@pytest.mark.crash
def test_a_network_that_is_too_small_is_widened_by_its_own_trials(tmp_path: Path) -> None:
    units = {"type": "int", "min": 1, "max": 6}
    changes = {
        "model": {"hidden": [{"units": "units", "activation": "tanh"}]},
        "stages": [{"name": "only", "trials": 24}],
    }
    changes |= {"metric": {"name": "val/loss"}, "data": {"source": "formula", "name": "bank", "rows": 600}}
    summary, advice, text = ran(tmp_path, "small", parameters={"learning_rate": RATE, "units": units}, **changes)
    assert "larger units did better" in advice["range"] + text and "parameters.units: " in advice["range"]
    assert summary.champion is not None and summary.champion.point["units"] == 6
    single = {"model": {"hidden": [{"units": 1, "activation": "tanh"}]}}
    _, advice, text = ran(tmp_path, "single", data={"source": "formula", "name": "bank", "rows": 600}, **single)
    assert text.startswith("High bias") and "0.0% is unavoidable" not in text
    assert "size of the network is fixed (units 1): search it" in advice["size"]


def test_learning_rates_that_are_too_high_are_lowered(tmp_path: Path) -> None:
    parameters = {"learning_rate": {"min": 1.0, "max": 1e5, "scale": "log"}}
    data = {"source": "sklearn", "name": "diabetes"}
    changes = {"model": {"hidden": [{"units": 16}]}, "metric": {"name": "val/rmse"}, "data": data}
    summary, advice, _ = ran(
        tmp_path, "high", parameters=parameters, stages=[{"name": "only", "trials": 16}], **changes
    )
    assert summary.champion is None or any(
        "parameters.learning_rate" in text and "Change" in text for text in advice.values()
    )
    assert "diverged" in advice and "16 trials diverged" in advice["diverged"]


def test_a_penalty_that_is_too_strong_is_lowered_and_no_larger_network_is_proposed(tmp_path: Path) -> None:
    parameters = {"learning_rate": 0.1, "l2": {"min": 0.02, "max": 1.0, "scale": "log"}}
    changes = {"metric": {"name": "val/loss"}, "stages": [{"name": "only", "trials": 12}]}
    _, advice, _ = ran(tmp_path, "strong", data=MOONS, parameters=parameters, **changes)
    assert "Against high bias: smaller l2 did better" in advice["fit"]
    assert "parameters.l2: {min: 0.02, max: 1.0, scale: log} → {min: 0.0054" in advice["fit"]
    assert "size" not in advice and "units" not in " ".join(advice.values())


@pytest.mark.crash
def test_noise_is_no_reason_for_a_larger_network(tmp_path: Path) -> None:
    """Labels are flipped with 20 %, which the study file says; xor with noise knows it by itself."""
    data = table(tmp_path, "noise", ["a,b,y", *noisy_rows(1500, 0.2)])
    summary, advice, text = ran(tmp_path, "noise", data=data, metric={"name": "val/accuracy", "base_error": 0.2})
    assert text.startswith("Neither high bias nor high variance") and "20.0% is unavoidable" in text
    assert not {"size", "fit", "leak", "repeated", "drift"} & advice.keys()
    xor = {"source": "formula", "name": "xor", "noise": 0.2, "rows": 1500}
    _, advice, text = ran(tmp_path, "xor", data=xor)
    assert text.startswith("Neither") and "is unavoidable" in text and "size" not in advice
    assert (found := diagnosis_of(summary)) is not None and found.base_error == 0.2


@pytest.mark.crash
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_sound_studies_are_not_alarmed(tmp_path: Path, name: str) -> None:
    _, advice, _ = ran(tmp_path, name, data={"source": "sklearn", "name": name})
    assert not {"leak", "repeated", "drift", "dead", "identical", "nothing learned"} & advice.keys()


def test_rows_set_aside_show_that_val_rows_are_of_another_distribution(tmp_path: Path) -> None:
    """Val and test rows are shifted, and 30 % of their labels are flipped: train_dev is learned, they are not."""
    rng = np.random.default_rng(0)
    rows = [f"{row},train" for row in noisy_rows(900, 0.0)]
    for part in ("val", "test"):
        for a, b in rng.normal(0.8, 1.0, (200, 2)):
            rows.append(f"{a:.4f},{b:.4f},{int((a + b > 0) != (rng.random() < 0.3))},{part}")
    data = table(tmp_path, "mismatch", ["a,b,y,part", *rows]) | {"split": {"column": "part", "train_dev": 0.2}}
    summary, advice, text = ran(tmp_path, "mismatch", data=data)
    assert summary.champion is not None and summary.champion.metrics["train_dev/accuracy"] > 0.95
    assert text.startswith("Data mismatch") and "train_dev error" in text
    assert "Rows set aside from the training rows have an error of" in text and "drift" in advice
    assert summary.evidence is not None and summary.evidence.errors["train_dev"].rows == 180
