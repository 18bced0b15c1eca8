"""Names → Optuna samplers, made anew for each trial from its seed: with no memory they repeat nothing on resume."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

SEEDS = 2**32  # Optuna's samplers take a seed below this


def random(seed: int) -> "BaseSampler":
    """Independent draws, uniform on each axis' scale."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed % SEEDS)


def tpe(seed: int) -> "BaseSampler":
    """Tree-structured Parzen estimator, multivariate, running trials counted as bad. Bergstra et al. 2011."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed % SEEDS)


SAMPLERS: dict[str, Callable[[int], "BaseSampler"]] = {
    "random": random,
    "tpe": tpe,
}


def suggest(trial: "Trial", key: str, distribution: "BaseDistribution") -> None:
    """Samples one parameter of a trial by its distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(key, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(key, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, FloatDistribution):
        trial.suggest_float(key, distribution.low, distribution.high, log=distribution.log)
