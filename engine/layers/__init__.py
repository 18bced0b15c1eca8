"""The menu of layers with an architecture of their own; activations are layers too, on the menu of their file."""

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.dense import Dense
from engine.registry import Menu

LAYERS: Menu[Layer] = Menu(
    "layer",
    {
        "dense": Dense,
    },
)

__all__ = ["LAYERS", "Bound", "Dense", "Layer", "Parameter", "Place"]
