"""Optimizers and their registry."""

from engine.optimizers.adadelta import Adadelta
from engine.optimizers.adagrad import Adagrad
from engine.optimizers.adam import Adam
from engine.optimizers.adamw import AdamW
from engine.optimizers.base import Matrices, Optimizer
from engine.optimizers.momentum import Momentum
from engine.optimizers.nesterov import Nesterov
from engine.optimizers.rmsprop import RMSprop
from engine.optimizers.sgd import SGD
from engine.registry import Registry

OPTIMIZERS: Registry[Optimizer] = Registry(
    "optimizer",
    {
        "sgd": SGD,
        "momentum": Momentum,
        "nesterov": Nesterov,
        "adagrad": Adagrad,
        "adadelta": Adadelta,
        "rmsprop": RMSprop,
        "adam": Adam,
        "adamw": AdamW,
    },
)

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Matrices",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "RMSprop",
]
