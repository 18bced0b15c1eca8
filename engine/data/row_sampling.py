"""Row sampling: the rows of an epoch and their order; each trial draws with its own generator."""

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from engine.data.rows import Rows
from engine.registry import Registry
from engine.types import Integers


class RowSampling(Protocol):
    """Configuration of row sampling; a frozen dataclass in the registry."""

    def order(self, rows: Rows, generator: np.random.Generator) -> Integers:
        """Return the row numbers of an epoch in order, `(rows,)`."""
        ...


@final
@dataclass(frozen=True)
class Shuffle:
    """Every row once, in a new order each epoch."""

    def order(self, rows: Rows, generator: np.random.Generator) -> Integers:
        return generator.permutation(len(rows))


@final
@dataclass(frozen=True)
class Bootstrap:
    """Rows drawn with replacement. Efron 1979."""

    def order(self, rows: Rows, generator: np.random.Generator) -> Integers:
        return generator.integers(0, len(rows), len(rows))


@final
@dataclass(frozen=True)
class Balanced:
    """Rows drawn with replacement, each class (distinct target) equally often on average."""

    def order(self, rows: Rows, generator: np.random.Generator) -> Integers:
        _, labels, counts = np.unique(rows.y, axis=0, return_inverse=True, return_counts=True)
        share = 1 / (len(counts) * counts[labels.ravel()])
        return generator.choice(len(rows), len(rows), p=share)


ROW_SAMPLINGS: Registry[RowSampling] = Registry(
    "row_sampling", {"shuffle": Shuffle, "bootstrap": Bootstrap, "balanced": Balanced}
)
