"""The rows of a table source, collected chunk by chunk."""

from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from hpsearch.data.sources.columns import RawTable
from hpsearch.data.split_column import SplitColumn, group_column, time_column, times_as_numbers
from hpsearch.errors import DataError

if TYPE_CHECKING:
    from hpsearch.data.sources.tables import Chunk, TableSource


@final
class RawTableReader:
    """Collects the rows of a source, and beside them the column that the split follows."""

    def __init__(self, source: "TableSource", first: "Chunk", classification: bool) -> None:
        self._source, self._classification = source, classification
        self._names, self._target = source.column_names(first.cells)
        dropped = {source.resolve(name, "drop", self._names) for name in source.drop}
        if self._target in dropped:
            raise source.error(f"target '{self._target}' cannot be dropped")
        self._order = source.order_column(self._names, self._target, dropped)
        if self._order is not None and source.split is not None and not source.split.as_feature:
            dropped.add(self._order)
        self._kept = [position for position, name in enumerate(self._names) if name not in dropped]
        verbatim = frozenset({self._target} if classification else ())
        self._builder = source.frame_builder(self._names, verbatim, first.rows)
        self._order_builder = source.frame_builder(self._names, frozenset(self._names))
        self._dates = False
        self._test = 0
        self._row_filters: list[npt.NDArray[np.bool_]] = []

    def add(self, chunk: "Chunk") -> None:
        """Add the rows of a chunk that have any cell."""
        chunk, row_filter = chunk.without_empty_rows()
        self._row_filters.append(row_filter)
        try:
            self._builder.add(chunk.cells.iloc[:, self._kept])
            if self._order is not None:
                cells, dates = times_as_numbers(chunk.cells.iloc[:, self._names.index(self._order)])
                self._dates |= dates
                self._order_builder.add(cells.to_frame(self._order))
        except DataError as error:
            raise self._source.error(str(error)) from None
        self._test += chunk.test * len(chunk.cells)

    def table(self) -> RawTable:
        """Return all rows.

        Raises:
            MixedTypesError: columns are numeric in one chunk and text in another.
            DataError: a time or group is missing, or a time cannot be read.
        """
        row_filter = np.concatenate(self._row_filters)
        raw = RawTable(
            self._builder.frame(),
            self._test,
            self._names,
            self._target,
            self._classification,
            frozenset(self._builder.declared),
            None,
            int((~row_filter).sum()),
            row_filter,
        )
        if self._source.missing_target == "drop":
            raw = raw.with_targets()
        return raw._replace(order=self._order_column(raw.row_filter[row_filter]))

    def _order_column(self, rows: npt.NDArray[np.bool_]) -> SplitColumn | None:
        """Return the column that the split follows, in these rows."""
        name, split = self._order, self._source.split
        if name is None or split is None:
            return None
        column = self._order_builder.frame().columns[name].take(np.flatnonzero(rows))
        if split.groups is not None:
            return group_column(name, column)
        return time_column(name, column, split.date_format, dates=self._dates)
