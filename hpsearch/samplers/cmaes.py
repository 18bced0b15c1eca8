"""CMA-ES: a normal distribution that moves, turns and shrinks toward the better trials. Hansen 2016, arXiv:1604.00772.

For each trial the optimizer is rebuilt: it receives the finished trials of the stage in the order of their numbers, one
population at a time (Optuna's own sampler stores a pickle instead). It works in the unit cube of the axes' scales. It
starts at the cube's center, or with a smaller width at the best trial of earlier stages.

A population is at least as large as the number of virtual workers, whose trials are sampled from one distribution.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.core.seeds import derive
from hpsearch.samplers.base import (
    SEED_LIMIT,
    SamplerContext,
    from_unit,
    minimizing_sign,
    optuna_sampler,
    sample_uniform,
    standing,
    to_unit,
)

if TYPE_CHECKING:
    from cmaes import CMA
    from optuna import Study
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

NumericDistributions = dict[str, "FloatDistribution | IntDistribution"]

INITIAL_SIGMA = 1 / 6  # three standard deviations from the center to the sides of the unit cube
# Around the best trial of earlier stages; better in four dimensions, after 16 and 64 trials, than 1/4, 1/6, 1/12, 1/20.
SIGMA_AT_BEST = 1 / 8


def cmaes(context: SamplerContext) -> "BaseSampler":
    """Sample unconditional numeric axes jointly, with integers rounded; sample the other axes uniformly."""
    from optuna.distributions import FloatDistribution, IntDistribution

    joint = context.joint()
    numeric: NumericDistributions = {
        k: d for k, d in joint.items() if isinstance(d, FloatDistribution | IntDistribution)
    }

    def sample_joint(study: "Study", trial: "FrozenTrial") -> dict[str, Any]:
        optimizer = _replay(context, numeric, study)
        optimizer.reseed_rng(derive(context.seed, "together") % SEED_LIMIT)
        return {key: from_unit(d, x) for (key, d), x in zip(numeric.items(), optimizer.ask().tolist(), strict=True)}

    return optuna_sampler(numeric, sample_joint, sample_uniform(context.seed))


def population_size(dimensions: int, parallel: int) -> int:
    """Return the number of trials of a generation."""
    return max(4 + math.floor(3 * math.log(dimensions)), parallel)  # eq. 48


def _replay(context: SamplerContext, numeric: NumericDistributions, study: "Study") -> "CMA":
    """Return the optimizer after all finished trials of the study."""
    from cmaes import CMA

    sign = minimizing_sign(study)
    trials = study.get_trials(deepcopy=False)
    known = sorted((t for t in trials[: context.known] if standing(t, sign) < (1,)), key=lambda t: standing(t, sign))
    finished = [t for t in trials[context.known :] if t.state.is_finished()]
    dimensions = len(numeric)
    population = population_size(dimensions, context.parallel)
    optimizer = CMA(
        mean=_unit_vector(known[0], numeric) if known else np.full(dimensions, 0.5),
        sigma=SIGMA_AT_BEST if known else INITIAL_SIGMA,
        bounds=np.array([[0.0, 1.0]] * dimensions),
        seed=context.stage_seed % SEED_LIMIT,
        population_size=population,
    )
    for first in range(0, len(finished) - population + 1, population):
        ranked = sorted(finished[first : first + population], key=lambda t: standing(t, sign))
        if standing(ranked[0], sign) < (2,):  # skip a generation in which no trial has a value
            optimizer.tell([(_unit_vector(t, numeric), float(rank)) for rank, t in enumerate(ranked)])
    return optimizer


def _unit_vector(trial: "FrozenTrial", numeric: NumericDistributions) -> np.ndarray:
    return np.array([to_unit(d, trial.params[key]) for key, d in numeric.items()])
