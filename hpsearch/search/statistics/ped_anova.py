"""PED-ANOVA for one parameter: Pearson's divergence of the best trials' density from the density of all trials.

Watanabe, Bansal and Hutter 2023, IJCAI, https://arxiv.org/abs/2304.10255. Densities are Parzen estimates on a grid of
at most 50 points, as in Optuna's `PedAnovaImportanceEvaluator`, whose module imports scikit-learn.
"""

import math
from collections.abc import Sequence

import numpy as np

from hpsearch.core.space import Axis, InternalValue

MAX_POINTS = 50  # of the grid
MIN_SIGMA = 0.5 / 1.64  # in points of the grid: 90 % of a normal density lie within one point
FLOOR = 1e-12  # added to densities
PRIOR_WEIGHT = 1.0


def divergence(axis: Axis, best: Sequence[InternalValue], values: Sequence[InternalValue]) -> float:
    """Return ∫ (p_best / p_all − 1)² p_all on the grid of an axis.

    Args:
        best: internal values of the best trials, which are among the others.
        values: internal values of all trials.
    """
    p_best, p_all = (_density(axis, _counts(axis, v)) + FLOOR for v in (best, values))
    return float(p_all @ (p_best / p_all - 1) ** 2)


def _counts(axis: Axis, values: Sequence[InternalValue]) -> np.ndarray:
    """Return the number of values at each point of the grid; for unordered values, at each of them."""
    if not axis.zoomable:
        return np.bincount([axis.choices.index(v) for v in values], minlength=len(axis.choices))
    points = MAX_POINTS
    if axis.integer:
        span = axis.high - axis.low
        points = min(points, math.ceil(math.log2(span + 1)) + 1 if axis.log else round(span) + 1)
    low, high = axis.to_scaled(axis.low), axis.to_scaled(axis.high)
    scaled = np.array([axis.to_scaled(v) for v in values])
    indices = np.ceil((scaled - low) / ((high - low) / (points - 1)) - 0.5).astype(int)
    return np.bincount(np.clip(indices, 0, points - 1), minlength=points)


def _density(axis: Axis, counts: np.ndarray) -> np.ndarray:
    """Return the Parzen estimate at each point: a kernel for each point with values, and one for the prior."""
    observed = np.flatnonzero(counts)
    weights = np.append(counts[observed], PRIOR_WEIGHT)
    kernels = _normal_kernels if axis.zoomable else _categorical_kernels
    density: np.ndarray = weights / weights.sum() @ kernels(observed, counts)
    return density


def _categorical_kernels(observed: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return (kernels, values): nearly all of a kernel's mass lies at its value; that of the prior is uniform."""
    kernels = np.full((len(observed) + 1, len(counts)), PRIOR_WEIGHT / (len(observed) + 1))
    kernels[np.arange(len(observed)), observed] += 1
    kernels /= kernels.sum(axis=1, keepdims=True)
    return kernels


def _normal_kernels(observed: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return (kernels, points): normal densities, truncated to the grid, with Scott's bandwidth."""
    weights, last = counts[observed], len(counts) - 1
    total = weights.sum()
    mean = observed @ weights / total
    deviation = math.sqrt((observed - mean) ** 2 @ weights / max(1, total - 1))
    cumulative = np.cumsum(weights)
    first = np.searchsorted(cumulative, total // 4, side="left")
    third = np.searchsorted(cumulative, total * 3 // 4, side="right")
    spread = observed[min(len(observed) - 1, third)] - observed[first]
    sigma = max(1.059 * min(spread / 1.34, deviation) * total**-0.2, MIN_SIGMA)  # Scott 1992
    means = np.append(observed, last / 2)
    sigmas = np.append(np.full(len(observed), sigma), last + 1)
    edges = np.arange(len(counts) + 1) - 0.5
    below = [[math.erf(z) for z in row] for row in (edges - means[:, None]) / (sigmas[:, None] * math.sqrt(2))]
    mass: np.ndarray = np.diff(below, axis=1)
    mass /= mass.sum(axis=1, keepdims=True)
    return mass
