"""Guesses: some trials lie near the guesses of the study file, or around the best trial.

Mallik et al. 2023 (PriorBand), arXiv:2306.12370.

A trial is chosen by the stage's sampler, from the prior, or around the incumbent. The prior is a normal distribution
around each guess, on the scale of the axis; a category that is a guess has half of the probability, and all categories
share the other half. The incumbent is the best trial so far. The prior is chosen rather than the incumbent with
probability

    Σᵢ wᵢ p(xᵢ) / (Σᵢ wᵢ p(xᵢ) + Σᵢ wᵢ q(xᵢ)),    wᵢ = 1 − i/m for the i-th of the m best trials, from 0

where p is the density of the prior, and q the same density with the incumbent as the guess. So a wrong guess is left
once the best trials lie elsewhere.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from hpsearch.core.space import Axis, Box, InternalValue, Space
from hpsearch.samplers import MEMORYLESS
from hpsearch.samplers.base import from_unit, to_unit

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PRIOR_SIGMA = 0.25  # of the full range, on the axis's scale
INCUMBENT_SIGMA = 0.1
CATEGORY_SHARE = 0.5  # probability of the guess beyond its equal share of the rest
MUTATED_SHARE = 0.5  # of the axes of a trial around the incumbent
EARLY_SHARE = 1 / 3  # of trials that the stage's sampler does not choose, while it knows few trials or uses none
LATE_SHARE = 0.1
FEW_TRIALS = 10
MIN_INCUMBENTS = 5  # finished trials before the incumbent is used
TOP_SHARE = 1 / 3  # of the finished trials that count as the best
MAX_TOP = 10


def guided_params(
    space: Space, box: Box, sampler: str, trials: "Sequence[FrozenTrial]", seed: int, *, first: bool
) -> dict[str, InternalValue]:
    """Return the internal parameters that the guesses choose for a trial; the stage's sampler chooses all others.

    Args:
        sampler: of the stage.
        trials: as the sampler sees them; lower values are better.
        seed: of this decision.
        first: the first trial of the study, which lies at the guesses.
    """
    guessed = [a for a in space.axes if a.guess is not None]
    if not guessed:
        return {}
    if first:
        return {a.key: _clipped(a, box, a.guess) for a in guessed if a.guess is not None}
    rng = np.random.default_rng(seed)
    ranking = sorted((t for t in trials if t.value is not None and t.state.is_finished()), key=lambda t: t.value or 0.0)
    early = sampler in MEMORYLESS or len(ranking) < FEW_TRIALS
    if rng.random() >= (EARLY_SHARE if early else LATE_SHARE):
        return {}
    params = [t.params for t in ranking]
    if rng.random() < prior_share(guessed, params):
        return {a.key: _near(a, box, a.guess, PRIOR_SIGMA, rng) for a in guessed if a.guess is not None}
    mutated = rng.random(len(space.axes)) < MUTATED_SHARE
    return {
        a.key: _near(a, box, params[0][a.key], INCUMBENT_SIGMA, rng) if moves else _clipped(a, box, params[0][a.key])
        for a, moves in zip(space.axes, mutated, strict=True)
        if a.key in params[0]
    }


def prior_share(guessed: Sequence[Axis], ranking: Sequence[Mapping[str, Any]]) -> float:
    """Return the probability of the prior against the incumbent.

    Args:
        guessed: axes with a guess.
        ranking: the internal parameters of the finished trials, the best ones first.
    """
    if len(ranking) < MIN_INCUMBENTS:
        return 1.0
    best = ranking[: min(MAX_TOP, math.ceil(TOP_SHARE * len(ranking)))]
    prior, incumbent = (
        sum((1 - i / len(best)) * _density(guessed, center, params) for i, params in enumerate(best))
        for center in ({a.key: a.guess for a in guessed}, best[0])
    )
    return prior / (prior + incumbent)


def _density(axes: Sequence[Axis], center: Mapping[str, Any], params: Mapping[str, Any]) -> float:
    """Return the density of a point, relative to a normal density's maximum; inactive axes have no effect."""
    result = 1.0
    for axis in axes:
        if axis.key not in params or axis.key not in center:
            continue
        value, at = params[axis.key], center[axis.key]
        if axis.zoomable:
            result *= math.exp(-(((_unit(axis, value) - _unit(axis, at)) / PRIOR_SIGMA) ** 2) / 2)
        else:
            result *= CATEGORY_SHARE * (value == at) + (1 - CATEGORY_SHARE) / len(axis.choices)
    return result


def _near(axis: Axis, box: Box, center: InternalValue, sigma: float, rng: np.random.Generator) -> InternalValue:
    """Return a value from the normal distribution around the center, within the box; or a category."""
    chance = rng.random()
    if not axis.zoomable:
        if chance < CATEGORY_SHARE:
            return center
        return axis.choices[int((chance - CATEGORY_SHARE) / (1 - CATEGORY_SHARE) * len(axis.choices))]
    normal = NormalDist(_unit(axis, center), sigma)
    low, high = (normal.cdf(_unit(axis, bound)) for bound in box[axis.key])
    unit = normal.inv_cdf(min(max(low + (high - low) * chance, 1e-15), 1 - 1e-15))
    return _clipped(axis, box, from_unit(axis.distribution(axis.low, axis.high), unit))


def _unit(axis: Axis, value: InternalValue) -> float:
    from optuna.distributions import FloatDistribution, IntDistribution

    distribution = axis.distribution(axis.low, axis.high)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return to_unit(distribution, float(value))


def _clipped(axis: Axis, box: Box, value: InternalValue) -> InternalValue:
    """Return the nearest value in the box."""
    if not axis.zoomable or isinstance(value, str):
        return value
    low, high = box[axis.key]
    return int(min(max(value, low), high)) if axis.integer else float(min(max(value, low), high))
