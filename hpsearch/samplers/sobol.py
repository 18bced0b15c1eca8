"""A scrambled Sobol' sequence: points that fill the box evenly. Sobol' 1967, Owen 1998.

Optuna's own is not used: its first trial stands outside the sequence, its axes are those that earlier trials share, and
its place in the sequence is a count it keeps in the study.
"""

from typing import TYPE_CHECKING, Any

from hpsearch.samplers.base import SampleIndependent, SamplerContext, place, stateless

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler


def sobol(context: SamplerContext) -> "BaseSampler":
    """Trial n gets the sequence's point n, and each axis its dimension, whether it counts at a point or not."""
    return stateless({}, lambda study, trial: {}, coordinates(context))


def coordinates(context: SamplerContext) -> SampleIndependent:
    """Axis by axis the trial's point of the stage's sequence."""
    from scipy.stats import qmc

    if not context.box:
        return lambda key, distribution: None  # never called
    sequence = qmc.Sobol(len(context.box), scramble=True, rng=context.stage_seed)
    if context.number:
        sequence.fast_forward(context.number)
    point = dict(zip(context.box, sequence.random(1)[0].tolist(), strict=True))

    def coordinate(key: str, distribution: "BaseDistribution") -> Any:
        return place(distribution, point[key])

    return coordinate
