"""Markers of missing cells: for all columns, and for single ones."""

from collections.abc import Mapping
from typing import NamedTuple, Self, final

EMPTY = ("", " ")  # cells that are missing in any case
OTHERS = "*"  # stands for all columns that are not listed

Marks = tuple[str, ...]


@final
class MissingMarkers(NamedTuple):
    """Markers of missing cells.

    Attributes:
        general: markers in all columns that are not in `by_column`; None for the standard ones.
        by_column: column → its markers.
    """

    general: Marks | None
    by_column: Mapping[str, Marks]

    @classmethod
    def of_setting(cls, setting: Marks | Mapping[str, Marks] | None) -> Self:
        """Return the markers of `data.missing`."""
        if not isinstance(setting, Mapping):
            return cls(setting, {})
        return cls(setting.get(OTHERS), {name: marks for name, marks in setting.items() if name != OTHERS})

    def with_standard(self, standard: Marks) -> Self:
        """Return the markers with the standard ones, which an empty list or one that contains "" replaces."""

        def complete(marks: Marks | None) -> Marks:
            if marks is None:
                return standard
            return tuple(dict.fromkeys((*EMPTY, *marks) if not marks or "" in marks else (*standard, *marks)))

        return type(self)(complete(self.general), {name: complete(marks) for name, marks in self.by_column.items()})

    def of_column(self, name: str) -> Marks:
        """Return the markers of a column."""
        return self.by_column.get(name, self.general or ())

    def advice(self, name: str) -> str:
        """Return the setting, as YAML, that also says that no word marks a missing cell of a column."""
        given = {**self.by_column, name: ()} | ({} if self.general is None else {OTHERS: self.general})
        shown = (f"{key if key.isidentifier() else repr(key)}: [{', '.join(map(repr, m))}]" for key, m in given.items())
        return f"{{{', '.join(shown)}}}"
