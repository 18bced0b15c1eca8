"""A running study on a terminal, and as plain lines where the output is none."""

import contextlib
import time
from collections.abc import Iterator

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from hpsearch.core.text import format_value
from hpsearch.report.text import parameters
from hpsearch.study.progress import Progress

EVERY = 5.0  # seconds between plain lines


class Display:
    """Shows one progress after another."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._started = time.monotonic()
        self._trained = 0  # trials that have finished since
        self._last = (0.0, "")
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rest]}")
        )
        self._task = self._bar.add_task("", total=None, rest="")

    @contextlib.contextmanager
    def shown(self) -> Iterator["Display"]:
        """Draws while the context lasts; the last picture stays."""
        if self._quiet or not self._console.is_terminal:
            yield self
            return
        with Live(self._bar, console=self._console, refresh_per_second=8) as self._live:
            yield self

    def note(self, text: str) -> None:
        """Something a person should know, beside the picture."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.console.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(f"note: {text}", err=True)

    def update(self, progress: Progress, metric: str, *below: RenderableType) -> None:
        """The next state of the study, and on a terminal what else there is to see, as far as it has room."""
        if self._quiet:
            return
        self._trained += len(progress.news)
        best = progress.best
        best_words = f"best {metric} {format_value(best.value or 0.0)} ({best.label})" if best else "no best yet"
        counts = ", ".join(
            f"{count} {word}"
            for count, word in (
                (progress.running, "running"),
                (progress.pruned, "pruned"),
                (progress.diverged, "diverged"),
                (progress.failed, "failed"),
            )
            if count or word in ("running", "diverged")
        )
        rest = f"{counts}  {self._left(progress)}"
        stage = f"{progress.stage} ({progress.stage_number}/{progress.stages})"
        if self._live is not None:
            self._bar.update(
                self._task, description=stage, completed=progress.finished, total=progress.total, rest=rest
            )
            lines = Text(f"{best_words}\n  {parameters(best)}" if best else best_words)
            self._live.update(Group(self._bar, lines, *below))
            return
        now = time.monotonic()
        done = progress.finished == progress.total
        if progress.stage != self._last[1] or now - self._last[0] > EVERY or (done and progress.news):
            self._last = (now, progress.stage)
            line = f"{stage}: {progress.finished}/{progress.total} finished, {rest.strip()}; {best_words}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _left(self, progress: Progress) -> str:
        if not self._trained or progress.finished == progress.total:
            return ""
        seconds = (time.monotonic() - self._started) / self._trained * (progress.total - progress.finished)
        return f"about {seconds:.0f} s left" if seconds < 120 else f"about {seconds / 60:.0f} min left"
