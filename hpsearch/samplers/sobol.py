"""A scrambled Sobol' sequence: points that fill the box evenly. Sobol' 1967, Owen 1998.

Optuna's own is not used: its first trial stands outside the sequence, its axes are those that earlier trials share, and
its place in the sequence is a count it keeps in the study.
"""

from typing import TYPE_CHECKING, Any

from hpsearch.samplers.base import Alone, Question, place, stateless

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler


def sobol(question: Question) -> "BaseSampler":
    """Trial n gets the sequence's point n, and each axis its dimension, whether it counts at a point or not."""
    return stateless({}, lambda study, trial: {}, coordinates(question))


def coordinates(question: Question) -> Alone:
    """Axis by axis the trial's point of the stage's sequence."""
    from scipy.stats import qmc

    if not question.box:
        return lambda key, distribution: None  # never called
    sequence = qmc.Sobol(len(question.box), scramble=True, rng=question.stage_seed)
    if question.number:
        sequence.fast_forward(question.number)
    point = dict(zip(question.box, sequence.random(1)[0].tolist(), strict=True))

    def coordinate(key: str, distribution: "BaseDistribution") -> Any:
        return place(distribution, point[key])

    return coordinate
