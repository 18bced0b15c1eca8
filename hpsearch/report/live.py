"""The progress of a running study: a live display on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple, final

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar
from rich.text import Text

from hpsearch.core.text import format_duration, format_value
from hpsearch.report.tables import format_parameters
from hpsearch.report.time_left import TimeLeft, format_span
from hpsearch.study.progress import StudyProgress

LINE_INTERVAL = 5.0  # least number of seconds between plain lines
MAX_PAUSE = 300.0  # seconds without a line while nothing changes; the pauses before that double


class Printed(NamedTuple):
    """The last plain line.

    Attributes:
        time: when it was printed.
        changed: when its content was first printed.
        pause: seconds until it is printed again if nothing changes.
        content: what it says of the study.
    """

    time: float
    changed: float
    pause: float
    content: tuple[object, ...]


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
        self._time_left = TimeLeft()
        self._printed = Printed(0.0, 0.0, LINE_INTERVAL, ())
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
        best = progress.best
        best_value = f"best {metric} {format_value(best.value or 0.0)} ({best.label})" if best else "no best yet"
        status = f"{_counts(progress)}  {self._left(progress)}"
        stage = f"{progress.stage} ({progress.stage_number}/{progress.stages})"
        if self._live is not None:
            self._bar.update(
                self._task, description=stage, completed=progress.finished, total=progress.total, status=status
            )
            lines = Text(f"{best_value}\n  {format_parameters(best)}" if best else best_value)
            self._live.update(Group(self._bar, lines, *below))
            return
        line = f"{stage}: {progress.finished}/{progress.total} finished, {status.strip()}; {best_value}"
        content = (progress.stage, progress.finished, progress.total, _counts(progress), best_value)
        self._print_line(line, content, at_once=bool(progress.finished == progress.total and progress.news))

    def _print_line(self, line: str, content: tuple[object, ...], *, at_once: bool) -> None:
        """Print a line of a new stage at once, other changes after `LINE_INTERVAL`, and no change after longer pauses.

        Args:
            content: what the line says of the study; its stage comes first.
        """
        now, last = time.monotonic(), self._printed
        waited = now - last.time
        if content != last.content:
            if not (at_once or content[:1] != last.content[:1] or waited >= LINE_INTERVAL):
                return
            self._printed = Printed(now, now, LINE_INTERVAL, content)
        elif waited >= last.pause:
            self._printed = last._replace(time=now, pause=min(2 * last.pause, MAX_PAUSE))
            line += f"; unchanged for {format_duration(now - last.changed)}"
        else:
            return
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _left(self, progress: StudyProgress) -> str:
        span = progress.workload and self._time_left.estimate(progress.workload, time.monotonic())
        return f"{format_span(*span)} left" if span and progress.finished < progress.total else ""


def _counts(progress: StudyProgress) -> str:
    """Format the numbers of trials by state; states without trials are left out, except running and diverged."""
    counts = {
        "running": progress.running,
        "paused": progress.paused,
        "pruned": progress.pruned,
        "diverged": progress.diverged,
        "failed": progress.failed,
    }
    listed = {state: count for state, count in counts.items() if count or state in ("running", "diverged")}
    return ", ".join(f"{count} {state}" for state, count in listed.items())
