"""A model as ONNX: in another's runtime the same rows get the same answers, for everything that is on a menu."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import paths
import pytest
from cases import run, small
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.activations import ACTIVATIONS
from engine.data.scaling import SCALERS, Quantile, Scaler
from engine.layers import (
    LAYERS,
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Maxout,
    MaxPool2d,
    MeanPool2d,
    PReLU,
    Residual,
    RReLU,
)
from engine.losses import LOSSES, Logistic, Loss, SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from hpsearch.data.dataset import prepare
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
from hpsearch.data.sources import SOURCES
from hpsearch.errors import DataError, OutputError
from hpsearch.models.export import build_model
from hpsearch.models.model import Model
from hpsearch.models.onnx import graph, save
from hpsearch.models.onnx.layers import LAYER_CONVERTERS, OUTPUT_FUNCTIONS
from hpsearch.models.onnx.rows import SCALER_CONVERTERS
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase

DATA = paths.DATA
CLOSE = 1e-5
SPLIT = 80  # rows to fit on; those behind them are new


def session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # an input that no node reads, of a column that becomes nothing, is meant
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def feeds(model: Model, x: Any) -> dict[str, Any]:
    """What the graph's inputs are given for rows as `Model.scores` takes them."""
    if not isinstance(x, Frame):
        return {"x": np.asarray(x, np.float64).reshape(len(x), *model.network.inputs)}
    given = {}
    for name in model.features:
        column = x.columns[name]
        if name in model.preprocessing[0].categorical:
            column = column.as_categorical()
            assert column.categories is not None
            given[name] = np.array([*column.categories, ""], object)[column.values][:, None]
        else:
            given[name] = column.values[:, None].astype(np.float64)
    return given


def answers(model: Model, x: Any) -> dict[str, Any]:
    """By name of the output; on the way, that the file is a sound one."""
    made = graph(model)
    onnx.checker.check_model(made, full_check=True)
    of_it = session(made.SerializeToString())
    return dict(zip([out.name for out in of_it.get_outputs()], of_it.run(None, feeds(model, x)), strict=True))


def agree(model: Model, x: Any) -> float:
    """Asserts that the answers are the model's, and returns how far off they are."""
    expected, found = model.scores(x), answers(model, x)
    if not model.classes:
        assert list(found) == ["prediction"] and found["prediction"].shape == (len(expected),)
        y = model.preprocessing[0].target_scaler
        unit = 1.0 if y is None else float(np.ptp(y.invert(np.array([[0.0], [1.0]]))))
        off = float(np.abs(found["prediction"] - expected[:, 0]).max(initial=0)) / unit
    else:
        assert list(found) == ["prediction", "probabilities"] and found["probabilities"].dtype == np.float32
        assert found["probabilities"].shape == (len(expected), len(model.classes))
        off = float(np.abs(found["probabilities"] - expected).max(initial=0))
        best = np.sort(expected, axis=1)
        clear = best[:, -1] - best[:, -2] > 2 * CLOSE
        assert found["prediction"].shape == (len(expected),)
        assert (found["prediction"][clear] == model.predict(x)[clear]).all()
    assert off <= CLOSE, off
    return off


def weights(net: Network, folds: int, seed: int = 1) -> Any:
    """As no training would leave them, with every bias, slope and running statistic somewhere else."""
    generator = np.random.default_rng(seed)
    theta = np.stack([net.initialize(generator, DTYPE) for _ in range(folds)])
    theta += generator.normal(0, 0.3, theta.shape)
    positive = [s for s in net.slices if s.parameter.name.endswith("variance")]
    for s in positive:
        theta[:, s.start : s.stop] = generator.uniform(0.2, 2, (folds, s.stop - s.start))
    return theta.astype(DTYPE)


def classes_of(loss: Loss, outputs: int) -> tuple[str, ...]:
    if not loss.classifies:
        return ()
    return tuple(f"class {k} ü" for k in range(2 if isinstance(loss, Logistic) else outputs))


def modeled(net: Network, folds: tuple[Preprocessing, ...], seed: int = 1) -> Model:
    return Model(net, weights(net, len(folds), seed), folds, classes_of(net.loss, net.outputs), {"study": "s"})


