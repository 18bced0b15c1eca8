"""The progress of a study as plain lines; `watch` tests it on a terminal."""

import io
from collections.abc import Iterable

import cases
import pytest
from rich.console import Console

from hpsearch.report import live
from hpsearch.report.live import LiveDisplay
from hpsearch.storage.records import Trial
from hpsearch.study.progress import StudyProgress
from tests.hpsearch.search.test_importance import complete, sampled

START = StudyProgress("coarse", 1, 2, 0, 0, 0, 0, 3, 10, None, ())


def printed(*reports: StudyProgress, quiet: bool = False, note: str = "") -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    display = LiveDisplay(console, quiet=quiet)
    with display.live():
        for progress in reports:
            display.update(progress, "val/loss")
        if note:
            display.note(note)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_a_line_for_each_stage_and_for_the_end() -> None:
    (record,) = sampled(cases.small(), 1)
    best = complete(record, 0.25)
    middle = START._replace(finished=4, pruned=1, best=best, news=(best,))
    other = middle._replace(stage="fine", stage_number=2, failed=2, diverged=1, news=())
    end = other._replace(finished=10, running=0, news=(best,))
    lines = printed(START, middle, other, other, end)
    assert lines == [
        "coarse (1/2): 0/10 finished, 3 running, 0 diverged; no best yet",
        "fine (2/2): 4/10 finished, 3 running, 1 pruned, 1 diverged, 2 failed; best val/loss 0.25 (coarse/0)",
        "fine (2/2): 10/10 finished, 0 running, 1 pruned, 1 diverged, 2 failed; best val/loss 0.25 (coarse/0)",
    ], "otherwise at most one line in LINE_INTERVAL seconds"


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of the display."""
    found = Clock()
    monkeypatch.setattr(live, "time", found)
    return found


def lines_at(clock: Clock, reports: Iterable[tuple[float, StudyProgress]]) -> list[tuple[float, str]]:
    """Return the lines with the seconds at which they are printed."""
    out, found = io.StringIO(), []
    display = LiveDisplay(Console(file=out, width=200), quiet=False)
    start, read = clock.now, 0
    for seconds, progress in reports:
        clock.now = start + seconds
        display.update(progress, "val/loss")
        found += [(seconds, line) for line in out.getvalue()[read:].splitlines()]
        read = len(out.getvalue())
    return found


def test_pauses_grow_while_nothing_changes(clock: Clock) -> None:
    """In an hour with a report every 0.2 s there are 17 lines, each of which says for how long nothing changed."""
    lines = lines_at(clock, ((0.2 * n, START) for n in range(18_000)))
    times = [round(seconds) for seconds, _ in lines]
    assert times[:8] == [0, 5, 15, 35, 75, 155, 315, 615] and len(times) == 17
    assert lines[0][1] == "coarse (1/2): 0/10 finished, 3 running, 0 diverged; no best yet"
    assert [line.partition("; unchanged for ")[2] for _, line in lines[1:4]] == ["5 s", "15 s", "35 s"]
    assert len({line for _, line in lines}) == len(lines), "no line is printed twice"


def test_a_change_is_printed_and_shortens_the_pause(clock: Clock) -> None:
    """Not more often than every 5 s."""
    changed = START._replace(finished=1, running=2)
    reports = [(0.2 * n, START if n < 500 else changed) for n in range(700)]
    times = [round(seconds) for seconds, _ in lines_at(clock, reports)]
    assert times == [0, 5, 15, 35, 75, 100, 105, 115, 135]
    often = [(0.2 * n, START._replace(finished=n)) for n in range(500)]
    assert [round(seconds) for seconds, _ in lines_at(clock, often)] == list(range(0, 100, 5))


def test_the_time_left(clock: Clock) -> None:
    """Trials that finish at 2 seconds each: 15 of 24 are left."""
    spec = cases.small()
    trials = [[Trial("coarse", n, {}, {}, "complete", 0.5, seconds=2.0) for n in range(9)]]

    def report(finished: int) -> StudyProgress:
        return StudyProgress.of(spec, [trials[0][:finished]], [15, 9], None, ())

    lines = lines_at(clock, ((2.0 * n, report(n)) for n in range(10)))
    assert " left" not in lines[0][1]
    assert lines[-1][1].partition("diverged  ")[2] == "19 to 41 s left; no best yet"


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Only messages, on standard error."""
    assert printed(START, quiet=True, note="a note") == []
    assert capsys.readouterr().err == "note: a note\n"


def test_notes_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed(START, note="a [bold]note")) == 1
    assert capsys.readouterr().err == "note: a [bold]note\n"
