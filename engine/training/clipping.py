"""Clipping of gradients, trial by trial, after the regularizers have been added."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Protocol, Self, final

import numpy as np

from engine.kernels.rules import ClipKind
from engine.registry import Registry
from engine.types import EngineError, Floats, column


class Clip(Protocol):
    """Configuration of one trial's clipping; a frozen dataclass in the registry.

    Attributes:
        kind: the clipping of the compiled kernel.
        limit: the limit that the gradient is clipped to.
    """

    kind: ClassVar[ClipKind]

    @property
    def limit(self) -> float: ...

    @classmethod
    def bind(cls, trials: Sequence[Self], grad: Floats) -> Callable[[], None]:
        """Return a function that clips `grad (trials, parameters)` in place; limits may differ between trials."""
        ...


@final
@dataclass(frozen=True)
class ClipNorm:
    """g ← g · min(1, limit / ‖g‖), with the norm over all parameters. Pascanu et al. 2013, algorithm 1.

    Raises:
        EngineError: a limit not above 0.
    """

    kind: ClassVar[ClipKind] = ClipKind.NORM
    limit: float = 1.0

    def __post_init__(self) -> None:
        _check("norm", self.limit)

    @classmethod
    def bind(cls, trials: Sequence[Self], grad: Floats) -> Callable[[], None]:
        scale = np.empty((len(grad), 1, 1), grad.dtype)
        limit = np.broadcast_to(np.reshape(column([t.limit for t in trials], grad.dtype), (-1, 1, 1)), scale.shape)
        row, one = grad[:, None, :], grad.dtype.type(1)
        tiny = np.finfo(grad.dtype).tiny

        def clip() -> None:
            np.matmul(row, row.mT, scale)  # Σg² by BLAS, trial by trial
            np.sqrt(scale, scale)
            overflown = not isfinite(scale.max())
            np.maximum(scale, tiny, out=scale)
            np.divide(limit, scale, scale)
            np.minimum(scale, one, out=scale)
            if overflown:
                _shrink(row, scale, limit)
            np.multiply(row, scale, row)

        return clip


def _shrink(row: Floats, scale: Floats, limit: Floats) -> None:
    """Replace finite g whose Σg² overflows by g / max |g|, whose norm is finite, and set its scale."""
    for g, s, bound in zip(row, scale, limit, strict=True):
        largest = np.abs(g).max()
        if s == 0 and np.isfinite(largest):
            np.divide(g, largest, g)
            s[...] = bound / np.linalg.norm(g)


@final
@dataclass(frozen=True)
class ClipValue:
    """Each component of g is clipped to [−limit, limit].

    Raises:
        EngineError: a limit not above 0.
    """

    kind: ClassVar[ClipKind] = ClipKind.VALUE
    limit: float = 1.0

    def __post_init__(self) -> None:
        _check("value", self.limit)

    @classmethod
    def bind(cls, trials: Sequence[Self], grad: Floats) -> Callable[[], None]:
        high = column([t.limit for t in trials], grad.dtype)
        low = np.negative(high)

        def clip() -> None:
            np.clip(grad, low, high, out=grad)

        return clip


def _check(kind: str, limit: float) -> None:
    if not limit > 0:
        raise EngineError(f"clip {kind}: limit must be above 0, got {limit}")


CLIPS: Registry[Clip] = Registry("clip", {"norm": ClipNorm, "value": ClipValue})
