"""The menu of layers with an architecture of their own; activations are layers too, on the menu of their file."""

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.batch_norm import BatchNorm
from engine.layers.chain import Chain, Slice
from engine.layers.dense import Dense
from engine.layers.dropout import Dropout, without_rates
from engine.layers.maxout import Maxout
from engine.layers.prelu import PReLU
from engine.layers.residual import Residual
from engine.layers.rrelu import RReLU
from engine.registry import Menu

LAYERS: Menu[Layer] = Menu(
    "layer",
    {
        "dense": Dense,
        "dropout": Dropout,
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
    "Dense",
    "Dropout",
    "Layer",
    "Maxout",
    "PReLU",
    "Parameter",
    "Place",
    "RReLU",
    "Residual",
    "Slice",
    "without_rates",
]
