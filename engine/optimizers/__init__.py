"""The menu of optimizers."""

from engine.optimizers.adam import Adam
from engine.optimizers.base import Matrices, Optimizer
from engine.optimizers.momentum import Momentum
from engine.optimizers.sgd import SGD
from engine.registry import Menu

OPTIMIZERS: Menu[Optimizer] = Menu(
    "optimizer",
    {
        "sgd": SGD,
        "momentum": Momentum,
        "adam": Adam,
    },
)

__all__ = ["OPTIMIZERS", "SGD", "Adam", "Matrices", "Momentum", "Optimizer"]
