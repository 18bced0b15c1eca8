"""Samplers by name. Each trial gets a new sampler, which has no state, so a resumed study repeats the same points."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hpsearch.samplers.base import SamplerContext, suggest_parameter
from hpsearch.samplers.cmaes import cmaes, population_size
from hpsearch.samplers.forest import FOREST_STARTUP, forest
from hpsearch.samplers.gp import MIN_FINISHED, gp
from hpsearch.samplers.random import random
from hpsearch.samplers.sobol import sobol
from hpsearch.samplers.tpe import TPE_STARTUP, tpe

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

SAMPLERS: dict[str, "Callable[[SamplerContext], BaseSampler]"] = {
    "random": random,
    "sobol": sobol,
    "tpe": tpe,
    "forest": forest,
    "gp": gp,
    "cmaes": cmaes,
}
MEMORYLESS = ("random", "sobol")  # samplers that ignore earlier trials
REPLAYING = ("cmaes",)  # samplers that need every trial of the stage, in order
STARTUP_SAMPLES = {  # sampler that learns → its samples until enough trials have finished
    "tpe": "random",
    "forest": "random",
    "gp": "points of a Sobol' sequence",
    "cmaes": "from its first distribution",
}
OPTIONAL_MODULES = {"gp": "torch"}  # sampler → module that only the extra `hpsearch[SAMPLER]` installs


def missing_extra(name: str) -> str | None:
    """Return a message with the module that a sampler lacks and how to install it; None if the sampler can be used."""
    module = OPTIONAL_MODULES.get(name)
    if module is None or find_spec(module) is not None:
        return None
    return f"sampler {name} needs {module}: pip install 'hpsearch[{name}]'"


def startup_trials(name: str, dimensions: int, parallel: int) -> int:
    """Return the number of finished trials from which a sampler that learns chooses points.

    Args:
        dimensions: number of numeric axes that are always active.
        parallel: number of virtual workers.
    """
    population = population_size(max(1, dimensions), parallel)
    return {"tpe": TPE_STARTUP, "forest": FOREST_STARTUP, "gp": MIN_FINISHED, "cmaes": population}[name]


__all__ = [
    "MEMORYLESS",
    "REPLAYING",
    "SAMPLERS",
    "STARTUP_SAMPLES",
    "SamplerContext",
    "missing_extra",
    "startup_trials",
    "suggest_parameter",
]
