"""Shared by all samplers: the context of a trial, the unit interval, and an adapter to Optuna's sampler class.

Optuna samples some parameters of a trial jointly (it calls them relative) and the others independently.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from hpsearch.core.seeds import derive

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

SEED_LIMIT = 2**32  # seeds of Optuna's samplers and of NumPy's older generators must be lower
Distributions = Mapping[str, "BaseDistribution"]  # axis key → distribution


class SamplerContext(NamedTuple):
    """The trial to sample; its parameters depend only on this context and the in-memory study.

    Attributes:
        stage_seed: the same for all trials of the stage.
        seed: this trial's own seed.
        number: the trial's number in its stage, from 0.
        parallel: the number of virtual workers: trials that are sampled without knowing each other's outcomes.
        known: the number of trials of earlier stages, which come first in the in-memory study. This stage's trials
            follow in the order of their numbers; those that have not reached a rung yet are running there.
        distributions: of all axes, in the order of the space.
        conditional: keys of axes that are active at some points only.
        deciding: keys of axes on whose values it depends which conditional axes are active.
        active_keys: returns the keys of active axes at values of the deciding ones.
        points: internal parameters of all trials in the box, also of those that the in-memory study leaves out.
    """

    stage_seed: int
    seed: int
    number: int
    parallel: int
    known: int
    distributions: Distributions
    conditional: frozenset[str]
    deciding: frozenset[str]
    active_keys: Callable[[Mapping[str, Any]], frozenset[str]]
    points: Sequence[Mapping[str, Any]] = ()

    def joint(self) -> dict[str, "BaseDistribution"]:
        """Return the distributions that can be sampled jointly: always active, with more than one value."""
        return {key: d for key, d in self.distributions.items() if key not in self.conditional and not d.single()}


SampleJoint = Callable[["Study", "FrozenTrial"], dict[str, Any]]
SampleIndependent = Callable[[str, "BaseDistribution"], Any]


def optuna_sampler(
    joint: Distributions, sample_joint: SampleJoint, sample_independent: SampleIndependent
) -> "BaseSampler":
    """Return an Optuna sampler built from two functions.

    Args:
        joint: the distributions of the parameters that `sample_joint` returns.
        sample_joint: samples these parameters; an empty result leaves them to `sample_independent`.
        sample_independent: samples one of the other parameters by its key and distribution.
    """
    from optuna.samplers import BaseSampler

    @final
    class FunctionSampler(BaseSampler):
        def infer_relative_search_space(self, study: "Study", trial: "FrozenTrial") -> dict[str, "BaseDistribution"]:
            return dict(joint)

        def sample_relative(
            self, study: "Study", trial: "FrozenTrial", search_space: dict[str, "BaseDistribution"]
        ) -> dict[str, Any]:
            return sample_joint(study, trial) if search_space else {}

        def sample_independent(
            self, study: "Study", trial: "FrozenTrial", param_name: str, param_distribution: "BaseDistribution"
        ) -> Any:
            return sample_independent(param_name, param_distribution)

    return FunctionSampler()


def sample_uniform(seed: int) -> SampleIndependent:
    """Return a function that samples uniformly, each axis with its own seed, so that their order has no effect."""
    return lambda key, distribution: from_unit(distribution, np.random.default_rng(derive(seed, key)).random())


def from_unit(distribution: "BaseDistribution", unit: float) -> Any:
    """Map [0, 1] to a value, such that uniform numbers become uniform on the axis's scale.

    Choices, and integers on a linear scale, get intervals of equal width.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        count = len(distribution.choices)
        return distribution.choices[min(int(unit * count), count - 1)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = _scaled_bounds(distribution)
    scaled = low + (high - low) * float(unit)
    value = math.exp(scaled) if distribution.log else scaled
    if isinstance(distribution, IntDistribution):
        value = math.floor(value + 0.5)
    return min(max(value, distribution.low), distribution.high)


def to_unit(distribution: "FloatDistribution | IntDistribution", value: float) -> float:
    """Map a value to [0, 1]: the inverse of `from_unit`; an integer maps to about the middle of its interval.

    A zoom on a single point leaves bounds that differ by a bit and whose logarithms are equal: they map to 0.5.
    """
    low, high = _scaled_bounds(distribution)
    if low == high:
        return 0.5
    scaled = math.log(value) if distribution.log else value
    return min(max((scaled - low) / (high - low), 0.0), 1.0)


def _scaled_bounds(distribution: "FloatDistribution | IntDistribution") -> tuple[float, float]:
    """Return the bounds on the axis's scale, half a step wider on each side for integers, as in Optuna."""
    from optuna.distributions import IntDistribution

    half = 0.5 if isinstance(distribution, IntDistribution) else 0.0
    low, high = distribution.low - half, distribution.high + half
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


def standing(trial: "FrozenTrial", sign: float) -> tuple[float, ...]:
    """Return a sort key: complete trials by value, pruned ones by their last report, then diverged and failed ones.

    Samplers that use only ranks need no substitute value for trials without one.

    Args:
        sign: −1 if values are maximized, else 1.
    """
    from optuna.trial import TrialState

    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return (0, sign * trial.value)
    if trial.state == TrialState.PRUNED and trial.intermediate_values:
        return (1, sign * trial.intermediate_values[max(trial.intermediate_values)])
    return (2,)


def minimizing_sign(study: "Study") -> float:
    """Return 1 if lower values are better, else −1."""
    from optuna.study import StudyDirection

    return 1.0 if study.direction == StudyDirection.MINIMIZE else -1.0


def informative(trials: "Sequence[FrozenTrial]", sign: float, count: int) -> "list[FrozenTrial]":
    """Return at most `count` trials in their order: the best half, and the newest of the others."""
    if len(trials) <= count:
        return list(trials)
    order = sorted(range(len(trials)), key=lambda n: standing(trials[n], sign))
    best = order[: count // 2]
    return [trials[n] for n in sorted([*best, *sorted(order[count // 2 :])[len(best) - count :]])]


def suggest_parameter(trial: "Trial", key: str, distribution: "BaseDistribution") -> None:
    """Sample one parameter of a trial."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(key, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(key, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, FloatDistribution):
        trial.suggest_float(key, distribution.low, distribution.high, log=distribution.log)
