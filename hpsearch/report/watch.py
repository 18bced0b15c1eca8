"""A study that another process runs, followed from its database alone, which nothing is written to."""

import time
from collections import Counter
from collections.abc import Callable
from itertools import takewhile
from typing import final

from rich.console import Console

from hpsearch.report.live import Display
from hpsearch.report.text import outline
from hpsearch.storage.records import FINISHED, Trial
from hpsearch.storage.study_db import Storage, read
from hpsearch.study.progress import Progress
from hpsearch.study.summary import Summary, summarized

EVERY = 1.0  # seconds between two looks


def watch(url: str, console: Console, wait: Callable[[float], None] = time.sleep) -> Summary:
    """Shows a study until it has ended or nobody runs it.

    Args:
        wait: lets so many seconds go by.

    Returns:
        The study as it is then.

    Raises:
        StorageError: its database cannot be read, or not any more.
    """
    reader, display = Reader(url), Display(console, quiet=False)
    found = reader.look()
    assert found is not None  # at first everything is new
    before = {r.label for r in _finished(found)}
    with display.shown():
        while True:
            news = [r for r in _finished(found) if r.label not in before]
            before |= {r.label for r in news}
            below = outline(found) if console.is_terminal else ()
            display.update(_progress(found, news), found.spec.metric.name, *below)
            if ended(found):
                return found
            wait(EVERY)
            while (new := reader.look()) is None and not ended(found):
                wait(EVERY)
            found = new or found


def ended(found: Summary) -> bool:
    """Whether nothing more will come: all is trained and the test scores are read, or nobody runs the study."""
    if found.holder is None or found.holder.gone:
        return True
    best = found.champion
    return found.trained and (best is None or any(name.startswith("test/") for name in best.metrics))


@final
class Reader:
    """Reads a study again and again: what has changed, and of that only what can have.

    Args:
        url: of its database.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._mark: tuple[object, ...] = ()
        self._last: Summary | None = None

    def look(self) -> Summary | None:
        """The study; None when it has not changed since the last look.

        The database is open no longer than that takes: whoever runs the study is to be the last to close it.

        Raises:
            StorageError: it cannot be read.
        """
        new = read(self._url, self._new, check=self._last is None)
        if new is None:
            return None
        self._mark, self._last = new
        return self._last

    def _new(self, storage: Storage) -> tuple[tuple[object, ...], Summary] | None:
        mark = storage.mark()
        return None if mark == self._mark else (mark, summarized(storage, self._settled(storage)))

    def _settled(self, storage: Storage) -> list[list[Trial]]:
        """Of each stage the first trials, as far as all have finished: these stay, unless somebody else runs the study,
        who may train failed ones again."""
        holder, last = storage.holder(), self._last
        if last is None or holder is None or last.holder is None or holder[:3] != last.holder[:3]:
            return []
        return [list(takewhile(lambda r: r.state in FINISHED, records)) for records in last.records]


def _finished(found: Summary) -> list[Trial]:
    return [r for records in found.records for r in records if r.state in FINISHED]


def _progress(found: Summary, news: list[Trial]) -> Progress:
    states = Counter(r.state for records in found.records for r in records)
    stage = max(0, len(found.records) - 1)
    return Progress(
        stage=found.spec.stages[stage].name,
        stage_number=stage + 1,
        stages=len(found.spec.stages),
        finished=sum(states[state] for state in FINISHED),
        pruned=states["pruned"],
        diverged=states["diverged"],
        failed=states["failed"],
        running=states["running"],
        total=sum(found.totals),
        best=found.champion,
        news=tuple(news),
    )
