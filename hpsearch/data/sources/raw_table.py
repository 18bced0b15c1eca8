"""The rows of a table source, collected chunk by chunk."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import numpy.typing as npt

from hpsearch.core.text import format_count
from hpsearch.data.frame import Frame
from hpsearch.data.missing_markers import MissingMarkers
from hpsearch.data.split_column import SplitColumn, group_column, time_column, times_as_numbers
from hpsearch.errors import DataError

if TYPE_CHECKING:
    from hpsearch.data.sources.tables import Chunk, TableSource


class RawTable(NamedTuple):
    """A table before its columns are converted.

    Attributes:
        frame: all columns that are not dropped; the test rows are the last ones.
        test: number of test rows.
        names: names of all columns.
        target: the column to predict.
        classification: the target holds classes.
        declared: columns that are categorical by their dtype, regardless of their values.
        order: the column of `split.by` or `split.groups`; if it is not a feature, `frame` lacks it.
        empty: number of rows without any cell, which are not in `frame`.
        row_filter: `(rows of the source,)`, False for rows that are not in `frame`.
    """

    frame: Frame
    test: int
    names: Sequence[str]
    target: str
    classification: bool
    declared: frozenset[str]
    order: SplitColumn | None
    empty: int
    row_filter: npt.NDArray[np.bool_]

    @property
    def training_rows(self) -> slice:
        """The rows that are not test rows."""
        return slice(len(self.frame) - self.test)

    def left_out(self) -> Iterator[str]:
        """Yield notices about rows that were left out."""
        if self.empty:
            yield f"{format_count(self.empty, 'empty row')} skipped"
        if unlabeled := int((~self.row_filter).sum()) - self.empty:
            yield f"{format_count(unlabeled, 'row')} without a target left out (missing_target: drop)"

    def with_targets(self) -> "RawTable":
        """Return the table without the rows whose target is missing."""
        present = ~self.frame.columns[self.target].missing
        rows, row_filter = np.flatnonzero(present), self.row_filter.copy()
        row_filter[row_filter] = present
        test = int(present[len(present) - self.test :].sum())
        order = None if self.order is None else self.order.take(rows)
        return self._replace(frame=self.frame.take(rows), test=test, order=order, row_filter=row_filter)


@final
class RawTableReader:
    """Collects the rows of a source, and beside them the column that the split follows."""

    def __init__(self, source: "TableSource", first: "Chunk", classification: bool) -> None:
        self._source, self._classification = source, classification
        self._names, self._target = source.column_names(first.cells)
        dropped = {source.resolve(name, "drop", self._names) for name in source.drop}
        if self._target in dropped:
            raise source.error(f"target '{self._target}' cannot be dropped")
        self._order = self._find_order_column(dropped)
        if self._order is not None and source.split is not None and not source.split.as_feature:
            dropped.add(self._order)
        self._kept = [position for position, name in enumerate(self._names) if name not in dropped]
        verbatim = frozenset({self._target} if classification else ())
        self._builder = source.frame_builder(self._names, verbatim, first.rows)
        self._order_builder = source.frame_builder(self._names, frozenset(self._names))
        self._dates = False
        self._test = 0
        self._row_filters: list[npt.NDArray[np.bool_]] = []

    def _find_order_column(self, dropped: Collection[str]) -> str | None:
        """Return the name of the column of `split.by` or `split.groups`; None if there is none.

        Raises:
            DataError: there is no such column, or it is the target or dropped.
        """
        source, split = self._source, self._source.split
        for column in source.order_columns:
            where = "split.by" if split is not None and split.by is not None else "split.groups"
            name = source.resolve(column, where, self._names)
            if name == self._target:
                raise source.error(f"target '{name}' cannot also be {where}")
            if name in dropped and split is not None and split.as_feature:
                raise source.error(f"{where} '{name}' is dropped, so it cannot be a feature; remove as_feature")
            return name
        return None

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


def marked_targets(source: "TableSource", name: str) -> dict[str, int]:
    """Return marker → number of rows whose target it marks as missing, the most frequent first."""
    markers, counts = source.all_markers().of_column(name), Counter[str]()
    for chunk in source.model_copy(update={"missing": {name: ()}}).chunks(frozenset({source.target})):
        cells = chunk.cells.iloc[:, [str(column) for column in chunk.cells.columns].index(name)].dropna()
        counts.update(text for cell in cells if (text := str(cell).strip()) in markers and text)
    return dict(counts.most_common())


def missing_target_hint(source: "TableSource", name: str) -> str:
    """Return advice about missing targets: the markers that make them missing, and the settings that help."""
    hint, marked = "to leave these rows out: missing_target: drop", marked_targets(source, name)
    if not marked:
        return f"; {hint}"
    found = ", ".join(f"{mark!r} in {format_count(count, 'row')}" for mark, count in list(marked.items())[:3])
    advice = MissingMarkers.of_setting(source.missing).advice(name)
    return f"; marked by {found}: if that is a class, set missing: {advice}; {hint}"
