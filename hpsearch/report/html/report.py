"""The report of a study, from its database alone: one self-contained HTML file, and its charts as PNG files."""

from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from hpsearch.core.atomic import write_atomic
from hpsearch.errors import OutputError
from hpsearch.report.html.content import ReportContent
from hpsearch.storage.database import file_of

FIRST = "<!doctype html>"  # the first characters of a report


class ReportFiles(NamedTuple):
    """The files of a report.

    Attributes:
        page: the HTML file.
        images: PNG files, one for each chart.
        notice: the reason why PNG files are missing; None if they were written, or were not requested.
    """

    page: Path
    images: tuple[Path, ...] = ()
    notice: str | None = None


def write_report(url: str, out: Path | None = None, *, png: bool | None = None) -> ReportFiles:
    """Write the report of a study, finished or not.

    Args:
        url: URL of the study database, which is only read.
        out: the HTML file; `NAME-report.html` beside the database when None. PNG files are written to a folder of
            the same name.
        png: True writes PNG files or raises an error, False does not, None writes them if kaleido and a browser are
            installed.

    Raises:
        StorageError: the database holds no study.
        OutputError: a file cannot be written, or `png` is True and kaleido or a browser is not installed.
    """
    from hpsearch.report.html import images, model_figures, search_figures
    from hpsearch.report.html.page import render_page

    missing = None if png is False else images.missing_renderer()
    if png and missing is not None:
        raise OutputError(missing)
    content = ReportContent.read(url)
    search, model = list(search_figures.search_charts(content)), list(model_figures.model_charts(content))
    file = out or (file_of(url) or Path("study.db")).with_name(f"{content.spec.name}-report.html")
    try:
        file = file.resolve() if file.is_symlink() else file
        _write(file, render_page(content, search, model))
        if png is False or missing is not None:
            return ReportFiles(file, notice=missing)
        folder = file.with_suffix("") if file.suffix else file.with_name(f"{file.name}-pictures")
        try:
            return ReportFiles(file, tuple(images.write_images(folder, [*search, *model])))
        except OutputError as error:
            if png:
                raise
            return ReportFiles(file, notice=str(error))
    except OSError as error:
        raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from None


def _write(file: Path, text: str) -> None:
    """Write the file completely or not at all.

    Raises:
        OutputError: the path holds something other than a report.
    """
    if file.is_dir():
        raise OutputError(f"{file}: cannot be written: is a folder; name a file in it")
    if file.exists():
        with file.open("rb") if file.is_file() else nullcontext() as existing:
            if existing is None or existing.read(len(FIRST)).decode("utf-8", "replace") != FIRST:
                raise OutputError(f"{file}: exists and is not a report; name another file")
    write_atomic(file, text)
