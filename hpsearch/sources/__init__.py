"""The menu of sources."""

from hpsearch.sources.base import Part, Source, Split, Table
from hpsearch.sources.csv import CsvSource
from hpsearch.sources.formula import FormulaSource
from hpsearch.sources.npz import NpzSource
from hpsearch.sources.openml import OpenmlSource
from hpsearch.sources.parquet import ParquetSource
from hpsearch.sources.sklearn import SklearnSource
from hpsearch.sources.sql import SqlSource

SOURCES: dict[str, type[Source]] = {
    "sklearn": SklearnSource,
    "formula": FormulaSource,
    "npz": NpzSource,
    "csv": CsvSource,
    "parquet": ParquetSource,
    "sql": SqlSource,
    "openml": OpenmlSource,
}

__all__ = ["SOURCES", "Part", "Source", "Split", "Table"]