def of_arrays(net: Network, folds: int, scale: str = "none", seed: int = 0) -> tuple[Model, Any]:
    """A model of arrays, each fold fitted on other rows, and rows: those it was fitted on and others."""
    generator = np.random.default_rng(seed)
    features = int(np.prod(net.inputs))
    x = generator.normal(generator.normal(size=features), 2, (SPLIT * 3 // 2, features)).round(1)
    y = generator.normal(-300, 70, len(x))
    image = net.inputs if len(net.inputs) > 1 else None
    names = [f"f{k}" for k in range(features)]
    numbers = [np.arange(SPLIT)[k::folds] for k in range(folds)]
    regression = not net.loss.classifies
    return modeled(net, fit(x, y, names, {}, image, PreprocessingConfig(scale), numbers, regression=regression)), x


# --- layers, activations, losses

TANH = ACTIVATIONS["tanh"]()
FEATURES, IMAGES = (5,), (2, 7, 6)


def of_features(*layers: Layer) -> Network:
    return Network(FEATURES, (Dense(6), TANH, *layers, Dense(3)), SoftmaxCrossEntropy())


def of_images(*layers: Layer) -> Network:
    return Network(IMAGES, (*layers, Flatten(), Dense(3)), SoftmaxCrossEntropy())


LAYER_CASES: dict[str, tuple[Network, ...]] = {
    "dense": (of_features(Dense(4)), Network(FEATURES, (Dense(3),), SoftmaxCrossEntropy())),
    "dropout": (of_features(Dropout(0.4)), of_images(Dropout(0.4), TANH)),
    "flatten": (of_images(), of_features(Flatten())),
    "conv2d": (
        of_images(Conv2d(3, 2), TANH, Conv2d(4, (1, 3))),
        of_images(Conv2d(3, (2, 3), 2, 1), TANH),
        of_images(Conv2d(3, (7, 6))),
        of_images(Conv2d(1, 1, 3, 2)),
    ),
    "conv_transpose2d": (
        of_images(ConvTranspose2d(3, 2), TANH, Conv2d(2, 2, 2)),
        of_images(ConvTranspose2d(2, (3, 2), 2, 1), TANH),
        of_images(ConvTranspose2d(1, 1, 3)),
        of_images(ConvTranspose2d(3, 2, 1, 2)),
    ),
    "max_pool2d": (of_images(MaxPool2d(2)), of_images(MaxPool2d(3, 2)), of_images(Conv2d(3, 1), MaxPool2d(2, 3))),
    "mean_pool2d": (of_images(MeanPool2d(2)), of_images(MeanPool2d(3, 2)), of_images(Conv2d(3, 1), MeanPool2d(2, 3))),
    "batch_norm": (of_features(BatchNorm(0.3, 1e-2), TANH, BatchNorm()), of_images(BatchNorm(epsilon=0.1), TANH)),
    "residual": (
        of_features(Residual((Dense(4), TANH, Dense(6)))),
        of_features(Residual((BatchNorm(), TANH, Dense(4)), (Dropout(0.2), Dense(4), PReLU())), TANH),
        of_features(Residual((Residual((Dense(6), Dropout(0.4))), TANH))),
        of_images(Residual((Conv2d(2, 3, padding=1), BatchNorm(), TANH))),
    ),
    "maxout": (of_features(Maxout(4, 2)), of_features(Maxout(7, 3), TANH)),
    "prelu": (of_features(PReLU()), of_images(Conv2d(3, 2), PReLU(-0.3))),
    "rrelu": (of_features(RReLU(0.3, 0.9)), of_images(RReLU(), TANH)),
}


@pytest.mark.parametrize(
    ("registered", "converters", "place"),
    [
        (
            [*LAYERS.values(), *ACTIVATIONS.values()],
            LAYER_CONVERTERS,
            "LAYER_CONVERTERS in hpsearch/models/onnx/layers.py",
        ),
        ([*LOSSES.values()], OUTPUT_FUNCTIONS, "OUTPUT_FUNCTIONS in hpsearch/models/onnx/layers.py"),
        ([*SCALERS.values()], SCALER_CONVERTERS, "SCALER_CONVERTERS in hpsearch/models/onnx/rows.py"),
    ],
    ids=["layers", "losses", "scalers"],
)
def test_every_registered_component_has_a_converter(
    registered: list[Any], converters: dict[Any, Any], place: str
) -> None:
    names = ", ".join(sorted(kind.__name__ for kind in set(registered) - set(converters)))
    assert not names, f"no ONNX converter for {names}: add one to {place.format('hpsearch/models/onnx')}"
    assert set(converters) == set(registered)


def test_every_layer_has_cases() -> None:
    missing = sorted(set(LAYERS) - set(LAYER_CASES))
    assert not missing, (
        f"no ONNX cases for {missing}: add them to LAYER_CASES in tests/hpsearch/models/onnx/onnx_cases.py"
    )
    assert set(LAYER_CASES) == set(LAYERS)
    assert all(any(isinstance(layer, LAYERS[name]) for layer in net.layers) for name, (net, *_) in LAYER_CASES.items())


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(name: str, folds: int) -> None:
    for number, net in enumerate(LAYER_CASES[name]):
        agree(*of_arrays(net, folds, seed=number))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name: str) -> None:
    """Of features and of pixels; with a setting of its own where it has one; far from 0 too."""
    kind: Any = ACTIVATIONS[name]
    own = {"leaky_relu": {"slope": 0.3}, "elu": {"alpha": 0.4}}.get(name, {})
    for activation in (kind(), kind(**own)):
        agree(*of_arrays(of_features(activation), 3))
        agree(*of_arrays(of_images(Conv2d(3, 2), activation), 2))
        bare = Network((3,), (activation,), SquaredError())  # the function itself, of its first number
        model, _ = of_arrays(bare, 1)
        model = replace(model, preprocessing=(replace(model.preprocessing[0], input_scaler=None, target_scaler=None),))
        x = np.stack([np.linspace(-30, 30, 601)] * 3, axis=1) * [1, 0.5, -1]
        expected, found = model.scores(x)[:, 0], answers(model, x)["prediction"]
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)


