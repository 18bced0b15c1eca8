"""The progress of a running study: a live display on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from typing import final

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar
from rich.text import Text

from hpsearch.core.text import format_value
from hpsearch.report.tables import format_parameters
from hpsearch.study.progress import StudyProgress

LINE_INTERVAL = 5.0  # seconds between plain lines


@final
class LiveDisplay:
    """Displays one progress report after another.

    Args:
        quiet: print nothing but messages for the user.
    """

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._started = time.monotonic()
        self._trained = 0  # trials that have finished since the start
        self._last_line = (0.0, "")  # time and stage
        self._bar = ProgressBar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}")
        )
        self._task = self._bar.add_task("", total=None, status="")

    @contextlib.contextmanager
    def live(self) -> Iterator["LiveDisplay"]:
        """Redraw the display while the context lasts; the last state stays on the terminal."""
        if self._quiet or not self._console.is_terminal:
            yield self
            return
        with Live(self._bar, console=self._console, refresh_per_second=8) as self._live:
            yield self

    def note(self, text: str) -> None:
        """Print a message for the user above the display, or on standard error."""
        if self._live is not None:
            self._live.console.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(f"note: {text}", err=True)

    def update(self, progress: StudyProgress, metric: str, *below: RenderableType) -> None:
        """Display the progress of the study.

        Args:
            below: renderables to draw below the progress on a terminal.
        """
        if self._quiet:
            return
        self._trained += len(progress.news)
        best = progress.best
        best_value = f"best {metric} {format_value(best.value or 0.0)} ({best.label})" if best else "no best yet"
        status = f"{_counts(progress)}  {self._time_left(progress)}"
        stage = f"{progress.stage} ({progress.stage_number}/{progress.stages})"
        if self._live is not None:
            self._bar.update(
                self._task, description=stage, completed=progress.finished, total=progress.total, status=status
            )
            lines = Text(f"{best_value}\n  {format_parameters(best)}" if best else best_value)
            self._live.update(Group(self._bar, lines, *below))
            return
        now = time.monotonic()
        done = progress.finished == progress.total
        last, last_stage = self._last_line
        if progress.stage != last_stage or now - last > LINE_INTERVAL or (done and progress.news):
            self._last_line = (now, progress.stage)
            line = f"{stage}: {progress.finished}/{progress.total} finished, {status.strip()}; {best_value}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _time_left(self, progress: StudyProgress) -> str:
        if not self._trained or progress.finished == progress.total:
            return ""
        seconds = (time.monotonic() - self._started) / self._trained * (progress.total - progress.finished)
        return f"about {seconds:.0f} s left" if seconds < 120 else f"about {seconds / 60:.0f} min left"


def _counts(progress: StudyProgress) -> str:
    """Format the numbers of trials by state; states without trials are left out, except running and diverged."""
    counts = {
        "running": progress.running,
        "pruned": progress.pruned,
        "diverged": progress.diverged,
        "failed": progress.failed,
    }
    listed = {state: count for state, count in counts.items() if count or state in ("running", "diverged")}
    return ", ".join(f"{count} {state}" for state, count in listed.items())
