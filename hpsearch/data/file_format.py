"""Detection of a table file's format: the encoding, the lines around the table, the separator and the header."""

from pathlib import Path
from typing import Any, NamedTuple

from hpsearch.data.sources.csv import MISSING_MARKERS
from hpsearch.data.sources.parquet import ParquetSource
from hpsearch.data.text_files.csv_file import CsvFile, TextFormat
from hpsearch.data.text_files.encodings import guess_encoding, resolve_encoding
from hpsearch.data.text_files.layout import detect_separator, find_layout, uneven_lines
from hpsearch.data.text_files.opening import TEXT_ERRORS
from hpsearch.errors import DataError


class FileFormat(NamedTuple):
    """The format of a table file.

    Attributes:
        settings: settings of the source, in the order of a study file.
        columns: names of the columns.
        notices: guesses, in words.
    """

    settings: dict[str, Any]
    columns: list[str]
    notices: tuple[str, ...] = ()


def detect_format(path: Path, test: Path | None, header: bool | None = None, encoding: str | None = None) -> FileFormat:
    """Detect the format of a table file.

    Args:
        test: file of the test rows, which has the same format.
        header: the first line holds the names of the columns; None to guess it.
        encoding: None to guess it.

    Raises:
        DataError: the file cannot be read, or several encodings are plausible.
    """
    settings: dict[str, Any] = {"source": "csv", "path": str(path)}
    if test is not None:
        settings["test_path"] = str(test)
    if path.suffix.lower() == ".parquet":
        settings["source"] = "parquet"
        source = ParquetSource.model_validate({**settings, "target": 0})
        first = next(source.chunks(frozenset()), None)
        return FileFormat(settings, [str(name) for name in first.cells.columns] if first is not None else [])
    notices: list[str] = []
    if encoding is None:
        encoding, notice = _detect_encoding(path)
        notices += [notice] if notice else []
    given = TextFormat(header, encoding=encoding)
    lines = CsvFile(path, given, MISSING_MARKERS).sample_lines()
    found = find_layout(lines, None, header, None)
    separator = detect_separator(lines[found.skip_lines :]) if found is not None else ","
    title = uneven_lines(lines, separator) if found is not None and not found.skip_lines else 0
    file = CsvFile(path, given._replace(separator=separator, skip_lines=title or None), MISSING_MARKERS)
    footer = file.footer_lines()
    notices += [_for_init(notice) for notice in file.notices if "separator" not in notice]
    settings |= {"header": file.format.header, "separator": separator}
    if file.format.encoding != "utf-8":
        settings["encoding"] = file.format.encoding
    settings |= {key: count for key, count in (("skip_lines", title), ("skip_footer", footer)) if count}
    return FileFormat(settings, file.names, tuple(notices))


def _for_init(notice: str) -> str:
    """Return a notice with the options of `hpsearch init` in place of settings."""
    return notice.replace("header: true", "--header").replace("header: false", "--no-header")


def _detect_encoding(path: Path) -> tuple[str | None, str]:
    """Return the encoding, None if it is UTF-8 or marked in the file, and a notice if it is a guess.

    Raises:
        DataError: several encodings are plausible, or none.
    """
    try:
        resolve_encoding(path, None)
        guess = guess_encoding(path)
    except TEXT_ERRORS:
        return None, ""  # CsvFile reports the error
    if guess is None:
        return None, ""
    if guess.encoding is None:
        readings = ", ".join(f"{name} ({words})" for name, words in guess.readings.items())
        raise DataError(
            f"{path}: is not UTF-8 text; name its encoding with --encoding"
            + (f"; these are plausible: {readings}" if readings else ", such as --encoding cp1252")
        )
    words = guess.readings[guess.encoding]
    reads = f", which reads {words!r}" if words else ""
    return guess.encoding, f"the encoding is probably {guess.encoding}{reads}; if it is another: --encoding"
