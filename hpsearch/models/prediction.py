"""Predictions for the rows of a file, written to a CSV file; both are processed in chunks to limit memory."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.core.atomic import atomic_file
from hpsearch.core.text import without_formula
from hpsearch.data.sources.csv import MISSING_MARKERS
from hpsearch.data.sources.parquet import ParquetFile
from hpsearch.data.text_files.csv_file import CsvFile, TextFormat
from hpsearch.errors import DataError, OutputError
from hpsearch.models.model import Model

if TYPE_CHECKING:
    import pandas as pd


def predict_file(model: Model, file: Path, out: Path, *, raw: bool = False) -> int:
    """Write a CSV file with a line for each row of a file, in the same order; return the number of rows.

    Args:
        raw: write class names as they are, also those that a spreadsheet would run as a formula.
        file: a CSV file in the format of the training file (without a header, columns are identified by position), or
            a Parquet file. Additional columns are ignored; the target may be absent.

    Raises:
        DataError: the file cannot be read, or lacks a column.
        OutputError: the output cannot be written, or would overwrite the input file.
    """
    rows = 0
    if _same_file(file, out):
        raise OutputError(f"{out}: writing it would overwrite the rows, {file}; choose another file: --out")
    try:
        with atomic_file(out) as draft:
            for cells in _chunks(model, file):
                try:
                    predicted = model.predictions(cells)
                except DataError as error:
                    raise DataError(f"{file}: {error}" + (f" (counted from row {rows + 1})" if rows else "")) from None
                if model.classes and not raw:
                    predicted["prediction"] = predicted["prediction"].map(without_formula)
                draft.write(predicted.to_csv(header=not rows, index=False).encode())
                rows += len(predicted)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from None
    return rows


def _same_file(one: Path, other: Path) -> bool:
    """Return True if two paths refer to the same existing file."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # ValueError: a path with a null byte
        return False


def _chunks(model: Model, file: Path) -> Iterator["pd.DataFrame"]:
    """Yield the rows of a file in chunks, with the column names of the model."""
    if file.suffix.lower() == ".parquet":
        yield from ParquetFile(file).chunks()
        return
    preprocessing, input_format = model.preprocessing[0], dict[str, Any](model.preprocessing[0].input_format)
    categories = {name for fold in model.folds for encoding in fold.categorical.values() for name in encoding.columns}
    missing = list(input_format.get("missing", ()))
    if "separator" not in input_format:  # the training table was no text file
        missing += [mark for mark in MISSING_MARKERS if mark not in categories]
    format = TextFormat.restore(input_format)
    if format.encoding == "utf-8":
        format = format._replace(encoding=None)  # a byte order mark says otherwise
    by_column = {name: tuple(marks) for name, marks in input_format.get("missing_of", {}).items()}
    source = CsvFile(file, format, tuple(dict.fromkeys(missing)), by_column)
    columns = {}
    if not source.format.header:
        known = [name for name in input_format.get("columns", model.features) if name != input_format.get("target")]
        if len(source.names) == len(known):  # the file has no target
            columns = dict(zip(source.names, known, strict=True))
    text = {name for name in source.names if columns.get(name, name) in preprocessing.categorical}
    for cells in source.chunks(text):
        yield cells.rename(columns=columns)
