"""A scrambled Sobol' sequence: points that fill the box evenly. Sobol' 1967, Owen 1998.

Optuna's own sampler is not used: its first trial is not part of the sequence, it samples only the axes that earlier
trials share, and it counts its place in the sequence in the stored study.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.samplers.base import SampleIndependent, SamplerContext, from_unit, optuna_sampler

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler


def sobol(context: SamplerContext) -> "BaseSampler":
    """Assign point n of the sequence to trial n; each axis has its own dimension, even where it is inactive."""
    return optuna_sampler({}, lambda study, trial: {}, sobol_coordinates(context))


def sobol_coordinates(context: SamplerContext) -> SampleIndependent:
    """Return a function from an axis to the trial's coordinate in the stage's sequence."""
    from scipy.stats import qmc

    if not context.distributions:
        return lambda key, distribution: None  # never called
    dimensions, rng = len(context.distributions), np.random.default_rng(context.stage_seed)
    try:
        sequence = qmc.Sobol(dimensions, scramble=True, rng=rng)
    except TypeError:  # SciPy before 1.15
        sequence = qmc.Sobol(dimensions, scramble=True, seed=rng)
    if context.number:
        sequence.fast_forward(context.number)
    point = dict(zip(context.distributions, sequence.random(1)[0].tolist(), strict=True))

    def coordinate(key: str, distribution: "BaseDistribution") -> Any:
        return from_unit(distribution, point[key])

    return coordinate
