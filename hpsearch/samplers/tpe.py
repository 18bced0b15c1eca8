"""Tree-structured Parzen estimator, multivariate, running trials counted as bad. Bergstra et al. 2011."""

from typing import TYPE_CHECKING

from hpsearch.samplers.base import SEEDS, Question

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def tpe(question: Question) -> "BaseSampler":
    """Optuna's, whose first ten finished trials are random; earlier stages' trials count."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=question.seed % SEEDS)
