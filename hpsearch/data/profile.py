"""What a table looks like to somebody who is to learn from it: its target, its columns, marks of missing cells."""

import codecs
import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import numpy as np
import numpy.typing as npt

from engine.registry import nearest
from engine.types import Floats
from hpsearch.core.text import format_number, format_percent, printable
from hpsearch.data.frame import MISSING_CODE, Column, FrameBuilder, MixedTypesError, to_numeric
from hpsearch.data.sources.csv import CsvFile, CsvSource
from hpsearch.data.sources.parquet import ParquetSource
from hpsearch.data.sources.tables import FEW, MOSTLY, ColumnName, TableSource
from hpsearch.errors import DataError

TaskType = Literal["classification", "regression"]
SEPARATORS = (",", ";", "\t", "|")
SNIFFED = 1 << 18  # characters that the separator is guessed from
LISTED = 30  # columns that a message names
ENOUGH = 20  # rows without which being all different, or one to one, may be chance
DISTINCT = 0.95  # of a column of names are different: it says who and not what
CODES = 10  # different whole numbers in a column, up to which they may be codes
MANY_CODES = 100  # likewise of one whose name says so
TAIL = 3.0  # skewness, beyond which a tail is long
MARKS = {"?", "??", "-", "--", "---", ".", "..", "*", "**", "missing", "unknown", "n.a.", "na", "n/a", "nil", "none"}
NONSTANDARD_NUMBERS = "numbers written in another way than 1234.5"
WORDS = 5  # different words among the numbers of a column that may all be marks
_ID = re.compile(r"(?i:(?:.*[\W_])?(?:id|uuid|guid|index|row|key|no|nr)|unnamed: 0|column 0)|.*[a-z]I[Dd]", re.DOTALL)
_CODE = re.compile(r"(?:.*[\W_])?(?:code|type|kind|class|category|group|zip|zipcode|postcode)", re.IGNORECASE)
_FOREIGN = re.compile(r"\W*[+-]?\d[\d.,'  ]*[^\w]*")  # 3,14 and 1,234 and 12 % and $5
_TARGETS = ("target", "label", "class", "y", "outcome")


@final
@dataclass(frozen=True)
class ColumnProfile:
    """One column of a table.

    Attributes:
        position: from 0.
        description: the contents, for people.
        drop_reason: why the column should not be learned from; empty if it should.
        categorical_reason: why its numbers are treated as categories; empty if they are not.
        maybe_codes: it holds few distinct integers, which may be category codes.
        has_missing: it has missing cells.
        long_tail: it is numeric with a few values far from the others.
        categories: number of categories; 0 for numeric columns.
    """

    name: str
    position: int
    description: str
    drop_reason: str = ""
    categorical_reason: str = ""
    maybe_codes: bool = False
    has_missing: bool = False
    long_tail: bool = False
    categories: int = 0


@final
@dataclass(frozen=True)
class TableProfile:
    """A table.

    Attributes:
        settings: of the source that reads it, but for how rows are split and scaled.
        columns: all of them, in their order.
        rows: how many there are to learn from and to choose by, and `test` how many of the test rows are apart.
        classes: class → how many of `rows`; empty for a regression.
        range: of the target of a regression.
    """

    settings: Mapping[str, Any]
    columns: tuple[ColumnProfile, ...]
    target: str
    rows: int
    test: int
    classes: Mapping[str, int]
    range: tuple[float, float] = (0.0, 0.0)

    @property
    def rarest(self) -> float:
        """The share of the rarest class."""
        return min(self.classes.values()) / self.rows if self.classes else 1.0


class _Cells(NamedTuple):
    """All rows, column by column.

    Attributes:
        unread: columns that hold what is neither a number nor text, and what it is.
        declared: columns that are names by their type.
        test: how many rows, the last ones, are of the test.
    """

    names: list[str]
    columns: dict[str, Column]
    unread: dict[str, str]
    declared: set[str]
    test: int


