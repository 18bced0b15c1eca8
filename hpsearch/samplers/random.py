"""Independent draws, uniform on each axis' scale. Bergstra, Bengio 2012."""

from typing import TYPE_CHECKING

from hpsearch.samplers.base import SEEDS, SamplerContext

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def random(context: SamplerContext) -> "BaseSampler":
    """Knows no history."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=context.seed % SEEDS)
