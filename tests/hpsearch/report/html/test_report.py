"""The report of every kind of study, `hpsearch report`, and the files that it may replace."""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import numpy as np
import paths
import pytest

from hpsearch.config.load import load_spec
from hpsearch.config.references import search_space
from hpsearch.core.space import InternalValue
from hpsearch.data.dataset import prepare
from hpsearch.errors import Interrupted
from hpsearch.report.html.content import ReportContent
from hpsearch.report.html.report import write_report
from hpsearch.storage.records import Trial
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.task import TrialResult
from tests.hpsearch import test_cli
from tests.hpsearch.report.html.report_cases import STUDIES, PageTags, charts

call = test_cli.call
REPOSITORY = paths.REPOSITORY


@pytest.mark.parametrize("name", STUDIES)
def test_reports_of_all_kinds_of_studies(ran: Any, name: str, tmp_path: Path) -> None:
    """The page refers to no other file, for every kind of study."""
    text = write_report(ran(name), tmp_path / "r.html", png=False).page.read_text("utf-8")
    found = PageTags(text)
    assert found.outside == [] and found.handlers == [] and "default-src 'none'" in text
    assert found.tags.count("figure") == len(charts(ran(name)))
    assert found.tags.count("script") == 3  # figures, plotly, ours
    assert list(tmp_path.iterdir()) == [tmp_path / "r.html"]


def test_the_database_is_only_read(ran: Any, tmp_path: Path) -> None:
    database = tmp_path / "copy.db"
    shutil.copyfile(ran("full").removeprefix("sqlite:///"), database)
    before = database.read_bytes()
    write_report(f"sqlite:///{database}", tmp_path / "out.html", png=False)
    assert database.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.db", "out.html"]


def test_an_unfinished_study(ran: Any, tmp_path: Path) -> None:
    """Without diagnostics or test scores, with running trials, or without any trial."""
    spec = cases.small(**cases.FULL)
    (tmp_path / "rows").mkdir()
    dataset, _ = prepare(spec.data, spec.seed, tmp_path / "rows")
    for trials in (1, 9, 23):
        limit, database = cases.LimitTracker(trials), tmp_path / f"{trials}.db"
        with pytest.raises(Interrupted):
            cases.run(spec, dataset, database, tracker=limit, stop=limit.stop)
        url = f"sqlite:///{database}"
        text = write_report(url, tmp_path / f"{trials}.html", png=False).page.read_text("utf-8")
        assert "Unfinished and not running" in text
        assert ("No trial is complete yet" in text) == (ReportContent.read(url).summary.champion is None)


def test_the_command(call: test_cli.Call, ran: Any, tmp_path: Path) -> None:
    database = tmp_path / "x.db"
    shutil.copyfile(ran("folds").removeprefix("sqlite:///"), database)
    said = call("report", database, "--no-png")
    assert said.code == 0 and "x-report.html" in said.out and said.err == "", said
    assert (tmp_path / "x-report.html").exists() and not (tmp_path / "x-report").exists()


def test_databases_with_studies_of_one_name(call: test_cli.Call, ran: Any, tmp_path: Path) -> None:
    """Each has its report; the report of another study is not replaced without a note."""
    for name in ("a.db", "b.db"):
        shutil.copyfile(ran("folds").removeprefix("sqlite:///"), tmp_path / name)
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        connection.execute("UPDATE hpsearch_study SET identity = 'another'")
        connection.commit()
    for name in ("a.db", "b.db", "a.db"):
        assert call("report", name, "--no-png").err == ""
    pages = [(tmp_path / f"{name}-report.html").read_text() for name in ("a", "b")]
    assert ['content="another"' in page[:1000] for page in pages] == [False, True]
    said = call("report", "b.db", "--no-png", "--out", "a-report.html")
    assert said.code == 0 and said.err == (
        "note: a-report.html: replaced the report of another study; name another file with --out\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.db"], "there is no such database"),
        (["x.db", "--out", "."], "cannot be written"),
        (["x.db", "--out", "loop"], "cannot be written"),
        (["x.db", "--out", "no/such/folder/r.html"], "cannot be written"),
        (["text.db"], "is not a database"),
    ],
)
def test_mistakes(call: test_cli.Call, ran: Any, tmp_path: Path, arguments: list[str], words: str) -> None:
    shutil.copyfile(ran("folds").removeprefix("sqlite:///"), tmp_path / "x.db")
    (tmp_path / "text.db").write_text("no database at all, but text of some length")
    (tmp_path / "loop").symlink_to("loop")
    said = call("report", *arguments)
    assert said.code == 2 and words in said.err and "Traceback" not in said.err, said