def profile_table(
    path: Path, target: str | None, test: Path | None = None, task: TaskType | None = None
) -> TableProfile:
    """Reads a table, and says how it should be read.

    Args:
        target: the column to predict, by its name or its place.
        test: the file of the test rows, if they are apart.
        task: guessed when not given.

    Raises:
        DataError: it cannot be read, or there is nothing to learn; without a target it names the columns.
    """
    settings, names = _reading(path, test)
    known = _target(path, target, names)
    place: ColumnName = known if settings.get("header", True) else names.index(known)
    settings["target"] = place
    source: TableSource = (ParquetSource if settings["source"] == "parquet" else CsvSource).model_validate(settings)
    cells = _read(source, known)
    if known in cells.unread:
        raise source.error(f"target {cells.unread[known]}")
    wanted = cells.columns.pop(known)
    if not len(wanted.values):
        raise source.error("there are no rows")
    rows = len(wanted.values) - cells.test
    classes = _classifies(wanted, known in cells.declared) if task is None else task == "classification"
    settings["task"] = "classification" if classes else "regression"
    if classes:
        wanted = wanted.as_categorical()
        settings["labels"] = _labels(wanted, rows)
    elif (values := to_numeric(wanted))[1] is None:
        wanted = Column(values[0])
    _check_target(source, known, wanted, rows)
    settings["missing"] = _marks(cells, wanted)
    found = [
        _seen(place, name, cells, settings["missing"], wanted.take(slice(rows)), known)
        for place, name in enumerate(cells.names)
    ]
    by_name = settings.get("header", True)
    settings["drop"] = [c.name if by_name else c.position for c in found if c.drop_reason]
    settings["categorical"] = [
        c.name if by_name else c.position for c in found if c.categorical_reason and not c.drop_reason
    ]
    _check_left(source, found)
    settings = {key: value for key, value in settings.items() if value not in ([], {})}
    if classes:
        return TableProfile(settings, tuple(found), known, rows, cells.test, _counted(wanted.take(slice(rows))))
    learned, _ = to_numeric(wanted.take(slice(rows)))
    learned = learned[~np.isnan(learned)]  # text among them is refused by the source
    ends = (float(learned.min()), float(learned.max())) if len(learned) else (0.0, 0.0)
    return TableProfile(settings, tuple(found), known, rows, cells.test, {}, ends)


# --- how the file is read


def _reading(path: Path, test: Path | None) -> tuple[dict[str, Any], list[str]]:
    """How a file is read, in the order of a study file, and the names of its columns."""
    settings: dict[str, Any] = {"source": "csv", "path": str(path)}
    if test is not None:
        settings["test_path"] = str(test)
    if path.suffix.lower() == ".parquet":
        settings["source"] = "parquet"
        source = ParquetSource.model_validate({**settings, "target": 0})
        first = next(source.chunks(frozenset()), None)
        return settings, [str(name) for name in first.cells.columns] if first is not None else []
    encoding, start = _text(path)
    separator = _separator(start)
    file = CsvFile(path, None, separator, encoding, ())
    settings |= {"header": file.header, "separator": separator}
    if encoding != "utf-8":
        settings["encoding"] = encoding
    return settings, file.names


def _text(path: Path) -> tuple[str, str]:
    """The encoding of a file, and its first lines. What is not UTF-8 is taken for Latin-1, which anything can be."""
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            start = file.read(SNIFFED)
            if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16", start.decode("utf-16", "replace")
            decoder, piece = codecs.getincrementaldecoder("utf-8")(), start
            try:
                while piece:
                    decoder.decode(piece)
                    piece = file.read(1 << 22)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                return "latin-1", start.decode("latin-1")
            return "utf-8", start.decode("utf-8-sig", "replace")
    except (OSError, EOFError, ValueError, zlib.error):
        return "utf-8", ""  # CsvFile says what is wrong


