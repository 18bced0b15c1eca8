"""Tree-structured Parzen estimator, multivariate, running trials counted as bad. Bergstra et al. 2011."""

from typing import TYPE_CHECKING

from hpsearch.samplers.base import SEED_LIMIT, SamplerContext

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def tpe(context: SamplerContext) -> "BaseSampler":
    """Sample by Optuna's TPE: at random until ten trials have finished, including those of earlier stages."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=context.seed % SEED_LIMIT)
