"""Detection of a table file's format: encoding, lines around the table, separator, header, notation of numbers."""

from pathlib import Path
from typing import Any, NamedTuple

from hpsearch.data.frame import Column, FrameBuilder, MixedTypesError, first_duplicate
from hpsearch.data.recommendations import MARKERS
from hpsearch.data.sources.csv import MISSING_MARKERS, CsvSource
from hpsearch.data.sources.parquet import ParquetSource
from hpsearch.data.sources.tables import ColumnName, TableSource
from hpsearch.data.text_files.csv_file import CsvFile, TextFormat
from hpsearch.data.text_files.encodings import guess_encoding, resolve_encoding
from hpsearch.data.text_files.layout import detect_separator, find_layout, uneven_lines
from hpsearch.data.text_files.numbers import NumberFormat, common_format, written_numbers
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


class TableCells(NamedTuple):
    """All rows, column by column.

    Attributes:
        names: all columns.
        columns: the columns that can be read, by name.
        unreadable: the other columns → why they cannot be read.
        declared: columns that are categorical by their dtype.
        test: number of test rows; these are the last ones.
    """

    names: list[str]
    columns: dict[str, Column]
    unreadable: dict[str, str]
    declared: set[str]
    test: int


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


# --- the cells


def read_cells(settings: dict[str, Any], target: str) -> tuple[TableSource, TableCells]:
    """Read all rows, with the notation of numbers that the text columns show; it is added to the settings."""
    kind: type[TableSource] = ParquetSource if settings["source"] == "parquet" else CsvSource
    for _ in range(3):  # what is text in one notation may be a number in another
        source = kind.model_validate(settings)
        cells = _read(source, target)
        if settings["source"] != "csv":
            break
        notation = _notation(source, cells)
        if notation.is_plain:
            break
        before = NumberFormat(*(getattr(source, name) for name in NumberFormat._fields))
        notation = notation._replace(
            decimal=before.decimal if notation.decimal == "." else notation.decimal,
            thousands=notation.thousands or before.thousands,
            strip=tuple(dict.fromkeys([*before.strip, *notation.strip])),
        )
        if notation == before:
            break
        changed = {name for name in NumberFormat._fields if getattr(notation, name) != getattr(NumberFormat(), name)}
        settings |= {name: value for name, value in notation._asdict().items() if name in changed}
        if notation.strip:
            settings["strip"] = list(notation.strip)
    return source, cells


def _notation(source: TableSource, cells: TableCells) -> NumberFormat:
    """Return the notation of the numbers in text columns; numbers with a point in other columns count too."""
    assert isinstance(source, CsvSource)
    shown = source.sample_cells()
    found = []
    for name, column in cells.columns.items():
        raw = column.categories if column.categories is not None else shown.get(name, ())
        words = [cell for cell in raw if cell.lower() not in MARKERS]
        if column.categories is not None or any("." in cell for cell in words):
            found += [notation] if (notation := written_numbers(words, plain=True)) is not None else []
    return common_format(found) if any(notation.example for notation in found) else NumberFormat()


def _read(source: TableSource, target: str) -> TableCells:
    """Read all rows, each column separately, so that an unusable column does not affect the others."""
    text: frozenset[ColumnName] = frozenset({target})
    while True:
        builders: dict[str, FrameBuilder] = {}
        unreadable: dict[str, str] = {}
        test = 0
        for chunk in source.chunks(text):
            chunk, _ = chunk.without_empty_rows()
            names = [str(name) for name in chunk.cells.columns]
            if (duplicate := first_duplicate(names)) is not None:
                raise source.error(f"two columns are named '{duplicate}'")
            builders = builders or {name: FrameBuilder(verbatim=frozenset({target})) for name in names}
            for position, name in enumerate(names):
                try:
                    if name not in unreadable:
                        builders[name].add(chunk.cells.iloc[:, [position]])
                except DataError as error:
                    unreadable[name] = str(error)
            test += chunk.test * len(chunk.cells)
        columns: dict[str, Column] = {}
        mixed: set[str] = set()
        for name, builder in builders.items():
            try:
                if name not in unreadable:
                    columns |= builder.frame().columns
            except MixedTypesError:
                mixed.add(name)
        if not mixed:
            declared = {name for name, builder in builders.items() if name in builder.declared}
            return TableCells(list(builders), columns, unreadable, declared, test)
        if mixed <= text:
            raise source.error(f"columns with both numbers and text: {', '.join(sorted(mixed))}")
        text |= mixed
