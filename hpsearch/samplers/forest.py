"""A random forest with expected improvement, for categorical and conditional axes. Hutter et al. 2011 (SMAC).

The forest predicts the normal score of a trial's rank. A categorical axis is one column for each choice, and an
inactive axis has a value of its own, so both are part of the model. No candidate is chosen close to a running trial.
Candidates lie anywhere in the box and around the best trials; a point that is known or running is not sampled again.
Until ten trials have finished, points are uniform.

A forest of all trials would take longer than many trainings. It sees `FOREST_ROWS` of them: the best, and the newest of
the others.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, final

import numpy as np

from hpsearch.samplers.base import (
    SEED_LIMIT,
    SamplerContext,
    from_unit,
    informative,
    minimizing_sign,
    optuna_sampler,
    sample_uniform,
    standing,
    to_unit,
)

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

FOREST_STARTUP = 10  # uniform trials before the forest is used, including those of earlier stages
FOREST_ROWS = 150
TREES = 20
SPLIT_SHARE = 0.8  # of the columns, tried at each split
CANDIDATES = 250  # anywhere in the box, and as many around the best trials
RUNNING_RADIUS = 0.05  # of a running trial, on the axes' scales
PARENTS = 5  # the best trials
SPREADS = (0.05, 0.15, 0.3)  # standard deviations around a parent, on the axes' scales
MOVED_SHARE = 0.6  # of the axes of a candidate around a parent
DEVIATION_FLOOR = 0.2  # of a prediction: trees agree where they have seen a single trial
ATTEMPTS = 20  # sets of candidates, while every point is known
INACTIVE = -1.0  # below the unit interval, so that one split separates inactive axes


def forest(context: SamplerContext) -> "BaseSampler":
    """Sample all axes jointly, uniformly until `FOREST_STARTUP` trials have finished."""
    axes = _Axes(context)

    def sample_joint(study: "Study", trial: "FrozenTrial") -> dict[str, Any]:
        from optuna.trial import TrialState

        trials, sign = study.get_trials(deepcopy=False), minimizing_sign(study)
        finished = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        if len(finished) < FOREST_STARTUP:
            return {}
        seen = informative(finished, sign, FOREST_ROWS)
        scores, units = normal_scores(seen, sign), axes.units([t.params for t in seen])
        running = axes.columns(axes.units([t.params for t in trials if t.state == TrialState.RUNNING and t.params]))
        rng = np.random.default_rng(context.seed)
        improvement = _fitted(axes.columns(units), scores, running, rng)
        best = units[np.argsort(scores, kind="stable")[:PARENTS]]
        taken = {axes.key(params) for params in (*context.points, *(t.params for t in trials))}
        for _ in range(ATTEMPTS):
            candidates = axes.without_inactive(axes.candidates(best, rng))
            order = np.argsort(-improvement(axes.columns(candidates)), kind="stable")
            points = map(axes.point, candidates[order])
            first = next(points)
            if found := next((p for p in chain([first], points) if axes.key(p) not in taken), None):
                return found
        return first  # every point of the box is known

    return optuna_sampler(axes.space, sample_joint, sample_uniform(context.seed))


def normal_scores(trials: "Sequence[FrozenTrial]", sign: float) -> np.ndarray:
    """Return Φ⁻¹((rank − ½)/n) for each trial; equal trials share their mean rank, and low scores are good."""
    keys = [standing(t, sign) for t in trials]
    order, normal = sorted(keys), NormalDist()
    score = {
        key: normal.inv_cdf((bisect_left(order, key) + bisect_right(order, key)) / (2 * len(keys))) for key in set(keys)
    }
    return np.array([score[key] for key in keys])


def _fitted(
    columns: np.ndarray, scores: np.ndarray, running: np.ndarray, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the expected improvement by a forest of these rows: s·(z·Φ(z) + φ(z)) with z = (best − mean)/s.

    At distance d of a running trial it is multiplied by 1 − exp(−d²/2r²), because that trial may bring it as well.
    """
    from scipy.special import ndtr
    from sklearn.ensemble import RandomForestRegressor

    seed = int(rng.integers(SEED_LIMIT))
    trees = RandomForestRegressor(TREES, max_features=SPLIT_SHARE, random_state=seed, n_jobs=1).fit(columns, scores)

    def improvement(candidates: np.ndarray) -> np.ndarray:
        found = np.stack([tree.predict(candidates, check_input=False) for tree in trees.estimators_])
        mean, deviation = found.mean(0), found.std(0) + DEVIATION_FLOOR
        z = (scores.min() - mean) / deviation
        distances = np.square(candidates[:, None] - running).sum(2).min(1, initial=np.inf)
        open_share = -np.expm1(-distances / (2 * RUNNING_RADIUS**2))
        result: np.ndarray = open_share * deviation * (z * ndtr(z) + np.exp(-z * z / 2) / math.sqrt(2 * math.pi))
        return result

    return improvement


