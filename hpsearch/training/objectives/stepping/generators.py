"""The global random generators of a process, which training code may use: Python's, NumPy's and PyTorch's."""

import json
import random
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.npz import BROKEN_NPZ, NpzError

_ARRAYS = ("python", "numpy", "torch")


def seed_generators(seed: int) -> None:
    """Seed the global generators of Python, NumPy and, if it is imported, PyTorch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed % 2**63)


def generator_states() -> dict[str, npt.NDArray[Any]]:
    """Return the states of the global generators, as arrays by name."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    plain = {"python": random.getstate(), "numpy": [name, position, has_gauss, gauss]}
    states: dict[str, npt.NDArray[Any]] = {
        "python": np.frombuffer(json.dumps(plain).encode(), np.uint8),
        "numpy": np.asarray(keys),
    }
    if (torch := sys.modules.get("torch")) is not None:
        states["torch"] = torch.get_rng_state().numpy().copy()
    return states


def restore_generators(states: dict[str, npt.NDArray[Any]]) -> None:
    """Restore the states that `generator_states` returned.

    Raises:
        NpzError: they are not such states.
    """
    try:
        plain = json.loads(states["python"].tobytes())
        version, internal, gauss = plain["python"]
        random.setstate((version, tuple(internal), gauss))
        name, *rest = plain["numpy"]
        np.random.set_state((name, states["numpy"], *rest))
        torch = sys.modules.get("torch")
        if torch is not None and "torch" in states:
            torch.set_rng_state(torch.from_numpy(states["torch"].copy()))
    except (KeyError, TypeError, *BROKEN_NPZ) as error:
        raise NpzError(f"states of generators are damaged: {error}") from None
