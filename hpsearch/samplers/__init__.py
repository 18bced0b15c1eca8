"""The menu of samplers. Each is made anew for each trial: with no memory of its own it repeats nothing on resume."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hpsearch.samplers.base import SamplerContext, suggest
from hpsearch.samplers.cmaes import cmaes
from hpsearch.samplers.gp import gp
from hpsearch.samplers.random import random
from hpsearch.samplers.sobol import sobol
from hpsearch.samplers.tpe import tpe

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

SAMPLERS: dict[str, "Callable[[SamplerContext], BaseSampler]"] = {
    "random": random,
    "sobol": sobol,
    "tpe": tpe,
    "gp": gp,
    "cmaes": cmaes,
}
MEMORYLESS = ("random", "sobol")  # which know no history
EXTRAS = {"gp": "torch"}  # what a sampler needs and `pip install hpsearch` does not bring; the extra is called like it


def missing(name: str) -> str | None:
    """What a sampler lacks here and how to get it; None when it can be used."""
    module = EXTRAS.get(name)
    if module is None or find_spec(module) is not None:
        return None
    return f"sampler {name} needs {module}: pip install 'hpsearch[{name}]'"


__all__ = ["MEMORYLESS", "SAMPLERS", "SamplerContext", "missing", "suggest"]
