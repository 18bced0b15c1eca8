"""Which kernel trains a network: NumPy, or the compiled kernel where Numba is installed; needs only NumPy."""

import contextlib
import hashlib
import importlib.util
import os
import sys
from functools import cache, lru_cache
from importlib import metadata
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.kernels.program import Code, Program
from engine.types import DType, EngineError

if TYPE_CHECKING:
    from engine.network import Network
    from engine.training.steps import Steps

Kernel = Literal["numpy", "compiled"]


class KernelUnavailable(EngineError):
    """The compiled kernel cannot be loaded; the message has the reason."""


def is_compiled() -> bool:
    """Return whether the kernel has been compiled for float32 on this machine, so that loading it takes 0.3 s."""
    return any(path.exists() for path in _markers())


def is_loaded() -> bool:
    """Return whether this process has loaded the kernel."""
    return "engine.kernels.kernel" in sys.modules


def load_kernel(dtype: DType) -> None:
    """Load the compiled kernel for a dtype; the first time on a machine it is compiled, which takes 5 to 15 s.

    Raises:
        KernelUnavailable: Numba is not installed or does not work, or no cache can be written.
    """
    try:
        from engine.kernels.kernel import kernel

        kernel(dtype)
        if dtype == np.float32 and not is_compiled():
            _mark()
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


@lru_cache(256)
def compile_network(network: "Network") -> Code:
    """Return a network as a program.

    Raises:
        NotCompiled: the kernel does not have one of its layers.
    """
    program = Program(prod(network.inputs))
    return program.code(network.compile(program))


def source_digest() -> str:
    """Return a digest of the sources of this package."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


@cache
def _markers() -> tuple[Path, ...]:
    """Return the files of which one exists when the kernel is compiled: beside this package, or in the user's cache."""
    try:
        installed = " ".join(metadata.version(name) for name in ("numba", "llvmlite", "numpy", "scipy"))
    except metadata.PackageNotFoundError:
        return ()
    spec = importlib.util.find_spec("numba")
    if spec is None or spec.origin is None:
        return ()
    found = f"{spec.origin} {os.stat(spec.origin).st_mtime_ns}"  # another Numba than the one that compiled the kernel
    key = f"{source_digest()} {installed} {found} {os.environ.get('NUMBA_CACHE_DIR')}"
    name = f"kernel.{sys.implementation.cache_tag}.{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(__file__).parent / "__pycache__" / name, user / "hpsearch" / name


def _mark() -> None:
    for path in _markers():
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            return
