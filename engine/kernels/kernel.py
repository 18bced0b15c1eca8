"""The compiled kernel: its two functions for one dtype, compiled once per installation."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types as _types

from engine.kernels.choice import source_digest
from engine.kernels.entry import entries
from engine.kernels.program import Code
from engine.kernels.rules import StepSettings
from engine.types import DType

types: Any = _types  # most of it has no annotations


class Kernel(NamedTuple):
    """The functions of `engine.kernels.entry`, compiled."""

    train_steps: Callable[..., tuple[float, int]]
    score_rows: Callable[..., tuple[float, int]]


@cache
def kernel(dtype: DType) -> Kernel:
    """Return the kernel, from Numba's cache or compiled now, which takes 5 to 10 s.

    Numba's cache is `__pycache__` beside this file, else a folder of the user, or `NUMBA_CACHE_DIR`; it is written
    atomically, so several processes may compile at the same time.

    Raises:
        RuntimeError: no folder for the cache can be written.
    """
    train_steps, score_rows = entries(source_digest())
    real = numba.from_dtype(np.dtype(dtype))
    code, settings, memory = _struct(Code), _struct(StepSettings), types.Array(real, 1, "C")
    rows = types.Array(real, 2, "C", readonly=True)  # also takes arrays that can be written
    numbers, order, bits = (types.Array(t, 1, "C") for t in (types.float64, types.int64, types.uint16))
    rule = types.Tuple((types.int64, numbers, types.float64, types.int64))
    two, three = types.UniTuple(memory, 2), types.UniTuple(memory, 3)
    logits = types.Array(real, 2, "C")
    training = (code, settings, rule, types.int64, memory, two, rows, rows, order, types.int64, bits, three)
    scoring = (code, types.int64, memory, rows, rows, logits, types.int64, two)
    result = types.Tuple((types.float64, types.int64))
    return Kernel(_compile(train_steps, result(*training)), _compile(score_rows, result(*scoring)))


def _compile(function: Callable[..., Any], signature: Any) -> Callable[..., tuple[float, int]]:
    compiled: Callable[..., tuple[float, int]] = numba.njit([signature], error_model="numpy", cache=True)(function)
    return compiled


def _struct(kind: Any) -> Any:
    """Return Numba's type of a named tuple, from its annotations."""
    fields = {
        "instructions": types.Array(types.int64, 2, "C"),
        "numbers": types.Array(types.float64, 2, "C"),
        "segments": types.Array(types.int64, 2, "C"),
        "logits": types.Array(types.int64, 1, "C"),
        "random": types.Array(types.int64, 1, "C"),
        "widths": types.Array(types.int64, 1, "C"),
    }
    plain = {bool: types.boolean, int: types.int64, float: types.float64}
    return types.NamedTuple([fields.get(name) or plain[hint] for name, hint in kind.__annotations__.items()], kind)