def _separator(start: str) -> str:
    """The one that parts most lines alike; then that leaves most numbers; then most cells."""
    lines = start.splitlines(keepends=True)
    if len(start) >= SNIFFED // 4 and len(lines) > 1:
        lines = lines[:-1]  # the last may be cut
    best, chosen = (0.0, 0.0, 0), ","
    for separator in SEPARATORS:
        try:
            rows = [r for r in csv.reader(lines, delimiter=separator, skipinitialspace=True) if "".join(r).strip()]
        except csv.Error:
            continue
        width, times = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
        if width > 1:
            cells = [cell for row in rows for cell in row]
            share = sum(_foreign(cell.strip()) and cell.count(",") < 2 for cell in cells) / len(cells)
            score = (times / len(rows), share, width)
            if score > best:
                best, chosen = score, separator
    return chosen


def _foreign(cell: str) -> bool:
    """Whether it is a number, however it is written; a long cell is none, and would take the square of it to see."""
    return len(cell) <= 50 and _FOREIGN.fullmatch(cell) is not None


def _target(path: Path, given: str | None, names: Sequence[str]) -> str:
    """The name of the column to predict."""
    if given is not None and given in names:
        return given
    if given is not None and re.fullmatch(r"-?\d+", given, re.ASCII):
        if -len(names) <= (place := int(given)) < len(names):
            return names[place]
        raise DataError(f"{path}: --target: there are {len(names)} columns, so a place from 0 to {len(names) - 1}")
    usual = next((name for name in names if name.lower() in _TARGETS), names[-1] if names else "")
    shown = ", ".join(printable(repr(name), 50) for name in names[:LISTED])
    more = f" … and {len(names) - LISTED} more" if len(names) > LISTED else ""
    if given is None:
        raise DataError(
            f"{path}: which column is to be predicted? --target says it; there are {shown}{more};"
            f" perhaps --target {printable(repr(usual), 50)}"
        )
    raise DataError(
        f"{path}: --target: there is no column {given!r}{nearest(given, list(names))}; there are {shown}{more}"
    )


def _read(source: TableSource, target: str) -> _Cells:
    """All rows, each column by itself, so that one that cannot be used is no obstacle."""
    text: frozenset[ColumnName] = frozenset({target})
    while True:
        builders: dict[str, FrameBuilder] = {}
        unread: dict[str, str] = {}
        test = 0
        for piece in source.chunks(text):
            names = [str(name) for name in piece.cells.columns]
            if twice := next((name for name, count in Counter(names).items() if count > 1), None):
                raise source.error(f"two columns are called '{twice}'")
            builders = builders or {name: FrameBuilder(written=frozenset({target})) for name in names}
            for place, name in enumerate(names):
                try:
                    if name not in unread:
                        builders[name].add(piece.cells.iloc[:, [place]])
                except DataError as error:
                    unread[name] = str(error)
            test += piece.test * len(piece.cells)
        columns: dict[str, Column] = {}
        mixed: set[str] = set()
        for name, builder in builders.items():
            try:
                if name not in unread:
                    columns |= builder.frame().columns
            except MixedTypesError:
                mixed.add(name)
        if not mixed:
            declared = {name for name, builder in builders.items() if name in builder.declared}
            return _Cells(list(builders), columns, unread, declared, test)
        if mixed <= text:
            raise source.error(f"columns of numbers and of text: {', '.join(sorted(mixed))}")
        text |= mixed


# --- the target


def _classifies(column: Column, declared: bool) -> bool:
    """Whether it holds classes: names, or few whole numbers that come again and again."""
    values, text = to_numeric(column)
    known = np.unique(values[~np.isnan(values)])
    if declared or (text is not None and (text.cells > MOSTLY * (~column.missing).sum() or len(known) <= FEW)):
        return True
    few = len(known) <= FEW and 2 * len(known) <= len(values)
    return text is None and few and bool((known == np.floor(known)).all())


