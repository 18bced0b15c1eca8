"""ONNX converters: each layer, activation and loss has the outputs of the engine in onnxruntime."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.activations import ACTIVATIONS
from engine.data.scaling import SCALERS
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
from engine.losses import LOSSES, Logistic, SoftmaxCrossEntropy, SquaredError
from engine.network import Network
from hpsearch.data.preprocessing import (
    DTYPE,
)
from hpsearch.models.onnx.layers import LAYER_CONVERTERS, OUTPUT_FUNCTIONS
from hpsearch.models.onnx.rows import SCALER_CONVERTERS
from hpsearch.models.predictors.network import NetworkPredictor
from tests.hpsearch.models.onnx.onnx_cases import (
    FEATURES,
    TANH,
    agree,
    answers,
    of_arrays,
    of_features,
    of_images,
)

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
def test_all_registered_have_a_converter(registered: list[Any], converters: dict[Any, Any], place: str) -> None:
    names = ", ".join(sorted(kind.__name__ for kind in set(registered) - set(converters)))
    assert not names, f"no ONNX converter for {names}: add one to {place}"
    assert set(converters) == set(registered)


def test_every_layer_has_cases() -> None:
    missing = sorted(set(LAYERS) - set(LAYER_CASES))
    assert not missing, (
        f"no ONNX cases for {missing}: add them to LAYER_CASES in tests/hpsearch/models/onnx/test_layers.py"
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
    """For features and pixels, with the default setting and another one, and far from 0."""
    kind: Any = ACTIVATIONS[name]
    own = {"leaky_relu": {"slope": 0.3}, "elu": {"alpha": 0.4}}.get(name, {})
    for activation in (kind(), kind(**own)):
        agree(*of_arrays(of_features(activation), 3))
        agree(*of_arrays(of_images(Conv2d(3, 2), activation), 2))
        bare = Network((3,), (activation,), SquaredError())  # the function itself, of the first feature
        model, _ = of_arrays(bare, 1)
        model = replace(model, preprocessing=(replace(model.preprocessing[0], input_scaler=None, target_scaler=None),))
        x = np.stack([np.linspace(-30, 30, 601)] * 3, axis=1) * [1, 0.5, -1]
        expected, found = model.scores(x)[:, 0], answers(model, x)["prediction"]
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)


SIZES_OF_OUTPUT = {"squared_error": (1, 2), "logistic": (1,), "softmax_cross_entropy": (3, 10)}


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize(("name", "outputs"), [(name, size) for name in LOSSES for size in SIZES_OF_OUTPUT[name]])
def test_every_loss(name: str, outputs: int, folds: int) -> None:
    """With each output activation."""
    loss = LOSSES[name]()
    ends: tuple[Layer, ...] = tuple(ACTIVATIONS[e]() for e in (() if loss.classifies else ("relu", "softplus")))
    for end in [(), *((e,) for e in ends)]:
        model, x = of_arrays(Network((4,), (Dense(8), TANH, Dense(outputs), *end), loss), folds)
        agree(model, x)
        bare = tuple(replace(p, target_scaler=None) for p in model.preprocessing)
        agree(replace(model, preprocessing=bare), x)


def test_large_logits() -> None:
    """Logits of hundreds do not overflow."""
    for net in (of_features(), Network(FEATURES, (Dense(6), Dense(1)), Logistic())):
        model, x = of_arrays(net, 2)
        agree(replace(model, predictor=NetworkPredictor(model.network, model.theta * DTYPE.type(30))), x)
