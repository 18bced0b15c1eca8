"""Converters of layers, activations and output functions at inference; their values are `(folds, rows, …)`, float32.

A new layer or activation of the engine needs an entry in `LAYER_CONVERTERS`; a new loss, one in `OUTPUT_FUNCTIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, final

import numpy as np

from engine.activations import ELU, Identity, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from engine.layers import (
    BatchNorm,
    Chain,
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
from engine.layers.chain import view
from engine.layers.convolution.im2col import pair
from engine.losses import Logistic, Loss, SoftmaxCrossEntropy, SquaredError
from engine.types import Floats, Shape
from hpsearch.models.onnx.nodes import Nodes


@final
@dataclass(frozen=True, eq=False)
class TrainedLayer:
    """A layer with its input shape and its parameters.

    Attributes:
        layer: a class of the registries of layers and activations.
        inputs: input shape of one row.
        theta: `(folds, parameters)`.
    """

    layer: Any
    inputs: Shape
    theta: Floats

    @property
    def outputs(self) -> Shape:
        """Output shape of one row."""
        shape: Shape = self.layer.outputs(self.inputs)
        return shape

    def parameter(self, name: str) -> Floats:
        """Return a parameter by name, `(folds, *shape)`."""
        slices = Chain(self.inputs, (self.layer,)).slices
        return view(self.theta, next(s for s in slices if s.parameter.name == name))

    def by_channel(self, values: Floats) -> Floats:
        """Reshape a value per feature or channel, `(folds, channels)`, to broadcast over the input rows."""
        return values.reshape(len(values), 1, -1, *(1,) * (len(self.inputs) - 1))


Converter = Callable[[Nodes, TrainedLayer, str], str]


def convert_chain(nodes: Nodes, layers: Chain, theta: Floats, x: str) -> str:
    """Add the nodes of consecutive layers and return the name of their output; theta is `(folds, parameters)`."""
    for number, layer in enumerate(layers.layers):
        own = [s for s in layers.slices if s.layer == number]
        columns = slice(own[0].start, own[-1].stop) if own else slice(0)
        x = LAYER_CONVERTERS[type(layer)](nodes, TrainedLayer(layer, layers.shapes[number], theta[:, columns]), x)
    return x


def _dense(nodes: Nodes, it: TrainedLayer, x: str) -> str:
    return nodes("Add", nodes("MatMul", x, it.parameter("W")), it.parameter("b")[:, None])


def _maxout(nodes: Nodes, it: TrainedLayer, x: str) -> str:
    by_piece = np.array([0, 0, it.layer.pieces, it.layer.units])  # 0 keeps the input's size
    return nodes("ReduceMax", nodes("Reshape", _dense(nodes, it, x), by_piece), np.array([2]), keepdims=0)


def _batch_norm(nodes: Nodes, it: TrainedLayer, x: str) -> str:
    gamma, beta, mean, variance = (it.by_channel(it.parameter(name)) for name in ("gamma", "beta", "mean", "variance"))
    scale = gamma / np.sqrt(variance + it.theta.dtype.type(it.layer.epsilon))
    return nodes("Add", nodes("Mul", nodes("Sub", x, mean), scale), beta)


def _residual(nodes: Nodes, it: TrainedLayer, x: str) -> str:
    inner, shortcut = Chain(it.inputs, it.layer.layers), Chain(it.inputs, it.layer.shortcut)
    y = convert_chain(nodes, inner, it.theta[:, : inner.size], x)
    return nodes("Add", y, convert_chain(nodes, shortcut, it.theta[:, inner.size :], x))


def _prelu(nodes: Nodes, it: TrainedLayer, x: str) -> str:
    return nodes("PRelu", x, it.by_channel(it.parameter("slope")))


def _flatten(nodes: Nodes, it: TrainedLayer, x: str) -> str:
    return nodes("Reshape", x, np.array([0, 0, prod(it.inputs)]))


def _convolution(kind: str) -> Converter:
    """Convert each fold separately: an ONNX convolution has the same filters for all rows."""

    def convert(nodes: Nodes, it: TrainedLayer, x: str) -> str:
        layer, weights, bias = it.layer, it.parameter("W"), it.parameter("b")
        settings = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
        settings["kernel_shape"] = list(pair(kind, layer.kernel))
        each = zip(nodes.unstack(x, len(weights)), weights, bias, strict=True)
        return nodes.stack([nodes(kind, rows, w, b, **settings) for rows, w, b in each])

    return convert


def _pooling(kind: str) -> Converter:
    """Pool the rows of all folds as one batch, `(folds · rows, channels, height, width)`."""

    def convert(nodes: Nodes, it: TrainedLayer, x: str) -> str:
        size, stride = it.layer.size, it.layer.size if it.layer.stride is None else it.layer.stride
        flat = nodes("Reshape", x, np.array([-1, *it.inputs]))
        pooled = nodes(kind, flat, kernel_shape=[size] * 2, strides=[stride] * 2)
        return nodes("Reshape", pooled, np.array([len(it.theta), -1, *it.outputs]))

    return convert


def _function(kind: str, **settings: Callable[[Any], float]) -> Converter:
    """Convert to one node, with settings of the layer as ONNX attributes."""
    return lambda nodes, it, x: nodes(kind, x, **{name: value(it.layer) for name, value in settings.items()})


def _identity(nodes: Nodes, it: TrainedLayer, x: str) -> str:
    return x


LAYER_CONVERTERS: dict[type[Layer], Converter] = {
    Dense: _dense,
    Dropout: _identity,
    Flatten: _flatten,
    Conv2d: _convolution("Conv"),
    ConvTranspose2d: _convolution("ConvTranspose"),
    MaxPool2d: _pooling("MaxPool"),
    MeanPool2d: _pooling("AveragePool"),
    BatchNorm: _batch_norm,
    Residual: _residual,
    Maxout: _maxout,
    PReLU: _prelu,
    RReLU: _function("LeakyRelu", alpha=lambda layer: (layer.low + layer.high) / 2),
    Identity: _identity,
    Sigmoid: _function("Sigmoid"),
    Tanh: _function("Tanh"),
    ReLU: _function("Relu"),
    LeakyReLU: _function("LeakyRelu", alpha=lambda layer: layer.slope),
    ELU: _function("Elu", alpha=lambda layer: layer.alpha),
    Softplus: _function("Softplus"),
    Softmax: _function("Softmax", axis=lambda layer: 2),  # features, or channels of each pixel
}

OUTPUT_FUNCTIONS: dict[type[Loss], Callable[[Nodes, str], str]] = {  # of each loss
    SquaredError: lambda nodes, x: x,
    Logistic: lambda nodes, x: nodes("Sigmoid", x),
    SoftmaxCrossEntropy: lambda nodes, x: nodes("Softmax", x, axis=-1),
}
