"""Data sets of openml.org, downloaded once and then read from scikit-learn's cache."""

import contextlib
import socket
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, final
from urllib.error import HTTPError, URLError

from pydantic import Field

from hpsearch.data.sources.tables import Chunk, ColumnName, TableSource, as_object_dtype, resolve_columns

if TYPE_CHECKING:
    import pandas as pd

RESPONSE_TIMEOUT = 10.0  # seconds


@final
class OpenmlSource(TableSource):
    """`{source: openml, id: 1590}`.

    The data set's own target becomes the last column and is the default `target`. Nominal columns are categorical,
    regardless of their values.
    """

    source: Literal["openml"] = Field("openml", description="Source.")
    id: Annotated[int, Field(ge=1, description="ID of the data set: 61 for openml.org/d/61.")]
    target: ColumnName = Field(-1, description="Column to predict. Default: the target of the data set.")
    cache: str | None = Field(None, description="Folder of downloads. Default: that of scikit-learn.")

    def notices(self) -> Iterator[str]:
        yield from self._fetch()[1]

    def chunks(self, text: frozenset[ColumnName]) -> Iterator[Chunk]:
        cells, _ = self._fetch()
        yield Chunk(as_object_dtype(cells, resolve_columns(text, list(cells.columns))))

    def _fetch(self) -> tuple["pd.DataFrame", list[str]]:
        """Return the table, its own target last, and the warnings of openml.org.

        Raises:
            DataError: there is no such data set, or it cannot be downloaded.
        """
        own = self.target == -1
        try:
            bunch, notices = self._parse("pandas", own)
            if bunch is None:
                bunch, notices = self._parse("liac-arff", own)
        except HTTPError as error:
            error.close()
            raise self.error(f"id {self.id}: openml.org answers {error.code} {error.reason}; try again later") from None
        except (URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise self.error(
                f"id {self.id}: openml.org cannot be reached ({reason}) and the data set has not been downloaded"
                " before; connect and run again"
            ) from None
        except (OSError, ValueError, KeyError) as error:
            raise self.error(f"id {self.id}: {_reason(error)}") from None
        if bunch is None:
            raise self.error(f"id {self.id}: scikit-learn cannot read its rows")
        if own and len(bunch.target_names) != 1:
            names = ", ".join(bunch.target_names) or "none"
            raise self.error(f"id {self.id}: set target; the data set must have one default target, got {names}")
        return bunch.frame[[*bunch.feature_names, *bunch.target_names]], notices

    def _parse(self, parser: str, own: bool) -> tuple[Any, list[str]]:
        """Return the data set (None if the parser fails) and the warnings.

        The faster parser fails in scikit-learn 1.9 with pandas 3 for nominal columns that look like integers.
        """
        from sklearn.datasets import fetch_openml

        bunch: Any = None
        with _without_retries() as notices, contextlib.suppress(TypeError):
            bunch = fetch_openml(
                data_id=self.id,
                data_home=self.cache,
                target_column="default-target" if own else None,
                as_frame=True,
                parser=parser,
                n_retries=1,
            )
        return bunch, notices


@contextlib.contextmanager
def _without_retries() -> Iterator[list[str]]:
    """Collect warnings, and raise the first network error, which scikit-learn retries without a timeout."""
    messages: list[str] = []

    def note(message: Warning | str, *_: Any) -> None:
        error = sys.exception()
        if str(message).startswith("A network error occurred"):  # before the retry
            raise error if isinstance(error, URLError) else URLError(str(error or message))
        if str(message).startswith("Invalid cache") and isinstance(error, TypeError):
            raise error  # from the parser, before the download is deleted
        messages.append(str(message))

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(RESPONSE_TIMEOUT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = note  # type: ignore[assignment]
            yield messages
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error.args[0] if error.args else type(error).__name__)
