"""New rows in a file → what a model says of them, in another; piece by piece, so that files may be large."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.data.sources.csv import MISSING_MARKERS, CsvFile
from hpsearch.data.sources.parquet import ParquetFile
from hpsearch.errors import DataError, OutputError
from hpsearch.models.model import Model

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
        OutputError: the other file cannot be written, or is the first one.
    """
    rows = 0
    draft = out.with_name(f"{out.name}.part")
    if any(_same(file, written) for written in (out, draft)):
        raise OutputError(f"{out}: writing it would overwrite the rows, {file}; name another file: --out")
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


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file that is there."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # the latter of a name with a zero byte
        return False


def _pieces(model: Model, file: Path) -> Iterator["pd.DataFrame"]:
    """Rows of a file, some at a time, with the names of columns that the model knows."""
    if file.suffix.lower() == ".parquet":
        yield from ParquetFile(file).chunks()
        return
    input_format: Any = model.preprocessing[0].input_format
    meant = {
        name for fold in model.preprocessing for encoding in fold.categorical.values() for name in encoding.columns
    }
    marks = [*input_format.get("missing", ()), *(mark for mark in MISSING_MARKERS if mark not in meant)]
    described = (input_format.get("header"), input_format.get("separator", ","), input_format.get("encoding", "utf-8"))
    source = CsvFile(file, *described, tuple(dict.fromkeys(marks)), input_format.get("decimal", "."))
    named = {}
    if not source.header:
        known = [name for name in input_format.get("columns", model.features) if name != input_format.get("target")]
        if len(source.names) == len(known):  # the target is not there
            named = dict(zip(source.names, known, strict=True))
    text = {back for back in source.names if named.get(back, back) in model.preprocessing[0].categorical}
    for cells in source.chunks(text):
        yield cells.rename(columns=named)
