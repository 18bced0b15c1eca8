"""Tables in Parquet files."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, final

from pydantic import Field

from hpsearch.core.files.regular_file import open_regular
from hpsearch.data.frame import CHUNK_ROWS
from hpsearch.data.sources.tables import Chunk, ColumnName, TableSource, as_object_dtype, resolve_columns
from hpsearch.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@final
class ParquetSource(TableSource):
    """`{source: parquet, path: adult.parquet, target: income}`.

    Dictionary columns of text are categorical, regardless of their values; decimals are converted to float64.
    """

    source: Literal["parquet"] = Field("parquet", description="Source.")
    path: Annotated[str, Field(min_length=1, description="File, relative to the current folder.")]
    test_path: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="File of the test rows. Default: they are part of `path`."
    )

    def chunks(self, text: frozenset[ColumnName]) -> Iterator[Chunk]:
        first: list[str] | None = None
        for path, test in ((self.path, False), (self.test_path, True)):
            if path is not None:
                for cells in ParquetFile(Path(path)).chunks():
                    cells = self.align_columns(cells, first, path)
                    first = first or list(cells.columns)
                    yield Chunk(as_object_dtype(cells, resolve_columns(text, first)), test)


# What reading a damaged file raises; pandas' part of the schema is any JSON, and read without checks.
_DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


@final
class ParquetFile:
    """A Parquet file, read chunk by chunk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def chunks(self) -> Iterator["pd.DataFrame"]:
        """Yield the rows; names of columns are converted to text.

        Raises:
            DataError: the file does not exist, cannot be read, or holds no rows.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with open_regular(self._path) as opened, pq.ParquetFile(opened) as file:
                if not file.metadata.num_rows:
                    raise self._error("holds no rows")
                for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                    for place, field in enumerate(batch.schema):
                        if pa.types.is_decimal(field.type):
                            numbers = batch.column(place).cast(pa.float64())
                            batch = batch.set_column(place, field.name, numbers)
                    if batch.num_rows:
                        yield batch.to_pandas().rename(columns=str)
        except FileNotFoundError:
            raise self._error("there is no such file; a relative path starts at the current folder") from None
        except (*_DAMAGED, pa.ArrowException) as error:
            reason = getattr(error, "strerror", None)  # of the system; pyarrow's errors about the content have none
            broken = str(error).partition("\n")[0]
            raise self._error(
                f"cannot be read: {reason}" if reason else f"is not a readable Parquet file: {broken}"
            ) from None

    def _error(self, message: str) -> DataError:
        return DataError(f"data: parquet: {self._path}: {message}")
