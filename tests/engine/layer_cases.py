"""Networks that contain every layer of the registry at least once, for the contract tests of layers."""

from dataclasses import dataclass
from math import prod
from typing import final

from engine.activations import ACTIVATIONS
from engine.initializers import XavierNormal
from engine.layers import (
    BatchNorm,
    Bound,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Maxout,
    MaxPool2d,
    MeanPool2d,
    Parameter,
    Place,
    PReLU,
    Residual,
    RReLU,
)
from engine.losses import SoftmaxCrossEntropy
from engine.network import Network
from engine.types import Floats, Shape

XAVIER, TANH, CLASSES = XavierNormal(), ACTIVATIONS["tanh"](), 3


def of_features(*layers: Layer) -> Network:
    """Return a network with the layer between two dense layers, after a tanh, on rows of 5 features."""
    return Network((5,), (Dense(6, XAVIER), TANH, *layers, Dense(CLASSES, XAVIER)), SoftmaxCrossEntropy())


@final
@dataclass(frozen=True)
class Pixels(Layer):
    """Copies images to rows of features, as these networks need it; it is not under test."""

    def outputs(self, inputs: Shape) -> Shape:
        return (prod(inputs),)

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return ()

    def bind(self, place: Place) -> Bound:
        y, dx = place.empty((prod(place.inputs),)), place.empty(place.inputs)

        def forward(x: Floats) -> Floats:
            y[...] = x.reshape(*x.shape[:2], -1)
            return y

        def backward(dy: Floats) -> Floats:
            dx[...] = dy.reshape(dx.shape)
            return dx

        return Bound(forward, backward)


def of_images(*layers: Layer) -> Network:
    """Return a network with the layer on rows of two channels, after a layer that needs its gradient."""
    return Network((2, 3, 4), (PReLU(0.6), *layers, Pixels(), Dense(CLASSES, XAVIER)), SoftmaxCrossEntropy())


def of_pixels(*layers: Layer) -> Network:
    """Return a network with the layer first on larger images, so that dL/dx is not needed."""
    return Network((2, 7, 6), (*layers, Flatten(), Dense(CLASSES, XAVIER)), SoftmaxCrossEntropy())


def first(*layers: Layer) -> Network:
    """Return a network with the layer first, so that dL/dx is not needed."""
    return Network((5,), (*layers, Dense(CLASSES, XAVIER)), SoftmaxCrossEntropy())


RELU, SOFTPLUS = ACTIVATIONS["relu"](), ACTIVATIONS["softplus"]()
BLOCK = Residual((Dense(4, XAVIER), SOFTPLUS, Dropout(0.3), Dense(6, XAVIER)))
LAYER_CASES: dict[str, tuple[Network, ...]] = {
    "dense": (of_features(Dense(4, XAVIER)),),
    "dropout": (
        of_features(Dropout(0.4)),
        of_features(Dense(4, XAVIER), Dropout(0.2), Dropout(0.5), TANH),
        of_images(Dropout(0.3), TANH),
        first(Dropout(0.2), SOFTPLUS),
    ),
    "batch_norm": (
        of_features(BatchNorm(), TANH),
        of_features(Dense(4, XAVIER), BatchNorm(0.3, 1e-3), TANH, BatchNorm(), Dropout(0.2)),
        of_images(BatchNorm(), TANH, BatchNorm()),
        first(BatchNorm(), TANH),
        Network((5,), (Dense(CLASSES, XAVIER), BatchNorm()), SoftmaxCrossEntropy()),
    ),
    "residual": (
        of_features(BLOCK, TANH, BLOCK),
        of_features(Residual((BatchNorm(), TANH, Dense(4, XAVIER)), (Dropout(0.2), Dense(4, XAVIER)))),
        of_features(Residual((Residual((Dense(6, XAVIER), Dropout(0.4))), TANH))),
        of_images(Residual((TANH, BatchNorm(), Dropout(0.2))), RELU),
        first(Residual((Dense(5, XAVIER), Dropout(0.2), TANH))),
        first(Residual((TANH, Dense(4, XAVIER)), (Dense(4, XAVIER),)), TANH),
    ),
    "maxout": (of_features(Maxout(4, 2, XAVIER)), of_features(Maxout(7, 3, XAVIER), TANH), first(Maxout(4, 4, XAVIER))),
    "prelu": (
        of_features(PReLU()),
        of_features(Dense(4, XAVIER), PReLU(-0.3), TANH),
        of_images(PReLU()),
        first(PReLU()),
    ),
    "rrelu": (
        of_features(RReLU()),
        of_features(Dense(4, XAVIER), RReLU(0.3, 0.9), SOFTPLUS),
        of_images(RReLU(), TANH),
        first(RReLU()),
    ),
    "flatten": (of_images(TANH, Flatten(), TANH, Dense(4, XAVIER)), of_pixels(), of_pixels(TANH, Flatten(), TANH)),
    "conv2d": (
        of_images(Conv2d(3, 2, initializer=XAVIER), TANH, Conv2d(2, (1, 3), initializer=XAVIER)),
        of_images(Conv2d(3, (2, 3), 2, 1, XAVIER), TANH),
        of_images(Conv2d(3, (3, 4), initializer=XAVIER), TANH),  # as large as the image
        of_images(Conv2d(1, 1, 2, initializer=XAVIER), TANH),  # pixels outside of every kernel
        of_pixels(Conv2d(3, (3, 2), 2, initializer=XAVIER), TANH, Conv2d(2, 3, padding=2, initializer=XAVIER)),
        of_pixels(Conv2d(3, 3, padding=1, initializer=XAVIER), TANH, Conv2d(2, 4, 3, 2, XAVIER), TANH),
    ),
    "conv_transpose2d": (
        of_images(ConvTranspose2d(3, 2, initializer=XAVIER), TANH, Conv2d(2, 2, 2, initializer=XAVIER)),
        of_images(ConvTranspose2d(2, (3, 2), 2, 1, XAVIER), TANH),
        of_images(ConvTranspose2d(1, 1, 2, initializer=XAVIER), TANH),  # pixels that are only b
        of_pixels(ConvTranspose2d(3, 3, padding=1, initializer=XAVIER), TANH, MaxPool2d(3)),
    ),
    "max_pool2d": (
        of_images(MaxPool2d(2), TANH),
        of_images(MaxPool2d(3, 1), TANH),
        of_images(MaxPool2d(1, 2)),
        of_pixels(Conv2d(3, 2, initializer=XAVIER), MaxPool2d(3, 2), TANH, MaxPool2d(2, 1)),
        of_pixels(MaxPool2d(2, 3), Conv2d(3, 2, initializer=XAVIER)),
    ),
    "mean_pool2d": (
        of_images(MeanPool2d(2), TANH),
        of_images(MeanPool2d(3, 1), TANH),
        of_images(MeanPool2d(1, 2)),
        of_pixels(Conv2d(3, 2, initializer=XAVIER), MeanPool2d(3, 2), TANH, MeanPool2d(2, 1)),
        of_pixels(MeanPool2d(2, 3), Conv2d(3, 2, initializer=XAVIER)),
    ),
}