SIZES_OF_OUTPUT = {"squared_error": (1, 2), "logistic": (1,), "softmax_cross_entropy": (3, 10)}


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize(("name", "outputs"), [(name, size) for name in LOSSES for size in SIZES_OF_OUTPUT[name]])
def test_every_loss(name: str, outputs: int, folds: int) -> None:
    """With every output layer that it may have."""
    loss = LOSSES[name]()
    ends: tuple[Layer, ...] = tuple(ACTIVATIONS[e]() for e in (() if loss.classifies else ("relu", "softplus")))
    for end in [(), *((e,) for e in ends)]:
        model, x = of_arrays(Network((4,), (Dense(8), TANH, Dense(outputs), *end), loss), folds)
        agree(model, x)
        bare = tuple(replace(p, target_scaler=None) for p in model.preprocessing)
        agree(replace(model, preprocessing=bare), x)


def test_certain_and_impossible_classes() -> None:
    """Logits of hundreds: nothing overflows."""
    for net in (of_features(), Network(FEATURES, (Dense(6), Dense(1)), Logistic())):
        model, x = of_arrays(net, 2)
        agree(replace(model, theta=model.theta * DTYPE.type(30)), x)


# --- rows


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("scale", SCALES)
def test_every_scaling_of_arrays_and_images(scale: str, folds: int) -> None:
    """Rows on the quantiles, between them and beyond; one image is one row of features for the model."""
    value = Network((4,), (Dense(5), TANH, Dense(1)), SquaredError())
    for net in (of_features(), of_images(Conv2d(2, 3), TANH), value):
        model, x = of_arrays(net, folds, scale)
        agree(model, np.concatenate([x, x + 0.05, 3 * x, x - 50, x + 50]))


# Rounded, as the engine's own slope between quantiles is infinite where they are less than 1e-308 apart.
VALUES = st.floats(-1e6, 1e6).map(lambda value: round(value, 9))
QUANTILES = st.lists(st.integers(-3, 3) | VALUES, min_size=1, max_size=12).map(sorted)


def applied(scaler: Scaler, other: Scaler | None, x: Any) -> Any:
    """A column through both scalers and nothing else, by ONNX."""
    net = Network((1,), (ACTIVATIONS["identity"](),), SquaredError())
    return answers(modeled(net, (Preprocessing(scaler, other, ("a",), ("a",)),)), x[:, None])["prediction"]


@given(QUANTILES, st.lists(st.floats(-2e6, 2e6), max_size=5))
@settings(max_examples=60, deadline=None)
def test_quantiles_with_ties_and_ends(quantiles: list[float], others: list[float]) -> None:
    """On every quantile, a hair beside it, between and beyond; and the way back."""
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
    """Only the standard one is used for them so far."""
    x = np.random.default_rng(0).normal(5, 3, 50)
    scaler = SCALERS[scale].fit(x[:, None])
    there = scaler.apply(x[:, None]).astype(DTYPE).astype(np.float64)
    assert np.allclose(applied(scaler, scaler, x), scaler.invert(there)[:, 0], rtol=1e-12)


