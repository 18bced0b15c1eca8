"""Follow a study that another process runs, by reading its database."""

import time
from collections.abc import Callable

from rich.console import Console

from hpsearch.report.live import LiveDisplay
from hpsearch.report.text import overview
from hpsearch.storage.records import FINISHED, Trial
from hpsearch.study.progress import StudyProgress
from hpsearch.study.summary import StudyPoller, Summary

WATCH_INTERVAL = 1.0  # seconds


def watch(
    url: str, console: Console, wait: Callable[[float], None] = time.sleep, *, study: str | None = None
) -> Summary:
    """Show the progress of a study until it has ended or no process runs it.

    Args:
        wait: waits for a number of seconds.
        study: name of the study; None for the only one of the database.

    Returns:
        The last state of the study.

    Raises:
        StorageError: the database cannot be read.
    """
    poller, display = StudyPoller(url, study), LiveDisplay(console, quiet=False)
    found = poller.poll()
    assert found is not None  # the first poll always sees a change
    reported = {t.label for t in _finished(found)}
    with display.live():
        while True:
            news = [t for t in _finished(found) if t.label not in reported]
            reported |= {t.label for t in news}
            below = overview(found) if console.is_terminal else ()
            progress = StudyProgress.of(found.spec, found.trials, found.totals, found.champion, news)
            display.update(progress, found.spec.metric.name, *below)
            if is_over(found):
                return found
            wait(WATCH_INTERVAL)
            while (changed := poller.poll()) is None and not is_over(found):
                wait(WATCH_INTERVAL)
            found = changed or found


def is_over(study: Summary) -> bool:
    """Return whether the study will not change: all trials and test scores are complete, or no process runs it."""
    if study.holder is None or study.holder.has_ended:
        return True
    best = study.champion
    return study.trained and (best is None or any(name.startswith("test/") for name in best.metrics))


def _finished(study: Summary) -> list[Trial]:
    return [t for trials in study.trials for t in trials if t.state in FINISHED]
