"""The menu of layers with an architecture of their own; activations are layers too, on the menu of their file."""

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.chain import Chain, Slice
from engine.layers.dense import Dense
from engine.layers.dropout import Dropout, without_rates
from engine.registry import Menu

LAYERS: Menu[Layer] = Menu(
    "layer",
    {
        "dense": Dense,
        "dropout": Dropout,
    },
)

__all__ = ["LAYERS", "Bound", "Chain", "Dense", "Dropout", "Layer", "Parameter", "Place", "Slice", "without_rates"]