def _least_spread(distribution: "BaseDistribution") -> float:
    """Return half of the distance between the integers of a linear axis, so that candidates reach their neighbors."""
    from optuna.distributions import IntDistribution

    if not isinstance(distribution, IntDistribution) or distribution.log:
        return 0.0
    return 0.5 / (distribution.high - distribution.low + 1)


@final
class _Axes:
    """Points as rows of numbers: one coordinate in [0, 1] for each axis, NaN where it is inactive.

    The choices of a categorical axis are intervals of equal width.
    """

    def __init__(self, context: SamplerContext) -> None:
        from optuna.distributions import CategoricalDistribution

        self.space = {key: d for key, d in context.distributions.items() if not d.single()}
        self._fixed = {key: from_unit(d, 0.5) for key, d in context.distributions.items() if d.single()}
        self._conditional = bool(context.conditional)
        self._deciding = context.deciding
        self._active_keys = context.active_keys
        self._categorical = np.array([isinstance(d, CategoricalDistribution) for d in self.space.values()])
        self._least_spread = np.array([_least_spread(d) for d in self.space.values()])

    def key(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return a key that is equal for equal points."""
        return tuple(params.get(key) for key in self.space)

    def units(self, points: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the coordinates of points."""
        rows = [[self._unit(d, p[key]) if key in p else np.nan for key, d in self.space.items()] for p in points]
        return np.array(rows).reshape(len(points), len(self.space))

    def _unit(self, distribution: "BaseDistribution", value: Any) -> float:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if isinstance(distribution, CategoricalDistribution):
            return (distribution.choices.index(value) + 0.5) / len(distribution.choices)
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        return to_unit(distribution, value)

    def columns(self, units: np.ndarray) -> np.ndarray:
        """Return the columns of the forest: `INACTIVE` for NaN, and a column of 0 and 1 for each choice."""
        from optuna.distributions import CategoricalDistribution

        columns = []
        for unit, d in zip(units.T, self.space.values(), strict=True):
            if isinstance(d, CategoricalDistribution):
                count = len(d.choices)
                columns += [np.floor(unit * count) == n for n in range(count)]
            else:
                columns.append(np.where(np.isnan(unit), INACTIVE, unit))
        return np.column_stack(columns).astype(np.float32)

    def candidates(self, parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return coordinates anywhere in the box and around the parents, of inactive axes too."""
        anywhere, around = rng.random((2, CANDIDATES, len(self.space)))
        near = parents[rng.integers(len(parents), size=CANDIDATES)]
        spread = np.maximum(rng.choice(SPREADS, size=(CANDIDATES, 1)), self._least_spread)
        moved = near + spread * rng.normal(size=near.shape)
        moved = np.where(self._categorical, around, np.abs(moved))  # reflected at 0 and 1
        moved = np.where(moved > 1, 2 - moved, moved).clip(0, 1)
        near = np.where(rng.random(near.shape) < MOVED_SHARE, moved, near)
        return np.vstack([anywhere, np.where(np.isnan(near), around, near)])

    def without_inactive(self, units: np.ndarray) -> np.ndarray:
        """Return coordinates with NaN for inactive axes."""
        if not self._conditional:
            return units
        deciding = [(n, key, d) for n, (key, d) in enumerate(self.space.items()) if key in self._deciding]
        kept: dict[tuple[Any, ...], list[bool]] = {}
        masks = []
        for row in units[:, [n for n, _, _ in deciding]].tolist():
            values = {key: from_unit(d, unit) for (_, key, d), unit in zip(deciding, row, strict=True)}
            found = tuple(values.values())
            if found not in kept:
                active = self._active_keys(self._fixed | values)
                kept[found] = [key in active for key in self.space]
            masks.append(kept[found])
        return np.where(masks, units, np.nan)

    def point(self, row: np.ndarray) -> dict[str, Any]:
        """Return the parameters at coordinates, without inactive ones."""
        values = zip(self.space.items(), row.tolist(), strict=True)
        return {key: from_unit(d, unit) for (key, d), unit in values if not math.isnan(unit)}
