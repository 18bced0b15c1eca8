"""Data sources by name."""

from hpsearch.data.sources.base import Part, Source, Split, Table
from hpsearch.data.sources.csv import CsvSource
from hpsearch.data.sources.formula import FormulaSource
from hpsearch.data.sources.npz import NpzSource
from hpsearch.data.sources.openml import OpenmlSource
from hpsearch.data.sources.parquet import ParquetSource
from hpsearch.data.sources.sklearn import SklearnSource
from hpsearch.data.sources.sql import SqlSource

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
