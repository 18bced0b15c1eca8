"""Which kernel trains a network: NumPy, or the compiled kernel where Numba is installed; needs only NumPy."""

from functools import cache
from math import prod
from typing import TYPE_CHECKING, Literal

from engine.kernels.program import Code, Program
from engine.types import DType, EngineError

if TYPE_CHECKING:
    from engine.network import Network
    from engine.training.steps import Steps

Kernel = Literal["numpy", "compiled"]


class KernelUnavailable(EngineError):
    """The compiled kernel cannot be loaded; the message has the reason."""


def load_kernel(dtype: DType) -> None:
    """Load the compiled kernel for a dtype; the first time on a machine, it is compiled.

    Raises:
        KernelUnavailable: Numba is not installed or does not work, or no cache can be written.
    """
    try:
        from engine.kernels.kernel import kernel

        kernel(dtype)
    except ImportError as error:
        raise KernelUnavailable(f"Numba cannot be imported: {error}") from error
    except RuntimeError as error:
        raise KernelUnavailable(f"Numba cannot cache what it compiles: {error}") from error


def compiled_steps() -> "type[Steps]":
    """Return the class of steps by the compiled kernel.

    Raises:
        KernelUnavailable: Numba cannot be imported.
    """
    try:
        from engine.kernels.compiled_steps import CompiledSteps
    except ImportError as error:
        raise KernelUnavailable(f"Numba cannot be imported: {error}") from error
    return CompiledSteps


def is_covered(network: "Network") -> bool:
    """Return whether the compiled kernel has all layers of a network."""
    try:
        compile_network(network)
    except EngineError:
        return False
    return True


@cache
def compile_network(network: "Network") -> Code:
    """Return a network as a program.

    Raises:
        NotCompiled: the kernel does not have one of its layers.
    """
    program = Program(prod(network.inputs))
    return program.code(network.compile(program))