def test_one_array_is_one_input() -> None:
    for net, shape in ((of_features(), [5]), (of_images(), [2, 7, 6])):
        model, x = of_arrays(net, 2)
        (only,) = session(graph(model).SerializeToString()).get_inputs()
        assert (only.name, only.type, only.shape) == ("x", "tensor(double)", ["rows", *shape])
        agree(model, x[:1])
        agree(model, x[:0])


# --- tables

SIZES, WORDS = ("size", "tiny", "gone"), ("who", "where", "code")


def table(rows: int = 120, seed: int = 0) -> Frame:
    """Numbers of which some are missing, all, none; names that are common, rare, only in the last rows; numbers as
    names."""
    generator = np.random.default_rng(seed)
    size = generator.normal(40, 9, rows).round()
    size[generator.random(rows) < 0.2] = np.nan
    who = generator.choice(7, rows, p=[0.4, 0.3, 0.1, 0.08, 0.06, 0.05, 0.01]) - 1  # −1 is missing
    where = generator.integers(0, 3, rows)
    where[SPLIT:] = generator.integers(-1, 5, rows - SPLIT)
    code = generator.integers(0, 3, rows).astype(np.float64)
    code[generator.random(rows) < 0.1] = np.nan
    columns = {
        "who": Column(who.astype(np.int32), ("a", "b", "c", "ü, 7", " ", "True")),
        "size": Column(size),
        "gone": Column(np.full(rows, np.nan)),
        "where": Column(where.astype(np.int32), ("x", "y", "z", "new", "newer")),
        "tiny": Column(generator.normal(1e-9, 1e-12, rows)),
        "code": Column(code).as_categorical(),
    }
    return Frame(columns)


def of_table(
    frame: Frame,
    config: PreprocessingConfig,
    folds: int = 1,
    loss: Loss | None = None,
    fitted: int = SPLIT,
    seed: int = 1,
) -> Model:
    """A model of it, each fold fitted on a share of its first rows."""
    loss = loss or SoftmaxCrossEntropy()
    rng = np.random.default_rng(seed)
    y = rng.normal(5e6, 2e6, len(frame))
    numbers = [np.arange(fitted)[k::folds] for k in range(folds)]
    found = fit(frame, y, tuple(frame.columns), {}, None, config, numbers, regression=not loss.classifies)
    outputs = 3 if isinstance(loss, SoftmaxCrossEntropy) else 1
    return modeled(Network((found[0].width,), (Dense(6), TANH, Dense(outputs)), loss), found, seed)


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("impute", IMPUTES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_way_to_prepare_a_table(scale: str, impute: str, folds: int) -> None:
    """Missing cells, names that are rare, unknown to all or to one fold, and more than there are columns for."""
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


def test_a_column_that_becomes_nothing() -> None:
    """All its names are missing, and no column says so; it is an input still, as it is a feature of the model."""
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


def test_unknown_and_missing_names_are_told_apart() -> None:
    """By the columns that they become, which differ from each other and from those of every known name."""
    frame = table()
    model = of_table(frame, PreprocessingConfig(min_frequency=8))
    of_it = session(graph(model).SerializeToString())
    given = {name: cells[:1] for name, cells in feeds(model, frame).items()}
    given["size"] = np.array([[40.0]])
    said = {}
    for who in ("a", "b", "", "nobody", "somebody"):
        said[who] = of_it.run(["probabilities"], given | {"who": np.array([[who]], object)})[0].tobytes()
    assert said["nobody"] == said["somebody"] and len(set(said.values())) == 4
    for size in (np.nan, float(model.preprocessing[0].fill_values[0])):  # type: ignore[index]
        said[str(size)] = of_it.run(["probabilities"], given | {"size": np.array([[size]])})[0].tobytes()
    assert len(set(said.values())) == 6


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5).map(category_name).filter(bool)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_table(data: st.DataObject) -> None:
    """Any names of columns and in them, any numbers, missing cells anywhere, any config, rows not seen in training."""
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


# --- the file


def test_names_that_columns_have_too() -> None:
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


