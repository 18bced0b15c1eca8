"""Layers and their registry; `engine.activations` has the registry of activations, which are layers too."""

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.batch_norm import BatchNorm
from engine.layers.chain import Chain, Slice
from engine.layers.convolution.conv2d import Conv2d
from engine.layers.convolution.conv_transpose2d import ConvTranspose2d
from engine.layers.convolution.pooling import MaxPool2d, MeanPool2d
from engine.layers.dense import Dense
from engine.layers.dropout import Dropout, without_rates
from engine.layers.flatten import Flatten
from engine.layers.maxout import Maxout
from engine.layers.prelu import PReLU
from engine.layers.residual import Residual
from engine.layers.rrelu import RReLU
from engine.registry import Registry

LAYERS: Registry[Layer] = Registry(
    "layer",
    {
        "dense": Dense,
        "dropout": Dropout,
        "flatten": Flatten,
        "conv2d": Conv2d,
        "conv_transpose2d": ConvTranspose2d,
        "max_pool2d": MaxPool2d,
        "mean_pool2d": MeanPool2d,
        "batch_norm": BatchNorm,
        "residual": Residual,
        "maxout": Maxout,
        "prelu": PReLU,
        "rrelu": RReLU,
    },
)

__all__ = [
    "LAYERS",
    "BatchNorm",
    "Bound",
    "Chain",
    "Conv2d",
    "ConvTranspose2d",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "MaxPool2d",
    "Maxout",
    "MeanPool2d",
    "PReLU",
    "Parameter",
    "Place",
    "RReLU",
    "Residual",
    "Slice",
    "without_rates",
]
