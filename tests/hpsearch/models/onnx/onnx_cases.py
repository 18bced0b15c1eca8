"""Models with arbitrary weights, and their outputs in onnxruntime compared with their predictions."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime

from engine.activations import ACTIVATIONS
from engine.layers import (
    Dense,
    Flatten,
    Layer,
)
from engine.losses import Logistic, Loss, SoftmaxCrossEntropy
from engine.network import Network
from hpsearch.data.frame import Column, Frame
from hpsearch.data.preprocessing import (
    DTYPE,
    Preprocessing,
    PreprocessingConfig,
    fit,
)
from hpsearch.models.members import Member
from hpsearch.models.model import Model
from hpsearch.models.onnx import graph
from hpsearch.models.predictors.network import NetworkPredictor

CLOSE = 1e-5
SPLIT = 80  # training rows; the rows after them are new


def session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # no warning for a column without output columns, which no node reads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def feeds(model: Model, x: Any) -> dict[str, Any]:
    """Return the inputs of the graph for rows as `Model.scores` takes them."""
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
    """Check the graph and return its outputs by name."""
    made = graph(model)
    onnx.checker.check_model(made, full_check=True)
    of_it = session(made.SerializeToString())
    return dict(zip([out.name for out in of_it.get_outputs()], of_it.run(None, feeds(model, x)), strict=True))


def agree(model: Model, x: Any) -> float:
    """Assert that the outputs are those of the model, and return the largest difference."""
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
    """Return random weights `(folds, parameters)`, also for biases, slopes and running statistics."""
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
    return Model(
        NetworkPredictor(net, weights(net, len(folds), seed)), folds, classes_of(net.loss, net.outputs), {"study": "s"}
    )


def of_arrays(net: Network, folds: int, scale: str = "none", seed: int = 0) -> tuple[Model, Any]:
    """Return a model of arrays, with each fold fitted on other rows, and training and new rows."""
    generator = np.random.default_rng(seed)
    features = int(np.prod(net.inputs))
    x = generator.normal(generator.normal(size=features), 2, (SPLIT * 3 // 2, features)).round(1)
    y = generator.normal(-300, 70, len(x))
    image = net.inputs if len(net.inputs) > 1 else None
    names = [f"f{k}" for k in range(features)]
    numbers = [np.arange(SPLIT)[k::folds] for k in range(folds)]
    regression = not net.loss.classifies
    return modeled(net, fit(x, y, names, {}, image, PreprocessingConfig(scale), numbers, regression=regression)), x


TANH = ACTIVATIONS["tanh"]()
FEATURES, IMAGES = (5,), (2, 7, 6)


def of_features(*layers: Layer) -> Network:
    return Network(FEATURES, (Dense(6), TANH, *layers, Dense(3)), SoftmaxCrossEntropy())


def of_images(*layers: Layer) -> Network:
    return Network(IMAGES, (*layers, Flatten(), Dense(3)), SoftmaxCrossEntropy())


SIZES, WORDS = ("size", "tiny", "gone"), ("who", "where", "code")


def table(rows: int = 120, seed: int = 0) -> Frame:
    """Return a table: numeric columns with some, all or no cells missing; common, rare and new categories; categories
    that are numbers."""
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
    """Return a model of a table, with each fold fitted on a part of its first rows."""
    loss = loss or SoftmaxCrossEntropy()
    rng = np.random.default_rng(seed)
    y = rng.normal(5e6, 2e6, len(frame))
    numbers = [np.arange(fitted)[k::folds] for k in range(folds)]
    found = fit(frame, y, tuple(frame.columns), {}, None, config, numbers, regression=not loss.classifies)
    outputs = 3 if isinstance(loss, SoftmaxCrossEntropy) else 1
    return modeled(Network((found[0].width,), (Dense(6), TANH, Dense(outputs)), loss), found, seed)


def joined(*models: Model) -> Model:
    """Return the ensemble of some models, the first counted once, the second twice, and so on."""
    others = [Member(m.predictor, m.preprocessing, count) for count, m in enumerate(models[1:], 2)]
    return replace(models[0], others=tuple(others))
