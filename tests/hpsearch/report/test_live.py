"""The progress of a study as plain lines; `watch` tests it on a terminal."""

import io

import cases
import pytest
from rich.console import Console

from hpsearch.report import live
from hpsearch.report.live import LiveDisplay
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
    assert lines[0] == "coarse (1/2): 0/10 finished, 3 running, 0 diverged; no best yet"
    assert lines[1].startswith("fine (2/2): 4/10 finished, 3 running, 1 pruned, 1 diverged, 2 failed  about ")
    assert lines[1].endswith(" s left; best val/loss 0.25 (coarse/0)")
    assert lines[2] == (
        "fine (2/2): 10/10 finished, 0 running, 1 pruned, 1 diverged, 2 failed; best val/loss 0.25 (coarse/0)"
    )
    assert len(lines) == 3, "otherwise at most one line in LINE_INTERVAL seconds"


def test_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LINE_INTERVAL", -1.0)
    assert len(printed(START, START, START)) == 3


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Only messages, on standard error."""
    assert printed(START, quiet=True, note="a note") == []
    assert capsys.readouterr().err == "note: a note\n"


def test_notes_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed(START, note="a [bold]note")) == 1
    assert capsys.readouterr().err == "note: a [bold]note\n"
