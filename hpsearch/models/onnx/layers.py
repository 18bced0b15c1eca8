"""Layers, activations and output functions as nodes, at inference; each takes and makes `(folds, rows, …)`, float32."""

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
class Trained:
    """A layer in its place.

    Attributes:
        layer: one of the menus'.
        inputs: shape of one row that comes in.
        theta: `(folds, numbers)`, all of its parameters.
    """

    layer: Any
    inputs: Shape
    theta: Floats

    @property
    def outputs(self) -> Shape:
        """Of one row that goes out."""
        shape: Shape = self.layer.outputs(self.inputs)
        return shape

    def parameter(self, name: str) -> Floats:
        """`(folds, *shape)`."""
        slices = Chain(self.inputs, (self.layer,)).slices
        return view(self.theta, next(s for s in slices if s.parameter.name == name))

    def across(self, values: Floats) -> Floats:
        """Numbers of each feature or channel, `(folds, channels)`, shaped to spread over the rows that come in."""
        return values.reshape(len(values), 1, -1, *(1,) * (len(self.inputs) - 1))


Converter = Callable[[Nodes, Trained, str], str]


def chain(nodes: Nodes, layers: Chain, theta: Floats, x: str) -> str:
    """Layers one after another; theta is `(folds, numbers)`."""
    for number, layer in enumerate(layers.layers):
        own = [s for s in layers.slices if s.layer == number]
        columns = slice(own[0].start, own[-1].stop) if own else slice(0)
        x = CONVERTERS[type(layer)](nodes, Trained(layer, layers.shapes[number], theta[:, columns]), x)
    return x


def _dense(nodes: Nodes, it: Trained, x: str) -> str:
    return nodes("Add", nodes("MatMul", x, it.parameter("W")), it.parameter("b")[:, None])


def _maxout(nodes: Nodes, it: Trained, x: str) -> str:
    by_piece = np.array([0, 0, it.layer.pieces, it.layer.units])  # 0: as it is
    return nodes("ReduceMax", nodes("Reshape", _dense(nodes, it, x), by_piece), np.array([2]), keepdims=0)


def _batch_norm(nodes: Nodes, it: Trained, x: str) -> str:
    gamma, beta, mean, variance = (it.across(it.parameter(name)) for name in ("gamma", "beta", "mean", "variance"))
    scale = gamma / np.sqrt(variance + it.theta.dtype.type(it.layer.epsilon))
    return nodes("Add", nodes("Mul", nodes("Sub", x, mean), scale), beta)


def _residual(nodes: Nodes, it: Trained, x: str) -> str:
    inner, around = Chain(it.inputs, it.layer.layers), Chain(it.inputs, it.layer.shortcut)
    made = chain(nodes, inner, it.theta[:, : inner.size], x)
    return nodes("Add", made, chain(nodes, around, it.theta[:, inner.size :], x))


def _prelu(nodes: Nodes, it: Trained, x: str) -> str:
    return nodes("PRelu", x, it.across(it.parameter("slope")))


def _flatten(nodes: Nodes, it: Trained, x: str) -> str:
    return nodes("Reshape", x, np.array([0, 0, prod(it.inputs)]))


def _convolution(kind: str) -> Converter:
    """Of each fold apart: ONNX has one set of filters for all rows."""

    def convert(nodes: Nodes, it: Trained, x: str) -> str:
        layer, weights, bias = it.layer, it.parameter("W"), it.parameter("b")
        settings = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
        settings["kernel_shape"] = list(pair(kind, layer.kernel))
        each = zip(nodes.apart(x, len(weights)), weights, bias, strict=True)
        return nodes.together([nodes(kind, rows, w, b, **settings) for rows, w, b in each])

    return convert


def _pooling(kind: str) -> Converter:
    """All folds' rows together: `(folds · rows, channels, height, width)`."""

    def convert(nodes: Nodes, it: Trained, x: str) -> str:
        size, stride = it.layer.size, it.layer.size if it.layer.stride is None else it.layer.stride
        flat = nodes("Reshape", x, np.array([-1, *it.inputs]))
        pooled = nodes(kind, flat, kernel_shape=[size] * 2, strides=[stride] * 2)
        return nodes("Reshape", pooled, np.array([len(it.theta), -1, *it.outputs]))

    return convert


def _function(kind: str, **settings: Callable[[Any], float]) -> Converter:
    """One node, with the layer's settings under ONNX's names."""
    return lambda nodes, it, x: nodes(kind, x, **{name: value(it.layer) for name, value in settings.items()})


def _nothing(nodes: Nodes, it: Trained, x: str) -> str:
    return x


CONVERTERS: dict[type[Layer], Converter] = {
    Dense: _dense,
    Dropout: _nothing,
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
    Identity: _nothing,
    Sigmoid: _function("Sigmoid"),
    Tanh: _function("Tanh"),
    ReLU: _function("Relu"),
    LeakyReLU: _function("LeakyRelu", alpha=lambda layer: layer.slope),
    ELU: _function("Elu", alpha=lambda layer: layer.alpha),
    Softplus: _function("Softplus"),
    Softmax: _function("Softmax", axis=lambda layer: 2),  # features, or the channels of each pixel
}

OUTPUTS: dict[type[Loss], Callable[[Nodes, str], str]] = {  # a loss → its output function
    SquaredError: lambda nodes, x: x,
    Logistic: lambda nodes, x: nodes("Sigmoid", x),
    SoftmaxCrossEntropy: lambda nodes, x: nodes("Softmax", x, axis=-1),
}
