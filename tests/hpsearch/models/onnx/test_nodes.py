"""ONNX graphs: generated names, and the message without the library."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hpsearch.data.frame import Frame
from hpsearch.data.preprocessing import (
    PreprocessingConfig,
)
from hpsearch.errors import DataError, OutputError
from hpsearch.models.onnx import graph, save
from tests.hpsearch.models.onnx.onnx_cases import (
    CLOSE,
    answers,
    of_arrays,
    of_features,
    of_table,
    table,
)


def test_names_of_columns_that_collide() -> None:
    frame = table()
    taken = ("prediction", "probabilities", "probabilities_", "_constant_0", "_Gather_3", "x y/ü\n")
    renamed = Frame(dict(zip(taken, frame.columns.values(), strict=True)))
    model = of_table(renamed, PreprocessingConfig(), 2)
    found, expected = answers(model, renamed), model.scores(renamed)
    assert list(found) == ["prediction_", "probabilities__"]
    assert np.abs(found["probabilities__"] - expected).max() <= CLOSE
    nameless = Frame({"": frame.columns["size"]})
    with pytest.raises(DataError, match="a column without a name cannot be an ONNX input"):
        graph(of_table(nameless, PreprocessingConfig()))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("onnx", "onnx.helper", "onnx.numpy_helper"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(OutputError, match=r"needs the package onnx: pip install 'hpsearch\[onnx\]'"):
        save(of_arrays(of_features(), 1)[0], tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
