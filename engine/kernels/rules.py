"""How losses, optimizers and clipping say what the compiled kernel does; needs only NumPy."""

from enum import IntEnum
from typing import NamedTuple


class LossKind(IntEnum):
    """The losses of the kernel."""

    SQUARED_ERROR = 0
    LOGISTIC = 1
    SOFTMAX_CROSS_ENTROPY = 2


class UpdateKind(IntEnum):
    """The optimizers of the kernel."""

    SGD = 0
    MOMENTUM = 1
    NESTEROV = 2
    ADAGRAD = 3
    ADADELTA = 4
    RMSPROP = 5
    ADAM = 6


class ClipKind(IntEnum):
    """The ways of clipping of the kernel."""

    NONE = 0
    NORM = 1
    VALUE = 2


class Mode(IntEnum):
    """Which pass a layer computes: batch statistics and random draws, or those of inference."""

    INFERENCE = 0
    TRAINING = 1


class UpdateRule(NamedTuple):
    """An optimizer at one learning rate; its slots keep the order of `Optimizer.slots`.

    Attributes:
        numbers: up to four settings.
        kept: factor of the weights before a step; 1 without weight decay.
    """

    kind: UpdateKind
    numbers: tuple[float, ...]
    kept: float = 1.0


class StepSettings(NamedTuple):
    """Settings of a step besides the optimizer, which Numba reads.

    Attributes:
        l2, l1: λ and λ₁.
        divide_by_batch: λ and λ₁ are divided by the rows of the batch.
        clip: a `ClipKind`.
        limit: limit of the clipping.
        keep, share: targets are keep · y + share.
    """

    l2: float
    l1: float
    divide_by_batch: bool
    clip: int
    limit: float
    keep: float
    share: float