def test_only_a_report_is_replaced(call: test_cli.Call, ran: Any, tmp_path: Path) -> None:
    """Neither the study database nor other files, nor the target of a symbolic link, are overwritten."""
    database, victim = tmp_path / "x.db", tmp_path / "victim"
    shutil.copyfile(ran("folds").removeprefix("sqlite:///"), database)
    before = database.read_bytes()
    victim.write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    for out in (database, victim, tmp_path / "pipe"):
        said = call("report", database, "--out", out, "--no-png")
        assert said.code == 2 and "exists and is not a report" in said.err, said
    assert database.read_bytes() == before and victim.read_text() == "mine"
    page = tmp_path / "r.html"
    (tmp_path / "r.html.part").symlink_to(victim)
    (tmp_path / "link.html").symlink_to(page)
    for out in (page, page, tmp_path / "link.html"):
        assert call("report", database, "--out", out, "--no-png").code == 0
    assert victim.read_text() == "mine" and (tmp_path / "link.html").is_symlink() and not page.is_symlink()
    assert call("report", database, "--out", tmp_path / ("x" * 300), "--no-png").code == 2
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def many(path: Path, count: int) -> str:
    """Return the URL of a study with `count` trials of up to 50 epochs that were not trained."""
    spec = load_spec(REPOSITORY / "studies" / "digits.yaml", (f"stages.0.trials={count}", "stages.2.top=1"))[0]
    random, space = np.random.default_rng(1), search_space(spec)
    storage = StudyDatabase.open(f"sqlite:///{path}", create=True)
    storage.begin(spec.name, spec.model_dump(mode="json"), "none", "test")
    storage.stages.begin("coarse", space.full_box())
    trials, results = [], []
    for number in range(count):
        drawn = {a.key: random.uniform(a.to_scaled(a.low), a.to_scaled(a.high)) for a in space.axes}
        internal: dict[str, InternalValue] = {
            a.key: round(a.from_scaled(drawn[a.key])) if a.integer else a.from_scaled(drawn[a.key]) for a in space.axes
        }
        trials.append(Trial("coarse", number, internal, space.point(internal), "running"))
        state, epochs = (("complete", 50), ("complete", 31), ("pruned", 2), ("pruned", 17), ("diverged", 3))[number % 5]
        loss = (2 / np.arange(1, epochs + 1) + 0.1 * random.random(epochs)).round(6).tolist()
        history = dict.fromkeys(("train/loss", "train/accuracy", "val/loss", "val/accuracy"), loss)
        value = None if state == "diverged" else min(loss)
        results.append(TrialResult(number, state, value, epochs, int(np.argmin(loss)) + 1, history, 0.5))  # type: ignore[arg-type]
    storage.trials.add(trials)
    storage.trials.save("coarse", results)
    storage.close()
    return f"sqlite:///{path}"


def test_five_hundred_trials_are_under_five_megabytes(tmp_path: Path) -> None:
    written = write_report(many(tmp_path / "many.db", 500), tmp_path / "r.html", png=False)
    assert written.page.stat().st_size < 5e6
    assert written.page.read_text("utf-8").count("<tr><td>coarse/") == 500


@pytest.mark.bench
def test_two_thousand_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The time is at most 20 s, and at most four times that of 500 trials: it grows linearly."""
    took = {}
    write_report(many(tmp_path / "warm.db", 20), tmp_path / "warm.html", png=False)  # imports
    for count in (500, 2000):
        url, began = many(tmp_path / f"{count}.db", count), time.process_time()
        written = write_report(url, tmp_path / f"{count}.html", png=False)
        took[count] = time.process_time() - began
        with capsys.disabled():
            print(f"\n{count} trials: {took[count]:.1f} s of CPU, {written.page.stat().st_size / 1e6:.1f} MB")
    assert took[2000] <= 4 * took[500] and took[2000] <= 20
