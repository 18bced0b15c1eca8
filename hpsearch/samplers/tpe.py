"""Tree-structured Parzen estimator, multivariate, running trials counted as bad. Bergstra et al. 2011."""

import warnings
from typing import TYPE_CHECKING

from hpsearch.samplers.base import SEED_LIMIT, SamplerContext

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def tpe(context: SamplerContext) -> "BaseSampler":
    """Sample by Optuna's TPE: at random until ten trials have finished, including those of earlier stages."""
    from optuna.exceptions import ExperimentalWarning
    from optuna.samplers import TPESampler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna 4 calls both settings experimental
        return TPESampler(seed=context.seed % SEED_LIMIT, multivariate=True, constant_liar=True)
