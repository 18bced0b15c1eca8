"""The report of a study, from its database alone: one self-contained HTML file, and its charts as PNG files."""

import os
import re
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from hpsearch.core.atomic import write_atomic
from hpsearch.core.files.regular_file import open_regular
from hpsearch.errors import OutputError
from hpsearch.report.html.content import ReportContent
from hpsearch.storage.database import file_of

FIRST = "<!doctype html>"  # the first characters of a report
HEAD = 2000  # bytes, which include the identity of its study


class ReportFiles(NamedTuple):
    """The files of a report.

    Attributes:
        page: the HTML file.
        images: PNG files, one for each chart.
        notice: the reason why PNG files are missing; None if they were written, or were not requested.
        replaced: the page took the place of the report of another study.
    """

    page: Path
    images: tuple[Path, ...] = ()
    notice: str | None = None
    replaced: bool = False


def write_report(
    url: str, out: Path | None = None, *, study: str | None = None, png: bool | None = None
) -> ReportFiles:
    """Write the report of a study, finished or not.

    Args:
        url: URL of the study database, which is only read.
        out: the HTML file; `DATABASE-report.html` beside the database when None, `DATABASE-STUDY-report.html` for a
            database of several studies. PNG files are written to a folder of the same name.
        study: name of the study; None for the only one of the database.
        png: True writes PNG files or raises an error, False does not, None writes them if kaleido and a browser are
            installed.

    Raises:
        StorageError: the database holds no study.
        OutputError: a file cannot be written, or `png` is True and kaleido or a browser is not installed.
    """
    from hpsearch.report.html import data_figures, images, model_figures, search_figures
    from hpsearch.report.html.page import render_page

    missing = None if png is False else images.missing_renderer()
    if png and missing is not None:
        raise OutputError(missing)
    content = ReportContent.read(url, study)
    search = [*search_figures.search_charts(content), *data_figures.data_charts(content)]
    model = list(model_figures.model_charts(content))
    file = out or _default_file(url, content)
    try:
        file = Path(os.path.realpath(file)) if file.is_symlink() else file
        replaced = _write(file, render_page(content, search, model), content.study.identity)
        if png is False or missing is not None:
            return ReportFiles(file, notice=missing, replaced=replaced)
        folder = file.with_suffix("") if file.suffix else file.with_name(f"{file.name}-pictures")
        try:
            return ReportFiles(file, tuple(images.write_images(folder, [*search, *model])), replaced=replaced)
        except OutputError as error:
            if png:
                raise
            return ReportFiles(file, notice=str(error), replaced=replaced)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from None


def _default_file(url: str, content: ReportContent) -> Path:
    """Return the file of the report: named after the database's file, because several may hold studies of one name, and
    after the study, if the file holds several."""
    database, name = file_of(url), content.spec.name
    if database is None:
        return Path(f"{name}-report.html")
    return database.with_name(f"{database.stem}{f'-{name}' * content.summary.shared}-report.html")


def _write(file: Path, text: str, identity: str) -> bool:
    """Write the file completely or not at all; return whether it was the report of another study.

    Args:
        identity: identity of the study.

    Raises:
        OutputError: the path holds something other than a report.
    """
    earlier = None
    if file.is_dir():
        raise OutputError(f"{file}: cannot be written: is a folder; name a file in it")
    if file.exists():
        with open_regular(file) if file.is_file() else nullcontext() as existing:
            head = "" if existing is None else existing.read(HEAD).decode("utf-8", "replace")
        if not head.startswith(FIRST):
            raise OutputError(f"{file}: exists and is not a report; name another file")
        earlier = re.search(r'<meta name="hpsearch-study" content="(\w*)">', head)
    write_atomic(file, text)
    return earlier is not None and earlier[1] != identity
