"""Tree-structured Parzen estimator, multivariate, running trials counted as bad. Bergstra et al. 2011."""

from typing import TYPE_CHECKING

from hpsearch.samplers.base import SEEDS, SamplerContext

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def tpe(context: SamplerContext) -> "BaseSampler":
    """Optuna's, whose first ten finished trials are random; earlier stages' trials count."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=context.seed % SEEDS)
