"""The menu of sources."""

from hpsearch.sources.base import Part, Source, Split, Table
from hpsearch.sources.formula import FormulaSource
from hpsearch.sources.npz import NpzSource
from hpsearch.sources.sklearn import SklearnSource

SOURCES: dict[str, type[Source]] = {
    "sklearn": SklearnSource,
    "formula": FormulaSource,
    "npz": NpzSource,
}

__all__ = ["SOURCES", "Part", "Source", "Split", "Table"]
