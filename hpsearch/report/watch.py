"""Follow a study that another process runs, by reading its database."""

import time
from collections.abc import Callable
from itertools import takewhile
from typing import final

from rich.console import Console

from hpsearch.report.live import LiveDisplay
from hpsearch.report.text import overview
from hpsearch.storage.records import FINISHED, Trial
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.progress import StudyProgress
from hpsearch.study.summary import Summary, summarize

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


@final
class StudyPoller:
    """Reads a study repeatedly, each time only the trials that may have changed.

    Args:
        url: URL of the study database.
        study: name of the study; None for the only one of the database.
    """

    def __init__(self, url: str, study: str | None = None) -> None:
        self._url = url
        self._study = study
        self._token: tuple[object, ...] = ()
        self._last: Summary | None = None

    def poll(self) -> Summary | None:
        """Return the study, or None if it has not changed since the last poll.

        The database is closed in between, because the process that runs the study should be the last to close it.

        Raises:
            StorageError: the database cannot be read.
        """
        changed = read(self._url, self._changed, self._study, check=self._last is None)
        if changed is None:
            return None
        self._token, self._last = changed
        return self._last

    def _changed(self, storage: StudyDatabase) -> tuple[tuple[object, ...], Summary] | None:
        token = storage.change_token()
        return None if token == self._token else (token, summarize(storage, self._final_trials(storage)))

    def _final_trials(self, storage: StudyDatabase) -> list[list[Trial]]:
        """Return the first finished trials of each stage, which need not be read again.

        The list is empty if another process has started to run the study, because it may train failed trials again.
        """
        holder, last = storage.lease.holder(), self._last
        if last is None or holder is None or last.holder is None or holder.process != last.holder.process:
            return []
        return [list(takewhile(lambda t: t.state in FINISHED, trials)) for trials in last.trials]


def _finished(study: Summary) -> list[Trial]:
    return [t for trials in study.trials for t in trials if t.state in FINISHED]
