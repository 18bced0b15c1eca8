"""The Python interface: studies from mappings and files, their results, and its errors."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest
from people_cases import content, people, run_study

import hpsearch
from hpsearch.errors import DataError, SpecError, StorageError
from hpsearch.storage.sqlite_file import url_of
from tests.hpsearch import test_cli

Call = test_cli.Call
call = test_cli.call  # a fixture
COMMAND = test_cli.COMMAND


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, hpsearch.StudyResult]:
    """Return the folder and the result of a study with folds and two ways of preprocessing."""
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(folder)


def test_result(ran: tuple[Path, hpsearch.StudyResult]) -> None:
    folder, result = ran
    assert len(result.trials) == 7 and list(result.trials["stage"]) == ["coarse"] * 4 + ["fine"] * 3
    best = result.trials.loc[result.trials["value"].idxmin()]
    assert result.best_value == best["value"] and set(result.best_params) == set(cases.CONTENT["parameters"]) | {
        "filling"
    }
    assert all(best[f"params/{name}"] == value for name, value in result.best_params.items())
    assert best["test/roc_auc"] == result.best_metrics["test/roc_auc"] and result.trials["test/f1"].notna().sum() == 1
    again = hpsearch.load_study(folder / "small.db")
    pd.testing.assert_frame_equal(again.trials, result.trials)
    assert again.best_params == result.best_params


def test_resuming_with_more_trials(ran: tuple[Path, hpsearch.StudyResult], tmp_path: Path) -> None:
    """Finished trials keep their results; only the additional ones are trained."""
    shutil.copy(ran[0] / "small.db", tmp_path / "small.db")
    given = content(ran[0], people(), split={"folds": 3}, impute="filling")
    given["parameters"]["filling"] = {"values": ["indicator", "most_frequent"]}
    given["stages"][1]["trials"] = 5
    more = hpsearch.run(given, storage=tmp_path / "small.db", tracking_uri="none", workers=1)
    assert len(more.trials) == 9 and (more.trials["value"][:7] == ran[1].trials["value"]).all()


def test_errors(tmp_path: Path) -> None:
    given = content(tmp_path, people())
    given["train"]["optimizer"] = "momentm"
    with pytest.raises(SpecError, match=r"study: train.optimizer: .*did you mean 'momentum'"):
        hpsearch.run(given)
    with pytest.raises(StorageError, match=r"none\.db"):
        hpsearch.load_study(tmp_path / "none.db")
    with pytest.raises(DataError, match="contains no model"):
        hpsearch.load_model(tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        hpsearch.runn  # type: ignore[attr-defined]  # noqa: B018
    assert all(getattr(hpsearch, name) for name in hpsearch.__all__)


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    """Worker processes do not import or run the script that starts them."""
    (tmp_path / "study.json").write_text(json.dumps(content(tmp_path, people())), "utf-8")
    script = "import hpsearch; print(len(hpsearch.run('study.json', tracking_uri='none', workers=2).trials))"
    (tmp_path / "script.py").write_text(script, "utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_no_model_yet(tmp_path: Path) -> None:
    given = content(tmp_path, people())
    given["parameters"]["learning_rate"] = {"min": 1e30, "max": 1e31, "scale": "log"}
    result = hpsearch.run(given, storage=tmp_path / "small.db", tracking_uri="none", workers=1)
    with pytest.raises(StorageError, match="no trial is complete"):
        _ = result.model
    with pytest.raises(StorageError, match="no trial is complete"):
        _ = result.best_params


def test_changed_before_the_first_trial(tmp_path: Path) -> None:
    """All settings may change before the first trial; the model has the preprocessing it was trained with."""
    from hpsearch.study.session import Options, Session

    spec = {**content(tmp_path, people()), "seed": 3}
    for scale in ("none", "minmax"):
        spec["data"]["scale"] = scale
        if scale == "none":  # started, and stopped before the first trial
            from hpsearch.config.load import spec_from_mapping

            with Session(spec_from_mapping(spec, "study")[0], url_of(str(tmp_path / "a.db")), Options(1, "none")):
                pass
    changed = hpsearch.run(spec, storage=tmp_path / "a.db", tracking_uri="none", workers=1)
    fresh = hpsearch.run(spec, storage=tmp_path / "b.db", tracking_uri="none", workers=1)
    assert changed.model.scores(people()).tobytes() == fresh.model.scores(people()).tobytes()
    assert type(changed.model.preprocessing[0].input_scaler).__name__ == "MinMax"
    assert any("data.scale: none → minmax" in notice for notice in changed.notices)
    assert any("task: classification" in notice for notice in fresh.notices)


def test_python_types_in_mappings(tmp_path: Path) -> None:
    """Paths, NumPy numbers and arrays, and tuples."""
    given = content(tmp_path, people())
    given["data"] |= {"path": tmp_path / "people.csv", "drop": ("member",)}
    given["parameters"]["batch_size"] = {"values": np.array([16, 32]), "ordered": np.bool_(True)}
    given["parameters"]["l2"] = np.float32(0.5)
    result = hpsearch.run(given, storage=tmp_path / "a.db", tracking_uri="none", workers=1)
    assert set(result.trials["params/batch_size"]) <= {16, 32} and "member" not in result.model.features


@pytest.mark.parametrize(
    "split", [{"train": 0.8, "val": 0.2, "test": 0}, {"folds": 3, "test": 0}], ids=["part", "folds"]
)
def test_regression_without_test_rows(split: dict[str, Any], tmp_path: Path) -> None:
    given = content(tmp_path, people(), split=split)
    given["data"] |= {"target": "pay", "task": "regression"}
    result = hpsearch.run(given, storage=tmp_path / "a.db", tracking_uri="none", workers=1)
    assert not any(name.startswith("test/") for name in result.best_metrics)
    assert np.isfinite(result.model.predict(people())).all()


def test_numbers_that_are_too_large(tmp_path: Path) -> None:
    table = people()
    for value, scale in ((1e39, "none"), (1e200, "standard")):
        with pytest.raises(DataError, match=r"column 'pay' must hold numbers within ±3.4e\+38, got 1e\+\d+ in row 8"):
            table.loc[7, "pay"] = value
            hpsearch.run(content(tmp_path, table, scale=scale), storage=tmp_path / "a.db", tracking_uri="none")


def test_changed_split_file_or_class_names(tmp_path: Path) -> None:
    """The split file and the names of classes belong to the fingerprint of the data."""
    words = np.array(["train", "val", "test"])[np.arange(150) % 3]
    file = tmp_path / "parts.txt"
    file.write_text("\n".join(words), "utf-8")
    given = content(tmp_path, people(), split={"file": str(file)})
    hpsearch.run(given, storage=tmp_path / "a.db", tracking_uri="none", workers=1)
    file.write_text("\n".join(words[::-1]), "utf-8")
    with pytest.raises(StorageError, match="the data have changed since the study began"):
        hpsearch.run(given, storage=tmp_path / "a.db", tracking_uri="none", workers=1)
    file.write_text("\n".join(words), "utf-8")
    content(tmp_path, people().replace({"happy": {"yes": "zes"}}))
    with pytest.raises(StorageError, match="the data have changed since the study began"):
        hpsearch.run(given, storage=tmp_path / "a.db", tracking_uri="none", workers=1)


def test_splits_that_the_source_does_not_support(tmp_path: Path) -> None:
    iris = {"source": "sklearn", "name": "iris", "split": {"column": "part"}}
    with pytest.raises(DataError, match=r"data.split.column: only tables \(csv, parquet, sql, openml\)"):
        hpsearch.run(cases.content(data=iris), storage=tmp_path / "a.db", tracking_uri="none")
    given = content(tmp_path, people(), split={"folds": 3, "test": 0.3}, test_path=str(tmp_path / "people.csv"))
    with pytest.raises(DataError, match="the source has 150 test rows of its own; remove test"):
        hpsearch.run(given, storage=tmp_path / "b.db", tracking_uri="none")
