"""Random search: independent samples, uniform on each axis's scale. Bergstra, Bengio 2012."""

from typing import TYPE_CHECKING

from hpsearch.samplers.base import SEED_LIMIT, SamplerContext

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def random(context: SamplerContext) -> "BaseSampler":
    """Sample independently of earlier trials."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=context.seed % SEED_LIMIT)
