"""Preprocessing in ONNX: each scaler and encoding has the outputs of the model in onnxruntime."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.activations import ACTIVATIONS
from engine.data.scaling import SCALERS, Quantile, Scaler
from engine.layers import (
    Conv2d,
    Dense,
)
from engine.losses import Logistic, SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from hpsearch.data.frame import Column, Frame, category_name
from hpsearch.data.preprocessing import (
    DTYPE,
    IMPUTES,
    SCALES,
    CategoryEncoding,
    Preprocessing,
    PreprocessingConfig,
    fit,
)
from hpsearch.models.onnx import graph
from tests.hpsearch.models.onnx.onnx_cases import (
    CLOSE,
    SIZES,
    TANH,
    WORDS,
    agree,
    answers,
    feeds,
    modeled,
    of_arrays,
    of_features,
    of_images,
    of_table,
    session,
    table,
)


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("scale", SCALES)
def test_every_scaling_of_arrays_and_images(scale: str, folds: int) -> None:
    """Rows at the quantiles, between and beyond them; the model takes images as rows of features."""
    value = Network((4,), (Dense(5), TANH, Dense(1)), SquaredError())
    for net in (of_features(), of_images(Conv2d(2, 3), TANH), value):
        model, x = of_arrays(net, folds, scale)
        agree(model, np.concatenate([x, x + 0.05, 3 * x, x - 50, x + 50]))


# Rounded, as the engine's own slope between quantiles is infinite where they are less than 1e-308 apart.
VALUES = st.floats(-1e6, 1e6).map(lambda value: round(value, 9))
QUANTILES = st.lists(st.integers(-3, 3) | VALUES, min_size=1, max_size=12).map(sorted)


def applied(scaler: Scaler, other: Scaler | None, x: Any) -> Any:
    """Return a column after both scalers, computed by ONNX."""
    net = Network((1,), (ACTIVATIONS["identity"](),), SquaredError())
    return answers(modeled(net, (Preprocessing(scaler, other, ("a",), ("a",)),)), x[:, None])["prediction"]


@given(QUANTILES, st.lists(st.floats(-2e6, 2e6), max_size=5))
@settings(max_examples=60, deadline=None)
def test_quantiles_with_ties_and_ends(quantiles: list[float], others: list[float]) -> None:
    """At each quantile, just beside it, between and beyond; and the inverse."""
    q = np.array(quantiles, np.float64)
    x = np.concatenate(
        [q, np.nextafter(q, np.inf), np.nextafter(q, -np.inf), (q[1:] + q[:-1]) / 2, others, [-9e9, 9e9]]
    )
    scaler = Quantile(q[:, None])
    expected = scaler.apply(x[:, None])
    assert np.allclose(applied(scaler, None, x), expected[:, 0], rtol=0, atol=1e-6)
    back = scaler.invert(expected.astype(DTYPE).astype(np.float64))[:, 0]
    assert np.allclose(applied(scaler, scaler, x), back, rtol=1e-9, atol=1e-6 * max(1, np.ptp(q)))


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 7, 8, 9, 1000])
def test_quantiles_of_every_number(levels: int) -> None:
    q = np.sort(np.random.default_rng(levels).normal(size=levels).round(2))
    x = np.concatenate([q, q + 0.003, [-9, 9, np.inf, -np.inf]])
    assert np.allclose(applied(Quantile(q[:, None]), None, x), Quantile(q[:, None]).apply(x[:, None])[:, 0], atol=1e-6)


@pytest.mark.parametrize("scale", SCALERS)
def test_every_scaler_of_targets(scale: str) -> None:
    """All scalers invert, although studies use only the standard one for targets."""
    x = np.random.default_rng(0).normal(5, 3, 50)
    scaler = SCALERS[scale].fit(x[:, None])
    there = scaler.apply(x[:, None]).astype(DTYPE).astype(np.float64)
    assert np.allclose(applied(scaler, scaler, x), scaler.invert(there)[:, 0], rtol=1e-12)


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("impute", IMPUTES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_preprocessing_of_a_table(scale: str, impute: str, folds: int) -> None:
    """Missing cells, and categories that are rare, unknown to all or one fold, or above the maximum number."""
    frame = table()
    for rare, categories in ((1, 100), (8, 100), (1, 2)):
        model = of_table(frame, PreprocessingConfig(scale, impute, rare, categories), folds)
        agree(model, frame)
    for loss in (Logistic(), SquaredError()):
        agree(of_table(frame, PreprocessingConfig(scale, impute, 3), folds, loss), frame)


def test_tables_of_one_kind_and_of_one_row() -> None:
    for kind in (SIZES, WORDS, ("gone",), ("where",)):
        frame = Frame({name: column for name, column in table().columns.items() if name in kind})
        for folds in (1, 3):
            model = of_table(frame, PreprocessingConfig(), folds)
            for rows in (slice(None), slice(5, 6), slice(0)):
                agree(model, frame.take(rows))


def test_a_column_without_output_columns() -> None:
    """A column with only missing cells and no column for them is still an input, as it is a feature of the model."""
    frame = table()
    columns = {**frame.columns, "none": Column(np.full(len(frame), -1, np.int32), ())}
    model = of_table(Frame(columns), PreprocessingConfig(impute="median"))
    assert model.preprocessing[0].categorical["none"] == CategoryEncoding({}, -1, -1, 0)
    agree(model, Frame(columns))
    assert "none" in {i.name for i in session(graph(model).SerializeToString()).get_inputs()}


def test_inputs_of_a_table() -> None:
    model = of_table(table(), PreprocessingConfig())
    found = {i.name: (i.type, i.shape) for i in session(graph(model).SerializeToString()).get_inputs()}
    assert tuple(found) == model.features
    number, name = ("tensor(double)", ["rows", 1]), ("tensor(string)", ["rows", 1])
    assert found == {c: name if c in WORDS else number for c in model.features}


def test_unknown_and_missing_categories_differ() -> None:
    """Unknown and missing categories have different output columns, and other ones than known categories."""
    frame = table()
    model = of_table(frame, PreprocessingConfig(min_frequency=8))
    of_it = session(graph(model).SerializeToString())
    given = {name: cells[:1] for name, cells in feeds(model, frame).items()}
    given["size"] = np.array([[40.0]])
    said = {}
    for who in ("a", "b", "", "unknown", "other"):
        said[who] = of_it.run(["probabilities"], given | {"who": np.array([[who]], object)})[0].tobytes()
    assert said["unknown"] == said["other"] and len(set(said.values())) == 4
    for size in (np.nan, float(model.preprocessing[0].fill_values[0])):  # type: ignore[index]
        said[str(size)] = of_it.run(["probabilities"], given | {"size": np.array([[size]])})[0].tobytes()
    assert len(set(said.values())) == 6


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5).map(category_name).filter(bool)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_table(data: st.DataObject) -> None:
    """Any column names, categories, numbers, missing cells and settings; new rows."""
    rows, fitted = data.draw(st.integers(4, 12)), data.draw(st.integers(2, 4))
    columns = {}
    titles = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
    own = st.sampled_from(["prediction", "probabilities", "prediction_", "_Concat_0", "_constant_1", "__Concat_0", "x"])
    for title in data.draw(st.lists(titles | own, min_size=1, max_size=4, unique=True)):
        if data.draw(st.booleans()):
            known = data.draw(st.lists(CELLS, min_size=1, max_size=5, unique=True))
            codes = st.integers(-1, len(known) - 1)
            values: Any = np.array(data.draw(st.lists(codes, min_size=rows, max_size=rows)), np.int32)
            columns[title] = Column(values, tuple(known))
        else:
            cells = st.integers(-3, 3).map(float) | VALUES | st.just(float("nan"))
            columns[title] = Column(np.array(data.draw(st.lists(cells, min_size=rows, max_size=rows))))
    config = PreprocessingConfig(
        data.draw(st.sampled_from([*SCALES])),
        data.draw(st.sampled_from([*IMPUTES])),
        data.draw(st.integers(1, 3)),
        data.draw(st.integers(2, 4)),
    )
    frame = Frame(columns)
    folds = data.draw(st.integers(1, 2))
    numbers = [np.arange(fitted)[k::folds] for k in range(folds)]
    found = fit(frame, np.zeros(rows), tuple(columns), {}, None, config, numbers, regression=False)
    if not found[0].width:
        return
    model = modeled(Network((found[0].width,), (Dense(3),), SoftmaxCrossEntropy()), found)
    size = max(1.0, *(float(np.abs(p.inputs(frame, ()) @ np.ones(p.width, DTYPE)).max()) for p in found))
    expected, got = model.scores(frame), answers(model, frame)
    (probabilities,) = (value for name, value in got.items() if name.rstrip("_") == "probabilities")
    assert np.abs(probabilities - expected).max() <= CLOSE * size
