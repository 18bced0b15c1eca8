"""The menu of sources."""

from hpsearch.sources.base import Source, Split, Table
from hpsearch.sources.sklearn import SklearnSource

SOURCES: dict[str, type[Source]] = {
    "sklearn": SklearnSource,
}

__all__ = ["SOURCES", "Source", "Split", "Table"]
