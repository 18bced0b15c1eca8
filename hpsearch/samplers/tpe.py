"""Tree-structured Parzen estimator, multivariate, running trials counted as bad. Bergstra et al. 2011."""

import warnings
from typing import TYPE_CHECKING

from hpsearch.samplers.base import SEED_LIMIT, SamplerContext

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


TPE_STARTUP = 10  # random trials before the model is used, including those of earlier stages


def tpe(context: SamplerContext) -> "BaseSampler":
    """Sample by Optuna's TPE, at random until `TPE_STARTUP` trials have finished."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna 4 calls two of these settings experimental
        return TPESampler(
            seed=context.seed % SEED_LIMIT, n_startup_trials=TPE_STARTUP, multivariate=True, constant_liar=True
        )
