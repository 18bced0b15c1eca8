"""The door to Numba: how functions are compiled. All other modules of compiled functions import this one."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import types
from numba.extending import intrinsic, overload

F = TypeVar("F", bound=Callable[..., Any])
Number = Any  # a number in compiled code: of an array's dtype, or int64


def compiled(function: F) -> F:
    """Compile a function when it is first called; float arithmetic is that of IEEE 754, in the order written.

    A division by zero has a result, as in NumPy: code that may raise an error is not vectorized.
    """
    return cast(F, numba.njit(error_model="numpy")(function))


def by_dtype(generic: Callable[..., Number], float32: Callable[..., Number], float64: Callable[..., Number]) -> None:
    """Make compiled code call one of two functions in place of `generic`, by the dtype of its argument."""

    def choose(x: Number) -> Callable[..., Number]:
        return float32 if x == types.float32 else float64

    overload(generic)(choose)


def _power_of_two(typing_context: Any, exponent: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        int32, float32 = context.get_value_type(types.int32), context.get_value_type(types.float32)
        biased = builder.add(builder.fptosi(arguments[0], int32), int32(127))
        return builder.bitcast(builder.shl(biased, int32(23)), float32)

    return types.float32(types.float32), generate


# 2ⁿ of a whole float32 n in −126…127, by its bits
power_of_two = cast(Callable[[Number], Number], intrinsic(_power_of_two))
