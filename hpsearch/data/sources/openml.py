"""Data sets of openml.org, fetched once and then read from scikit-learn's cache."""

import contextlib
import socket
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, final
from urllib.error import HTTPError, URLError

from pydantic import Field

from hpsearch.data.sources.tables import ColumnName, Piece, TableSource, as_objects, as_written

if TYPE_CHECKING:
    import pandas as pd

TIMEOUT = 10.0  # seconds without an answer


@final
class OpenmlSource(TableSource):
    """`{source: openml, id: 1590}`: the data set's own target is its last column, and is predicted unless `target` says
    otherwise. Nominal columns are names, whatever these look like."""

    source: Literal["openml"] = Field("openml", description="Source.")
    id: Annotated[int, Field(ge=1, description="Number of the data set: openml.org/d/61 is 61.")]
    target: ColumnName = Field(-1, description="Column to predict. Default: the target of the data set.")
    cache: str | None = Field(None, description="Folder of downloads. Default: that of scikit-learn.")

    def notices(self) -> Iterator[str]:
        yield from self._fetch()[1]

    def chunks(self, text: frozenset[ColumnName]) -> Iterator[Piece]:
        cells, _ = self._fetch()
        yield Piece(as_objects(cells, as_written(text, list(cells.columns))))

    def _fetch(self) -> tuple["pd.DataFrame", list[str]]:
        """The table, its own target last, and what openml.org says of it.

        Raises:
            DataError: there is none, or it cannot be fetched.
        """
        own = self.target == -1
        try:
            found, notices = self._parsed("pandas", own)
            if found is None:
                found, notices = self._parsed("liac-arff", own)
        except HTTPError as error:
            error.close()
            raise self.error(f"id {self.id}: openml.org answers {error.code} {error.reason}; try again later") from None
        except (URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise self.error(
                f"id {self.id}: openml.org cannot be reached ({reason}); what was fetched once is read without it:"
                " connect and run again"
            ) from None
        except (OSError, ValueError, KeyError) as error:
            raise self.error(f"id {self.id}: {_reason(error)}") from None
        if found is None:
            raise self.error(f"id {self.id}: scikit-learn cannot read its rows")
        if own and len(found.target_names) != 1:
            names = ", ".join(found.target_names) or "none"
            raise self.error(f"id {self.id}: a target must be given, for the data set has {names} of its own")
        return found.frame[[*found.feature_names, *found.target_names]], notices

    def _parsed(self, parser: str, own: bool) -> tuple[Any, list[str]]:
        """What is fetched, None where the parser fails, and what is said of it.

        The faster one does in scikit-learn 1.9 with pandas 3, at nominal columns that look like whole numbers.
        """
        from sklearn.datasets import fetch_openml

        found: Any = None
        with _once() as notices, contextlib.suppress(TypeError):
            found = fetch_openml(
                data_id=self.id,
                data_home=self.cache,
                target_column="default-target" if own else None,
                as_frame=True,
                parser=parser,
                n_retries=1,
            )
        return found, notices


@contextlib.contextmanager
def _once() -> Iterator[list[str]]:
    """Warnings as a list; the first network error ends it, where scikit-learn tries four times and waits for ever."""
    found: list[str] = []

    def note(message: Warning | str, *_: Any) -> None:
        error = sys.exception()
        if str(message).startswith("A network error occurred"):  # before it tries again
            raise error if isinstance(error, URLError) else URLError(str(error or message))
        if str(message).startswith("Invalid cache") and isinstance(error, TypeError):
            raise error  # of the parser: before what was fetched is thrown away
        found.append(str(message))

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = note  # type: ignore[assignment]
            yield found
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error.args[0] if error.args else type(error).__name__)
