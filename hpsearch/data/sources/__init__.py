"""Data sources by name."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import final

from hpsearch.data.sources.base import Part, Source, Split, Table


@final
class _Sources(Mapping[str, type[Source]]):
    """Sources by name. The module of a source, which has its name, is imported when the source is asked for.

    Args:
        classes: name → name of the class.
    """

    def __init__(self, classes: Mapping[str, str]) -> None:
        self._classes = classes

    def __getitem__(self, name: str) -> type[Source]:
        class_name = self._classes[name]
        found: type[Source] = getattr(import_module(f"hpsearch.data.sources.{name}"), class_name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)


SOURCES: Mapping[str, type[Source]] = _Sources(
    {
        "sklearn": "SklearnSource",
        "formula": "FormulaSource",
        "npz": "NpzSource",
        "csv": "CsvSource",
        "parquet": "ParquetSource",
        "sql": "SqlSource",
        "openml": "OpenmlSource",
    }
)

__all__ = ["SOURCES", "Part", "Source", "Split", "Table"]
