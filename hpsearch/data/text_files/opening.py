"""Opening of text files: regular files only, decompressed and decoded, with lines of limited length."""

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, TextIO, final

from hpsearch.core.files.regular_file import open_regular

WHITESPACE = "whitespace"  # the separator of cells that are parted by any number of spaces and tabs
MAX_LINE_BYTES = 64 << 20  # longer lines are refused, so that a file without lines does not fill the memory
TEXT_ERRORS = (
    *(OSError, EOFError, UnicodeError, ValueError, csv.Error, zlib.error),
    *(zipfile.BadZipFile, RuntimeError, NotImplementedError),  # of zip files
)
Compression = Literal["", "gzip", "zip"]
_BUFFER_BYTES = 1 << 18
_FOREIGN = {
    b"PAR1": "is a Parquet file: set source: parquet",
    b"SQLite format 3\0": "is a SQLite database: set source: sql",
    b"\x93NUMPY": "is a NumPy array: save it as .npz, and set source: npz",
    b"ARROW1": "is an Arrow file; save it as CSV or Parquet",
    b"\x89HDF": "is an HDF5 file; save it as CSV or Parquet",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook; save it as CSV",
    b"%PDF": "is a PDF file; save it as CSV",
    b"BZh": "is compressed by bzip2; decompress it, or compress it with gzip or zip",
    b"\xfd7zXZ": "is compressed by xz; decompress it, or compress it with gzip or zip",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; decompress it, or compress it with gzip or zip",
}
_BREAKS = re.compile(r"[\r\n]+")
_CELL = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(\S+)')  # of a file separated by whitespace


class NotTextError(ValueError):
    """The file is of a kind that is no text."""


@final
class LimitedLines(io.RawIOBase):
    """Passes bytes on as long as no line is longer than `MAX_LINE_BYTES`, and no quoted cell.

    Args:
        file: the bytes.
        below: closed together with `file`.
    """

    def __init__(self, file: Any, below: BinaryIO) -> None:
        self._file, self._below = file, below
        self._line = 0  # bytes since the last line break
        self._cell = 0  # bytes since an opening quote, 0 if there is none

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block: bytes = self._file.read(len(buffer))
        buffer[: len(block)] = block
        last = max(block.rfind(b"\n"), block.rfind(b"\r"))
        self._line = len(block) - last - 1 if last >= 0 else self._line + len(block)
        quote = block.rfind(b'"')
        if quote >= 0:
            around = block[max(quote - 1, 0) : quote], block[quote + 1 : quote + 2]
            opening = not (around[0].isalnum() or around[0] == b'"') and around[1].isalnum()
            self._cell = len(block) - quote if opening else 0
        elif self._cell:
            self._cell += len(block)
        if max(self._line, self._cell) > MAX_LINE_BYTES:
            what = "a line" if self._line > MAX_LINE_BYTES else "a quoted cell"
            raise NotTextError(f"{what} is longer than {MAX_LINE_BYTES >> 20} MB")
        return len(block)

    def close(self) -> None:
        self._file.close()
        self._below.close()
        super().close()


@final
class WithoutFooter(io.TextIOBase):
    """A text file without its last lines; empty lines at the end do not count."""

    def __init__(self, file: TextIO, lines: int) -> None:
        self._file, self._lines = file, lines
        self._pending = ""

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> str:
        """Return some characters, `size` or more; none at the end."""
        while block := self._file.read(max(size or 0, _BUFFER_BYTES, len(self._pending))):
            self._pending += block
            text = self._pending.rstrip("\r\n")
            ends = [found.start() for found in _BREAKS.finditer(text)]
            text = text[: ends[-self._lines] if len(ends) >= self._lines else 0]
            if text:
                self._pending = self._pending[len(text) :]
                return text
        self._pending = ""
        return ""

    def close(self) -> None:
        self._file.close()
        super().close()


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, decompressed if it is a gzip file, or a zip file of one file.

    Raises:
        OSError: the file cannot be opened, or is not a regular file.
        NotTextError: the file is of a kind that is no text.
    """
    file = open_regular(path)
    try:
        inner: Any = file
        match compression(path, start := file.read(16)):
            case "gzip":
                file.seek(0)
                inner = gzip.GzipFile(fileobj=file)
            case "zip":
                inner = _only_member(zipfile.ZipFile(file))
            case _:
                foreign = next((words for magic, words in _FOREIGN.items() if start.startswith(magic)), None)
                if foreign is not None:
                    raise NotTextError(f"it {foreign}")
                file.seek(0)
        return io.BufferedReader(LimitedLines(inner, file), _BUFFER_BYTES)
    except BaseException:
        file.close()
        raise


def compression(path: Path, start: bytes) -> Compression:
    """Return how a file is compressed, by its name and its first bytes."""
    if path.suffix.lower() == ".gz" or start.startswith(b"\x1f\x8b"):
        return "gzip"
    return "zip" if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) else ""


def open_text(path: Path, encoding: str, skip_lines: int = 0, skip_footer: int = 0) -> TextIO:
    """Open a text file; line breaks are kept.

    Args:
        skip_lines: number of lines to skip at the beginning.
        skip_footer: number of lines to skip at the end.

    Raises:
        OSError, ValueError: the file cannot be opened or decoded.
    """
    file: TextIO = io.TextIOWrapper(open_bytes(path), encoding=encoding, newline="")
    try:
        for _ in range(skip_lines):
            file.readline()
    except BaseException:
        file.close()
        raise
    return WithoutFooter(file, skip_footer) if skip_footer else file  # type: ignore[return-value]


def records(file: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the last line and the cells of each record that is not empty."""
    if separator == WHITESPACE:
        for number, line in enumerate(file, 1):
            if cells := split_at_whitespace(line):
                yield number, cells
        return
    reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
    while True:
        before = csv.field_size_limit(MAX_LINE_BYTES)  # of the whole process, so it is restored
        try:
            cells = next(reader)
        except StopIteration:
            return
        finally:
            csv.field_size_limit(before)
        if cells and not (len(cells) == 1 and not cells[0].strip()):  # pandas skips these too
            yield reader.line_num, cells


def without_last(found: Iterator[tuple[int, list[str]]], number: int) -> Iterator[tuple[int, list[str]]]:
    """Yield all records but the last ones."""
    held: deque[tuple[int, list[str]]] = deque()
    for record in found:
        held.append(record)
        if len(held) > number:
            yield held.popleft()


def split_at_whitespace(line: str) -> list[str]:
    """Return the cells of a line; quoted cells may contain spaces."""
    if '"' not in line:
        return line.split()
    return [word or quoted.replace('""', '"') for quoted, word in _CELL.findall(line)]


def _only_member(archive: zipfile.ZipFile) -> Any:
    """Open the only file of a zip file."""
    names = [i.filename for i in archive.infolist() if not i.is_dir() and not i.filename.startswith("__MACOSX/")]
    if "xl/workbook.xml" in names:
        raise NotTextError("it is an Excel workbook; save it as CSV")
    if names and all(name.endswith(".npy") for name in names):
        raise NotTextError("it holds NumPy arrays: set source: npz")
    if len(names) != 1:
        listed = ", ".join(names[:5]) + ", …" * (len(names) > 5)
        raise NotTextError(f"it is a zip file of {len(names)} files ({listed}); it must hold one: extract the table")
    return archive.open(names[0])