def _labels(column: Column, rows: int) -> dict[str, str]:
    """Classes of the test rows alone that are written otherwise: with a dot, a space, or in other letters."""
    assert column.categories is not None
    used = set(np.unique(column.values[:rows]).tolist())
    meant: dict[str, list[str]] = {}
    for code, name in enumerate(column.categories):
        if code in used:
            meant.setdefault(_plain(name), []).append(name)
    new = [name for code, name in enumerate(column.categories) if code not in used]
    return {name: meant[_plain(name)][0] for name in new if len(meant.get(_plain(name), ())) == 1}


def _plain(label: str) -> str:
    return label.strip(" .").casefold()


def _check_target(source: TableSource, name: str, column: Column, rows: int) -> None:
    name = printable(name, 100)
    if missing := int(column.missing.sum()):
        raise source.error(
            f"target '{name}' is missing in {missing} of {len(column.values)} rows;"
            " a row without it can neither be learned from nor tested"
        )
    there = column.values[:rows]
    if (there == there[0]).all():
        value = column.categories[there[0]] if column.categories is not None else f"{there[0]:g}"
        raise source.error(f"target '{name}' is {value!r} in all {rows} rows: there is nothing to predict")


def _counted(column: Column) -> dict[str, int]:
    assert column.categories is not None
    counts = np.bincount(column.values[~column.missing], minlength=len(column.categories))
    return {name: int(n) for name, n in sorted(zip(column.categories, counts, strict=True), key=lambda c: -c[1]) if n}


# --- the other columns


def _marks(cells: _Cells, target: Column) -> list[str]:
    """What stands for a missing cell. A mark counts in every column, so none is what another column means."""
    meant = set(target.categories or ())
    inside: set[str] = set()
    for name, column in cells.columns.items():
        values, words = _words(column)
        if np.isinf(values).any():
            meant_by = {1.0: "inf", -1.0: "-inf"}
            inside |= {meant_by[sign] for sign in np.unique(np.sign(values[np.isinf(values)])).tolist()}
        if column.categories is None or name in cells.declared:
            meant |= set(column.categories or ()) - {"?"}
        elif _mostly(column, values):
            inside |= words if len(words) <= WORDS else words & MARKS
        else:
            meant |= {n for n in column.categories if n.lower() not in MARKS}
            inside |= {"?"} & words
    return sorted(inside - meant)


def _words(column: Column) -> tuple[Floats, set[str]]:
    """A column as numbers, and what it holds beside them."""
    values, text = to_numeric(column)
    if text is None or column.categories is None:
        return values, set()
    return values, {column.categories[code] for code in np.unique(column.values[np.isnan(values) & ~column.missing])}


def _mostly(column: Column, values: Floats) -> bool:
    there = int((~column.missing).sum())
    return there > 0 and int((~np.isnan(values)).sum()) >= MOSTLY * there


def _seen(place: int, name: str, cells: _Cells, marks: Sequence[str], target: Column, wanted: str) -> ColumnProfile:
    """One column, as it will be read."""
    if name == wanted:
        return ColumnProfile(name, place, "the target")
    if name in cells.unread:
        what = cells.unread[name].partition("holds ")[2].partition(";")[0] or "what cannot be read"
        return ColumnProfile(name, place, what, drop_reason="neither numbers nor text")
    column = _unmarked(cells.columns[name].take(slice(len(target.values))), marks)
    values, text = to_numeric(column)
    if column.categories is not None and text is None and name not in cells.declared:
        column = Column(values)
    gaps = int(column.missing.sum())
    share = f", {format_percent(gaps / len(column.values))} missing" if gaps else ""
    used = column.values[~column.missing]
    if not len(used):
        return ColumnProfile(name, place, "nothing", drop_reason="all cells are missing")
    known, counts = np.unique(used, return_counts=True)
    about = (_of_numbers(known) if column.categories is None else _of_names(column.categories, known, counts)) + share
    drop = _useless(name, column, used, len(known)) or _same(column, target)
    if column.categories is not None:
        mixed = text is not None and _mostly(column, values) and name not in cells.declared
        if not mixed and sum(_foreign(n) for n in column.categories) > MOSTLY * len(column.categories):
            drop, about = (NONSTANDARD_NUMBERS, about) if drop else ("", f"{about}; {NONSTANDARD_NUMBERS}")
        why = "numbers and words" if mixed else ""
        return ColumnProfile(name, place, about, drop, why, has_missing=gaps > 0, categories=len(known))
    whole = bool((known == np.floor(known)).all())
    coded = whole and 2 < len(known) <= MANY_CODES and bool(_CODE.fullmatch(name))
    few = whole and 2 < len(known) <= CODES and 2 * len(known) <= len(used)
    tail = len(known) > FEW and abs(_skewness(used)) > TAIL
    return ColumnProfile(name, place, about, drop, "codes, by its name" if coded else "", few, gaps > 0, tail)


