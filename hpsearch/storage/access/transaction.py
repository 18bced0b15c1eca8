"""A transaction that writes the rows of one study; no statement touches those of another."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import sqlalchemy as sa

from hpsearch.storage.tables import study_column


@final
class Transaction:
    """A transaction that writes the rows of one study.

    Args:
        connection: a connection with an open transaction.
        study: name of the study.

    Attributes:
        connection: for statements on tables of another library.
    """

    def __init__(self, connection: sa.Connection, study: str) -> None:
        self.connection = connection
        self._study = study

    def insert(self, table: sa.Table, *rows: Mapping[str, Any]) -> None:
        """Insert rows of the study; the cells of a single row may be SQL expressions."""
        keyed = [{**row, study_column(table).name: self._study} for row in rows]
        if len(keyed) == 1:
            self.connection.execute(table.insert().values(keyed[0]))
        elif keyed:
            self.connection.execute(table.insert(), keyed)

    def update(
        self,
        table: sa.Table,
        values: Mapping[str, Any],
        *where: sa.ColumnElement[bool],
        each: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        """Update rows of the study, and return their number.

        Args:
            values: the new values by column.
            where: which rows of the study.
            each: values of the bound parameters of `values` and `where`: the statement is executed for each of them.
        """
        statement = table.update().where(study_column(table) == self._study, *where).values(dict(values))
        result = self.connection.execute(statement, [dict(row) for row in each] or None)
        return int(result.rowcount)

    def delete(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
        """Delete rows of the study, and return their number."""
        statement = table.delete().where(study_column(table) == self._study, *where)
        return int(self.connection.execute(statement).rowcount)
