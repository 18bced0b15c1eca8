"""New rows in a file → what a model says of them, in another; piece by piece, so that files may be large."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.errors import DataError, OutputError
from hpsearch.models import Model
from hpsearch.sources.csv import CsvFile

if TYPE_CHECKING:
    import pandas as pd


def predict(model: Model, file: Path, out: Path) -> int:
    """Writes a CSV file with a line for each row, in the order of the rows.

    Args:
        file: a CSV file, which is read as the training rows were (without a header columns are told by their place),
            or a Parquet file. It may have more columns than the model needs, and lack the target.

    Returns:
        How many rows there were.

    Raises:
        DataError: the file cannot be read, or lacks a column.
        OutputError: the other file cannot be written.
    """
    rows = 0
    draft = out.with_name(f"{out.name}.part")
    try:
        for cells in _pieces(model, file):
            try:
                said = model.predictions(cells)
            except DataError as error:
                raise DataError(f"{file}: {error}" + (f" (counted from row {rows + 1})" if rows else "")) from None
            said.to_csv(draft, mode="a" if rows else "w", header=not rows, index=False)
            rows += len(said)
        draft.replace(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)
    return rows


def _pieces(model: Model, file: Path) -> Iterator["pd.DataFrame"]:
    """Rows of a file, some at a time, with the names of columns that the model knows."""
    if file.suffix == ".parquet":
        yield from _parquet(file)
        return
    reading: Any = model.preprocessing[0].reading
    described = (reading.get("header"), reading.get("separator", ","), reading.get("encoding", "utf-8"))
    source = CsvFile(file, *described, tuple(reading.get("missing", ())))
    named = {}
    if not source.header:
        known = [name for name in reading.get("columns", model.features) if name != reading.get("target")]
        if len(source.names) == len(known):  # the target is not there
            named = dict(zip(source.names, known, strict=True))
    text = {back for back in source.names if named.get(back, back) in model.preprocessing[0].names}
    for cells in source.pieces(text):
        yield cells.rename(columns=named)


def _parquet(file: Path) -> Iterator["pd.DataFrame"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches():
                yield batch.to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: is no Parquet file that can be read: {error}") from None
