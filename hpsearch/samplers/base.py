"""What a sampler is made from, and the unit interval that every axis is drawn on."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from hpsearch.core.seeds import derive

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

SEEDS = 2**32  # Optuna's samplers and NumPy's older generators take a seed below this
Box = Mapping[str, "BaseDistribution"]


class SamplerContext(NamedTuple):
    """One trial that is asked for. What is drawn follows from this and from the in-memory study, from nothing else.

    Attributes:
        stage_seed: the same for all trials of the stage.
        seed: of this trial alone.
        number: within its stage, from 0.
        wave: trials that are asked together; trial n belongs to wave n // wave.
        known: so many trials of earlier stages stand first in the study. After them stand this stage's in the order of
            their numbers: those of waves up to k−2 as finished, all others, up to wave k's own, as RUNNING.
        box: axis key → its distribution, of all axes, in the order of the space.
        conditional: keys of axes that count at some points only.
    """

    stage_seed: int
    seed: int
    number: int
    wave: int
    known: int
    box: Box
    conditional: frozenset[str]

    def joint(self) -> dict[str, "BaseDistribution"]:
        """The axes that every trial has and that leave a choice."""
        return {key: d for key, d in self.box.items() if key not in self.conditional and not d.single()}


SampleJoint = Callable[["Study", "FrozenTrial"], dict[str, Any]]
SampleIndependent = Callable[[str, "BaseDistribution"], Any]


def stateless(joint: Box, sample_joint: SampleJoint, sample_independent: SampleIndependent) -> "BaseSampler":
    """An Optuna sampler that draws some axes together, and each of the rest alone."""
    from optuna.samplers import BaseSampler

    @final
    class Stateless(BaseSampler):
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

    return Stateless()


def uniform(seed: int) -> SampleIndependent:
    """Independent draws, each axis with a seed of its own, so that their order does not matter."""
    return lambda key, distribution: place(distribution, np.random.default_rng(derive(seed, key)).random())


def place(distribution: "BaseDistribution", unit: float) -> Any:
    """[0, 1] → a value; uniform becomes uniform on the axis' scale, for choices and linear whole numbers exactly."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        count = len(distribution.choices)
        return distribution.choices[min(int(unit * count), count - 1)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = _ends(distribution)
    position = low + (high - low) * float(unit)
    raw = math.exp(position) if distribution.log else position
    if isinstance(distribution, IntDistribution):
        raw = math.floor(raw + 0.5)
    return min(max(raw, distribution.low), distribution.high)


def unit(distribution: "FloatDistribution | IntDistribution", value: float) -> float:
    """The inverse of `place`; of whole numbers the middle of what becomes them, or near it on a log scale."""
    low, high = _ends(distribution)
    position = math.log(value) if distribution.log else value
    return min(max((position - low) / (high - low), 0.0), 1.0)


def _ends(distribution: "FloatDistribution | IntDistribution") -> tuple[float, float]:
    """A whole number stands for what rounds to it: half a step more on each side, as Optuna draws them."""
    from optuna.distributions import IntDistribution

    half = 0.5 if isinstance(distribution, IntDistribution) else 0.0
    low, high = distribution.low - half, distribution.high + half
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


def suggest(trial: "Trial", key: str, distribution: "BaseDistribution") -> None:
    """Samples one parameter of a trial by its distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(key, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(key, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, FloatDistribution):
        trial.suggest_float(key, distribution.low, distribution.high, log=distribution.log)
