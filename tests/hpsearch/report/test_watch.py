"""Following a study from its database while it runs: database reads, output, and the end."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cases
import pytest
from rich.console import Console

from hpsearch import cli
from hpsearch.config.spec import Spec
from hpsearch.core.space import Space
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import StorageError
from hpsearch.report import watch as module
from hpsearch.report.watch import is_over, watch
from hpsearch.storage import lease
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.storage.trials import TrialTable
from hpsearch.study.summary import StudyPoller, Summary, summary
from hpsearch.training.task import TrialResult
from tests.hpsearch.test_cli import call  # noqa: F401 (a fixture)

SHORT = {
    **cases.FULL,
    "train.epochs": 4,
    "stages.0.trials": 9,
    "stages.1.trials": 5,
    "stages.2.seeds": 2,
    "parallel": 3,
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Dataset]:
    spec = cases.small(**SHORT)
    return spec, prepare(spec.data, spec.seed, tmp_path_factory.mktemp("rows"))[0]


@pytest.fixture
def running(prepared: tuple[Spec, Dataset], tmp_path: Path) -> Iterator[tuple[str, Callable[[float], None]]]:
    """Yield the URL of a running study, and a function that completes one of its tasks."""
    spec, dataset = prepared
    executor = cases.HeldExecutor(lambda waiting: 0, single=True)
    with cases.opened(spec, dataset, tmp_path / "small.db", executor) as study:
        steps = study.run()
        next(steps)

        def step(seconds: float = 0.0) -> None:
            executor.release()
            next(steps, None)

        yield url_of(str(tmp_path / "small.db")), step


def plain(found: Summary) -> Summary:
    return found._replace(holder=None)


def test_polls_equal_complete_reads(
    running: tuple[str, Callable[[float], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step of a study, although finished trials are read only once."""
    url, step = running
    first, load = [], TrialTable.load

    def trials(self: TrialTable, stage: str, space: Space, start: int = 0) -> Any:
        first.append((stage, start))
        return load(self, stage, space, start)

    poller, looks = StudyPoller(url), 0
    monkeypatch.setattr(TrialTable, "load", trials)
    for _ in range(400):
        first.clear()
        found = poller.poll()
        starts = dict(first)
        expected = summary(url)
        if found is not None:
            looks += 1
            assert plain(found) == plain(expected)
            scored = found.champion is not None and "test/loss" in found.champion.metrics
            assert is_over(found) == (found.trained and scored), "a study is over when its test scores are stored"
            with StudyDatabase.snapshot(url) as storage:
                rows = [r for s in found.spec.stages for r in storage.trials.progress(s.name).values()]
            assert all(r.checkpoint is None for r in rows), "modules that only training needs"
            if len(found.trials) > 1:
                assert starts["coarse"] == 9, "a finished stage is not read again"
            done = found.trained and is_over(found)
        else:
            assert starts == {}
        if done:
            break
        step(0.0)
    assert done and looks > 20
    assert poller.poll() is None


def test_a_poll_without_changes_reads_no_trial(running: tuple[str, Callable[[float], None]]) -> None:
    url, _ = running
    poller = StudyPoller(url)
    assert poller.poll() is not None
    for _ in range(3):
        assert poller.poll() is None


def test_retried_trials_are_read_again(prepared: tuple[Spec, Dataset], tmp_path: Path) -> None:
    """Another process takes the lease and retries failed trials: finished trials are read again."""
    spec, dataset = prepared
    url = url_of(str(tmp_path / "small.db"))
    with cases.opened(spec, dataset, tmp_path / "small.db") as study:
        next(study.run())
        storage = study._context.storage
        storage.trials.save("coarse", [TrialResult(0, "failed", None, 0, 0, {}, 0.0, error="no room")])
        poller = StudyPoller(url)
        found = poller.poll()
        assert found is not None and found.trials[0][0].state == "failed"
    time.sleep(0.002)  # so that the next heartbeat is later
    with cases.opened(spec, dataset, tmp_path / "small.db") as study:
        assert study._context.storage.retry_failed("coarse") == 1
        found = poller.poll()
        assert found is not None and found.trials[0][0].state == "running"