def _unmarked(column: Column, marks: Sequence[str]) -> Column:
    """With marked cells missing."""
    if column.categories is None:
        values = column.values.copy()
        values[np.isinf(values)] = np.nan
        return Column(values)
    lookup = np.array(
        [MISSING_CODE if name in marks else code for code, name in enumerate(column.categories)] + [MISSING_CODE]
    )
    return Column(lookup[column.values].astype(np.int32), column.categories)


def _useless(name: str, column: Column, used: npt.NDArray[Any], different: int) -> str:
    """Why a column says nothing by itself."""
    if different == 1 and len(used) == len(column.values):
        return "the same in all rows"
    if len(used) < ENOUGH:
        return ""
    if column.categories is not None:
        return "different in almost every row" if different >= DISTINCT * len(used) else ""
    if different < len(used) or (used != np.floor(used)).any():
        return ""
    if used[0] in (0, 1) and (np.diff(used) == 1).all():
        return "the number of the row"
    return "a number of its own for each row" if _ID.fullmatch(name) else ""


def _same(column: Column, target: Column) -> str:
    """Whether each of its values goes with one of the target's, and the reverse."""
    there = ~column.missing
    if there.sum() < max(ENOUGH, MOSTLY * len(there)):
        return ""
    ours, theirs = column.values[there], target.values[there]
    left, a = np.unique(ours, return_inverse=True)
    right, b = np.unique(theirs, return_inverse=True)
    if len(left) != len(right) or len(left) < 2:
        return ""
    pairs = np.unique(a.astype(np.int64) * len(right) + b)
    if len(pairs) != len(left):
        return ""
    order = np.diff((pairs % len(right)).astype(np.int64))  # the target's rank, by the column's
    ordered = column.categories is None and target.categories is None and bool((order > 0).all() or (order < 0).all())
    return "the target in other words" if ordered or 2 * len(left) <= len(ours) else ""


def _check_left(source: TableSource, found: Sequence[ColumnProfile]) -> None:
    if all(column.drop_reason for column in found if column.description != "the target"):
        why = [f"'{printable(c.name, 50)}' ({c.drop_reason})" for c in found if c.drop_reason][:5]
        raise source.error(
            "there is no column to learn from beside the target" + (f": not {', '.join(why)}" if why else "")
        )


def _of_numbers(known: npt.NDArray[Any]) -> str:
    if len(known) == 1:
        return f"always {format_number(known[0])}"
    return f"{format_number(known[0])} … {format_number(known[-1])}" + (
        f", {len(known)} different" if len(known) <= FEW else ""
    )


def _of_names(names: Sequence[str], known: npt.NDArray[Any], counts: npt.NDArray[Any]) -> str:
    shown = [printable(names[code], 20) for code in known[np.argsort(-counts, kind="stable")][:3].tolist()]
    return f"{len(known):,} name{'s' * (len(known) != 1)}: {', '.join(shown)}{', …' * (len(known) > 3)}"


def _skewness(values: npt.NDArray[Any]) -> float:
    with np.errstate(all="ignore"):
        centered = (values - values.mean()) / values.std()
        found = float(np.mean(centered**3))
    return found if np.isfinite(found) else 0.0