def test_what_the_file_says(tmp_path: Path) -> None:
    model, x = of_arrays(of_features(), 1)
    model = replace(model, about={"study": "s", "trial": "coarse/3", "version": "0.9"})
    save(model, tmp_path / "deep" / "model.onnx")
    onnx.checker.check_model(tmp_path / "deep" / "model.onnx", full_check=True)
    of_it = session((tmp_path / "deep" / "model.onnx").read_bytes())
    meta = of_it.get_modelmeta()
    assert json.loads(meta.custom_metadata_map["classes"]) == list(model.classes)
    assert (meta.custom_metadata_map["study"], meta.custom_metadata_map["trial"]) == ("s", "coarse/3")
    assert meta.producer_name == "hpsearch" and "`prediction`" in meta.description
    made = onnx.load(tmp_path / "deep" / "model.onnx")
    assert made.ir_version == 10 and made.producer_version == "0.9"
    assert (made == graph(model)) and of_it.run(["prediction"], {"x": x})[0].tolist() == model.predict(x).tolist()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("onnx", "onnx.helper", "onnx.numpy_helper"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(OutputError, match=r"needs the package onnx: pip install 'hpsearch\[onnx\]'"):
        save(of_arrays(of_features(), 1)[0], tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "model.onnx", tmp_path):
        with pytest.raises(OutputError, match="cannot be written"):
            save(of_arrays(of_features(), 1)[0], place)


# --- whole studies, real data


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "diabetes"])
def test_a_champion(name: str, tmp_path: Path) -> None:
    changes = {"train.epochs": 3, "stages.0.trials": 3, "stages.1.trials": 1}
    spec = small(**changes, **{"data": {"source": "sklearn", "name": name}})
    dataset, [folds] = prepare(spec.data, spec.seed, tmp_path)
    study = run(spec, dataset, tmp_path / "small.db")
    storage = StudyDatabase.open(url_of(str(tmp_path / "small.db")), create=False)
    (stored,) = storage.weights.load().values()
    storage.close()
    assert study.best is not None and stored is not None
    agree(build_model(spec, dataset, folds, study.best, stored.weights), spec.data.load().x)


REAL: dict[str, dict[str, Any]] = {
    "titanic": {"source": "csv", "path": "titanic.csv", "target": "survived", "drop": ["alive"]},
    "california": {"source": "csv", "path": "california.csv", "target": "median_house_value"},
    "german": {"source": "csv", "path": "german.csv", "target": -1, "header": False},
    "adult": {"source": "csv", "path": "adult-test.csv", "target": -1, "header": False, "missing": ["?"]},
    "phoneme": {"source": "csv", "path": "phoneme.csv", "target": -1, "header": False, "task": "classification"},
}


@pytest.mark.parametrize("scale", ["standard", "quantile"])
@pytest.mark.parametrize("name", REAL)
def test_real_tables(name: str, scale: str) -> None:
    """Three folds on the first rows, rare names together; predictions for all rows."""
    content = REAL[name] | {"path": str(DATA / REAL[name]["path"])}
    if not Path(content["path"]).exists():
        pytest.skip(f"there is no {content['path']}")
    read = SOURCES["csv"].model_validate(content).load()
    assert isinstance(read.x, Frame)
    loss = (Logistic() if len(read.classes) == 2 else SoftmaxCrossEntropy()) if read.classes else SquaredError()
    agree(of_table(read.x, PreprocessingConfig(scale, min_frequency=5, max_categories=20), 3, loss, fitted=600), read.x)


def test_real_images() -> None:
    """LeNet-5 on MNIST, of two folds."""
    if not (DATA / "mnist.npz").exists():
        pytest.skip(f"there is no {DATA / 'mnist.npz'}")
    with np.load(DATA / "mnist.npz", allow_pickle=False) as file:
        x = file["Xte"][:600].reshape(-1, 784).astype(np.float64)
    relu = ACTIVATIONS["relu"]()
    layers = (Conv2d(6, 5, padding=2), relu, MaxPool2d(2), Conv2d(16, 5), relu, MeanPool2d(2), Flatten(), Dense(84))
    net = Network((1, 28, 28), (*layers, BatchNorm(), relu, Dropout(0.5), Dense(10)), SoftmaxCrossEntropy())
    numbers = [np.arange(0, 300, 2), np.arange(1, 300, 2)]
    folds = fit(
        x,
        np.zeros(len(x)),
        [str(k) for k in range(784)],
        {},
        net.inputs,
        PreprocessingConfig(),
        numbers,
        regression=False,
    )
    theta = np.stack([net.initialize(np.random.default_rng(seed), DTYPE) for seed in (1, 2)])
    agree(Model(net, theta, folds, tuple("0123456789"), {}), x)