def test_plain_lines(
    running: tuple[str, Callable[[float], None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a terminal: a line for each stage and every few seconds, no control characters; it ends by itself."""
    monkeypatch.setattr("hpsearch.report.live.LINE_INTERVAL", 0.0)
    url, step = running
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        step(seconds)

    update, news = module.LiveDisplay.update, list[str]()

    def noted(self: Any, progress: Any, *others: Any) -> None:
        news.extend(r.label for r in progress.news)
        update(self, progress, *others)

    monkeypatch.setattr(module.LiveDisplay, "update", noted)
    out = Console(file=io.StringIO(), width=200)
    found = watch(url, out, wait)
    assert sorted(news) == sorted(r.label for records in found.trials for r in records), "each trial is reported once"
    monkeypatch.setattr("sys.argv", ["hpsearch", "show", url, "--watch"])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main()
    assert "Run by" not in capsys.readouterr().out, "the study is complete; its process only closes it"
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert found.trained and plain(found) == plain(summary(url))
    assert set(waited) == {module.WATCH_INTERVAL} and len(waited) < 400
    lines = text.splitlines()
    assert lines[0].startswith("coarse (1/3): 0/") and "no best yet" in lines[0]
    assert any(line.startswith("fine (2/3): ") for line in lines)
    assert f"{sum(found.totals)}/{sum(found.totals)} finished" in lines[-1] and "best val/loss" in lines[-1]
    assert all(c == "\n" or c.isprintable() for c in text)


def test_on_a_terminal(running: tuple[str, Callable[[float], None]]) -> None:
    """The display has the progress bar, the best trial and its curve; the cursor is restored."""
    url, step = running
    out = Console(file=io.StringIO(), width=100, height=30, force_terminal=True)
    found = watch(url, out, step)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert found.trained
    assert "\x1b[?25l" in text and text.count("\x1b[?25l") == text.count("\x1b[?25h")
    assert "best val/loss" in text and "▲" in text and "confirm (3/3)" in text


def test_a_study_that_is_not_running(prepared: tuple[Spec, Dataset], call: Callable[..., Any], tmp_path: Path) -> None:  # noqa: F811
    """It is shown once, with the command that resumes it; a finished study needs no command."""
    spec, dataset = prepared
    with cases.opened(spec, dataset, tmp_path / "small.db") as study:
        next(study.run())
    said = call("show", "small.db", "--watch")
    assert said.code == 0 and "coarse (1/3): 0/" in said.out
    assert said.out.splitlines()[-1].startswith("Unfinished and not running. Resume with: hpsearch resume")
    cases.run(spec, dataset, tmp_path / "small.db")
    said = call("show", "small.db", "--watch")
    assert said.code == 0 and "finished" in said.out and "not running" not in said.out and "Best: " in said.out


def test_it_ends_when_the_process_that_ran_it_is_gone(
    running: tuple[str, Callable[[float], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process was killed, so that the database still names it as the holder."""
    url, step = running
    left = [3]

    def wait(seconds: float) -> None:
        left[0] -= 1
        if left[0]:
            step(seconds)
        else:
            monkeypatch.setattr(lease, "start_time", lambda pid: None)

    found = watch(url, Console(file=io.StringIO()), wait)
    assert left == [0] and not found.trained


def test_interrupting_is_not_an_error(
    running: tuple[str, Callable[[float], None]],
    call: Callable[..., Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C ends `show --watch` without a message and with exit code 0; the study continues."""
    url, step = running

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.watch, "__defaults__", (interrupt,))
    said = call("show", url, "--watch")
    assert said.code == 0 and said.err == "" and "coarse (1/3)" in said.out
    for _ in range(5):
        step(0.0)
    assert any(r.state != "running" for r in summary(url).trials[0])


def test_a_database_that_goes_away(running: tuple[str, Callable[[float], None]], tmp_path: Path) -> None:
    def wait(seconds: float) -> None:
        (tmp_path / "small.db").rename(tmp_path / "else.db")

    with pytest.raises(StorageError, match="cannot be read"):
        watch(running[0], Console(file=io.StringIO()), wait)
    (tmp_path / "else.db").rename(tmp_path / "small.db")
