"""A study → one HTML file that tells the whole of it, and its pictures as PNG; made from the database alone."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hpsearch.errors import OutputError
from hpsearch.report.html.content import Story
from hpsearch.storage.database import file_of

if TYPE_CHECKING:
    from hpsearch.report.html.figures import Picture


FIRST = "<!doctype html>"  # what a report begins with


class Written(NamedTuple):
    """What was written: the page, and the pictures beside it."""

    page: Path
    pictures: tuple[Path, ...]


def report(url: str, out: Path | None = None, *, png: bool = True) -> Written:
    """Writes the report of a study, be it finished or under way.

    Args:
        url: of its database, which is only read.
        out: the HTML file; `NAME-report.html` beside the database when None. Pictures go to a folder beside it that is
            called like it.
        png: whether to write these.

    Raises:
        StorageError: the database holds no study.
        OutputError: a file cannot be written.
    """
    story = Story.of(url)
    from hpsearch.report.html import model_figures as champion
    from hpsearch.report.html import search_figures as pictures
    from hpsearch.report.html.page import page

    found = list(pictures.pictures(story)), list(champion.pictures(story))
    file = out or (file_of(url) or Path("study.db")).with_name(f"{story.spec.name}-report.html")
    try:
        file = file.resolve() if file.is_symlink() else file
        _write(file, page(story, *found))
        folder = file.with_suffix("") if file.suffix else file.with_name(f"{file.name}-pictures")
        return Written(file, tuple(_drawn(folder, [*found[0], *found[1]])) if png else ())
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from None


def _write(file: Path, text: str) -> None:
    """Whole or not at all: whoever has the old one open keeps it.

    Raises:
        OutputError: something else than a report is there.
    """
    if file.is_dir():
        raise OutputError(f"{file}: cannot be written: is a folder; name a file in it")
    if file.exists():
        with file.open("rb") if file.is_file() else nullcontext() as there:
            if there is None or there.read(len(FIRST)).decode("utf-8", "replace") != FIRST:
                raise OutputError(f"{file}: is there already, and is no report; name another file")
    draft = file.with_name(f".{os.getpid()}.part")
    try:
        with draft.open("x", encoding="utf-8") as new:  # not what a link may lead to
            new.write(text)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _drawn(folder: Path, pictures: "list[Picture]") -> Iterator[Path]:
    """Under the same names each time, so that those of an earlier report are replaced."""
    from hpsearch.report.html.png import draw

    folder.mkdir(exist_ok=True)
    for picture in pictures:
        file = folder / f"{picture.name}.png"
        draw(picture, file)
        yield file
