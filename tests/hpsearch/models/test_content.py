"""Content of models that must be refused: types, bounds, and parts that do not fit each other."""

import copy
import json
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from hpsearch.errors import DataError
from hpsearch.models.content import check_units
from hpsearch.models.model import Model
from tests.hpsearch.models.test_model import build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("content")
    _, model = build(cases.small().data, top)
    model.save(top / "model")
    return top / "model"


def refused(folder: Path, content: Any, **arrays: Any) -> str:
    """Return the message about a model whose content or arrays are replaced."""
    with np.load(folder / "weights.npz", allow_pickle=False) as file:
        kept = dict(file)
    made = folder.parent / "made"
    made.mkdir(exist_ok=True)
    np.savez(made / "weights.npz", **{**kept, **arrays})
    (made / "model.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(DataError) as caught:
        Model.load(made)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("network.layers.0.units", "3", "units must be int, got '3'"),
        ("network.layers.0.units", True, "units must be int, got True"),
        ("network.layers.0.units", 1 << 40, "units must be int"),
        ("network.layers.0.initializer", {"layer": "flatten"}, "initializer must be Initializer"),
        ("network.layers", {"layer": "dense", "units": 3}, "layers must be"),
        ("network.loss", {"loss": "squared_error"}, "must have 3 outputs and SoftmaxCrossEntropy"),
        ("network", {"layer": "flatten"}, "must describe a network"),
        ("classes", ["a", "b"], "must have 1 outputs and Logistic"),
        ("classes", "abc", "classes: must be a valid list"),
        ("features", ["a"], "its columns must be different features"),
        ("network.inputs", [5], "its weights are"),
        ("preprocessing", [], "preprocessing: "),
        ("preprocessing.0.missing_indicators", [-1], "missing_indicators.0: "),
        ("preprocessing.0.categorical", {"a": {"columns": {"x": 5}, "other": -1, "missing": -1, "width": 2}}, "column"),
        ("input_format", {"separator": "ab"}, "input_format.separator: "),
        ("input_format", {"skip_footer": 1 << 30}, "input_format.skip_footer: "),
        ("about", {"metrics": {"val/loss": "low"}}, "about.metrics.val/loss: "),
        ("about", [[[[[[]]]]]] * 70, "about: "),
    ],
)
def test_content_out_of_bounds(folder: Path, path: str, value: Any, reason: str) -> None:
    content = json.loads((folder / "model.json").read_text("utf-8"))
    changed: Any = copy.deepcopy(content)
    *outer, last = path.split(".")
    inner = changed
    for key in outer:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    inner[last] = value
    assert reason in refused(folder, changed)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("theta", lambda a: np.full_like(a, np.nan), "must hold finite numbers"),
        ("theta", lambda a: a.astype(">f4"), "must be float32 or float64"),
        ("theta", lambda a: a.astype(np.int32), "must not be of the type int32"),
        ("theta", lambda a: a[:, :-1], "its weights are"),
        ("0_x_mean", lambda a: a[:-1], "must have 4 columns"),
        ("0_x_mean", lambda a: a * np.inf, "must hold finite numbers"),
        ("0_x_deviation", lambda a: a * 0, "must be positive"),
    ],
)
def test_arrays_out_of_bounds(folder: Path, name: str, change: Any, reason: str) -> None:
    content = json.loads((folder / "model.json").read_text("utf-8"))
    with np.load(folder / "weights.npz", allow_pickle=False) as file, np.errstate(all="ignore"):
        changed = change(file[name])
    assert reason in refused(folder, content, **{name: changed})


def test_units_are_one_for_each_fold() -> None:
    check_units([(0.0, 1.0), (2.0, 3.0)], 2)
    for units in ([(0.0, 1.0)], [(0.0, 1.0), (0.0, float("inf"))]):
        with pytest.raises(ValueError, match="finite offset and scale"):
            check_units(units, 2)
