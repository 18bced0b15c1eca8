"""The report of a study: what its pictures hold, what the page says, and that it asks nothing of the net."""

import base64
import json
import math
import os
import re
import shutil
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import numpy as np
import paths
import pytest

from hpsearch import api
from hpsearch.config.load import load_spec, restore_spec
from hpsearch.config.references import search_space
from hpsearch.core.space import Axis, InternalValue, value_bounds
from hpsearch.data.dataset import prepare
from hpsearch.errors import Interrupted
from hpsearch.report.html import axes as scales
from hpsearch.report.html import search_figures as pictures
from hpsearch.report.html.content import Story
from hpsearch.report.html.report import write_report
from hpsearch.storage.records import Trial
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study import session as service
from hpsearch.training.executors import Inline
from hpsearch.training.task import TrialResult
from tests.hpsearch import test_cli
from tests.hpsearch.report.html.report_cases import STUDIES, Seen, drawn, of, told

call = test_cli.call

REPOSITORY = paths.REPOSITORY


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_its_report(ran: Any, name: str, tmp_path: Path) -> None:
    """Whatever the study is like; nothing in it refers to anything outside."""
    text = write_report(ran(name), tmp_path / "r.html", png=False).page.read_text("utf-8")
    found = Seen(text)
    assert found.outside == [] and found.handlers == [] and "default-src 'none'" in text
    assert found.tags.count("figure") == len(told(ran(name)))
    assert found.tags.count("script") == 3  # figures, plotly, ours
    assert list(tmp_path.iterdir()) == [tmp_path / "r.html"]


def test_the_pictures_of_each(ran: Any) -> None:
    """Those, and no others, that there is something to show for."""
    search = ["stages", "history", "parallel", "slices", "curves", "epochs", "saved", "time"]
    layers = ["activations", "gradients", "weights"]
    full = list(told(ran("full")))
    assert full == ["confirmed", *search[:2], "importance", *search[2:], "learning", "confusion", *layers]
    assert list(told(ran("one point"))) == ["history", *search[4:], "learning", "confusion", *layers]
    values = list(told(ran("values")))
    assert "predicted" in values and "confusion" not in values and "confirmed" not in values
    assert "regions" in told(ran("evil")) and "regions" not in full


def test_plotly_is_in_it_whole(ran: Any, tmp_path: Path) -> None:
    from plotly.offline import get_plotlyjs

    text = write_report(ran("folds"), tmp_path / "r.html", png=False).page.read_text("utf-8")
    packed = re.search(r'<script type="text/plain" id="plotly">([^<]*)</script>', text)
    assert packed and zlib.decompress(base64.b64decode(packed[1])).decode() == get_plotlyjs()


def test_names_from_files_are_text(ran: Any, tmp_path: Path) -> None:
    """In the page escaped, and in figures too, where plotly would read tags."""
    written = write_report(ran("evil"), tmp_path / "r.html", png=False)
    text = written.page.read_text("utf-8")
    found = Seen(text)
    assert "img" not in found.tags and found.tags.count("script") == 3 and "49" not in found.text
    figures = re.search(r'id="figures">(.*?)</script>', text, re.S)
    assert figures
    loaded = json.loads(figures[1])

    def strings(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                yield from strings(part)

    every = list(strings(loaded))
    assert any("&lt;img" in s for s in every)
    tags = {tag for s in every for tag in re.findall(r"<[^>]*>", s)}
    assert tags <= {"<br>", "<extra>", "</extra>"}, tags
    assert "<" not in figures[1]


def test_a_template_in_a_name_is_not_filled_in(ran: Any) -> None:
    """plotly replaces `%{x}` in texts of hovers: names stand in fields, and not in its templates."""
    for picture in told(ran("evil")).values():
        for trace in picture.figure.data:
            template = getattr(trace, "hovertemplate", None) or ""
            assert "[red]" not in template, picture.name


def test_stages_are_drawn_as_they_were_searched(ran: Any) -> None:
    """For each parameter the whole range as a thin line and each stage's box as a bar, on the axis' own scale."""
    story = of(ran("full"))
    made = told(ran("full"))["stages"].figure
    axes = story.axes
    assert {a.name for a in axes} == {a.name for a in search_space(story.spec).axes}
    for number, axis in enumerate(axes, 1):
        side = "x" if number == 1 else f"x{number}"
        layout = made.layout[f"xaxis{'' if number == 1 else number}"]
        assert layout.title.text == (f"1 − {axis.name}" if axis.complement else axis.name)
        assert (layout.type == "log") == axis.log
        bars = [t for t in made.data if t.xaxis == side and t.mode == "lines" and t.line.width == 15]
        thin = [t for t in made.data if t.xaxis == side and t.mode == "lines" and t.line.width == 3]
        assert len(bars) == len(thin) == 2  # the confirming stage searches nothing
        for bar, line, box in zip(bars, thin, story.found.boxes, strict=False):
            ends = box[axis.key] if axis.zoomable else (0, len(axis.choices) - 1)
            assert tuple(bar.x) == pytest.approx(ends) and min(line.x) <= ends[0] <= ends[1] <= max(line.x)
        dots = [t for t in made.data if t.xaxis == side and t.mode == "markers" and t.marker.symbol is None]
        for records, points in zip(story.found.records, dots, strict=False):
            internal_params = [r.internal_params[axis.key] for r in records]
            assert list(points.x) == [axis.choices.index(r) if not axis.zoomable else r for r in internal_params]
    zoomed = [a for a in axes if a.zoomable and story.found.boxes[1][a.key] != story.found.boxes[0][a.key]]
    assert zoomed, "the second stage is to be a zoom"
    low, high = value_bounds(next(a for a in axes if a.complement), story.found.boxes[0])
    assert (low, high) == (0.5, 0.99)


@pytest.mark.parametrize("name", ["full", "maximize", "values"])
def test_history(ran: Any, name: str) -> None:
    """Every finished trial with a value at its number, and a line that only gets better."""
    story = of(ran(name))
    made = told(ran(name))["history"].figure
    trials = [r for each in story.found.records for r in each]
    points = {int(x): y for t in made.data if t.mode == "markers" for x, y in zip(t.x, t.y, strict=True)}
    want = {n: r.value for n, r in enumerate(trials, 1) if r.state in ("complete", "pruned")}
    assert points == want
    best = next(t for t in made.data if t.name == "best so far")
    steps = np.diff(best.y) * story.spec.metric.sign
    values = [r.value for r in trials if r.state == "complete" and r.value is not None]
    assert (steps <= 0).all() and best.y[-1] == (min if story.spec.metric.sign > 0 else max)(values)
    pruned = [t for t in made.data if t.marker.symbol == "circle-open"]
    assert bool(pruned) == any(r.state == "pruned" for r in trials)


def test_slices_and_parallel(ran: Any) -> None:
    """Each trial once on each parameter's own scale; 1 − β is drawn as such; parallel axes have exponents."""
    story = of(ran("full"))
    drawn = told(ran("full"))
    trials = [r for r in story.trials if r.state in ("complete", "pruned")]
    beta = next(a for a in story.axes if a.name == "beta")
    place = story.axes.index(beta) + 1
    side = "x" if place == 1 else f"x{place}"
    shown = [v for t in drawn["slices"].figure.data if t.xaxis == side for v in t.x]
    assert sorted(shown) == pytest.approx(sorted(1 - float(r.point["beta"]) for r in trials))
    assert drawn["slices"].figure.layout[f"xaxis{'' if place == 1 else place}"].type == "log"
    lines = drawn["parallel"].figure.data[0]
    of_beta = next(d for d in lines.dimensions if d.label == "1 − beta")
    assert list(of_beta["values"]) == pytest.approx([math.log10(1 - float(r.point["beta"])) for r in trials])
    assert lines.dimensions[-1].label == "val/loss" and len(lines.line.color) == len(trials)
    assert list(of_beta.ticktext) == [f"{10**v:g}" for v in of_beta.tickvals]


def test_parallel_leaves_out_where_a_parameter_does_not_count(ran: Any) -> None:
    story = of(ran("conditional"))
    drawn = told(ran("conditional"))["parallel"]
    trials = [r for r in story.trials if r.state == "complete"]
    always = {a.name for a in story.axes if all(a.key in r.internal_params for r in trials)}
    assert len(drawn.figure.data[0].line.color) == len(trials) > len(always) > 1
    shown = {d.label.removeprefix("1 − ") for d in drawn.figure.data[0].dimensions} - {"val/loss"}
    assert shown == always and all(a.name in drawn.caption for a in story.axes if a.name not in always)
    some = [r for r in trials if "beta1" in r.point][:9]
    sure = pictures._parallel(story, [a for a in story.axes if a.name == "beta1"], [*some, *trials[:1], trials[-1]])
    assert len(sure.figure.data[0].line.color) in (9, 10, 11) and ("left out" in sure.caption) == (
        sum("beta1" in r.point for r in (trials[0], trials[-1])) < 2
    )


@pytest.mark.parametrize("name", ["full", "conditional", "one point"])
def test_epochs_add_up(ran: Any, name: str) -> None:
    """Of what trials were allowed: trained, saved by stopping early, saved by pruning; every trial in one bin."""
    story, drawn = of(ran(name)), told(ran(name))
    counted = [r for r in story.trials if r.copied_from is None and r.state in ("complete", "pruned", "diverged")]
    assert sum(sum(t.y) for t in drawn["epochs"].figure.data) == len(counted)
    bars = drawn["saved"].figure.data
    assert sum(sum(t.x) for t in bars) == story.spec.train.epochs * len(counted)
    assert sum(bars[0].x) == sum(r.epochs for r in counted)


def test_confirmed(ran: Any) -> None:
    story = of(ran("full"))
    made = told(ran("full"))["confirmed"].figure
    means = [t for t in made.data if t.error_x.array is not None]
    assert [t.x[0] for t in means] == [f.mean for f in story.found.finalists if math.isfinite(f.mean)]
    assert [t.error_x.array[0] for t in means] == [f.half for f in story.found.finalists if math.isfinite(f.mean)]
    sure = " ".join(story.sure())
    assert f"{story.found.finalists[0].mean:.4g}" in sure and "2 seeds" in sure


def test_confusion_and_curves(ran: Any) -> None:
    story, drawn = of(ran("full")), told(ran("full"))
    assert story.diagnostics is not None and story.diagnostics.test is not None and story.found.champion is not None
    table = drawn["confusion"].figure.data[1]
    np.testing.assert_array_equal(np.array(table.customdata), story.diagnostics.test.confusion)
    best = story.found.champion
    rows = np.array(story.diagnostics.test.confusion)
    assert np.trace(rows) / rows.sum() == pytest.approx(best.metrics["test/accuracy"], abs=1e-6)
    curve = next(t for t in drawn["learning"].figure.data if t.name == "val")
    assert list(curve.y) == best.history["val/loss"] and list(curve.x) == list(range(1, best.epochs + 1))
    thick = [t for t in drawn["curves"].figure.data if t.line.width == 3]
    assert [t.name for t in thick] == [best.label]


def test_what_it_says(ran: Any, tmp_path: Path) -> None:
    """The answer first: scores and parameters as `hpsearch show` prints them, how sure, ranges, every trial."""
    story = of(ran("full"))
    best = story.found.champion
    assert best is not None
    text = write_report(ran("full"), tmp_path / "r.html", png=False).page.read_text("utf-8")
    words = " ".join(Seen(text).text)
    for name in ("val/loss", "val/accuracy", "test/loss", "test/accuracy"):
        assert name in words and f"{best.metrics[name]:.4g}" in words
    for name, value in best.point.items():
        assert name in words and (f"{value:.4g}" if isinstance(value, float) else str(value)) in words
    for line in (*story.sure(), *story.warnings(), *story.epochs()):
        assert line in words
    assert all(r.label in words for r in story.trials)
    places = [text.index(f'id="{name}"') for name in ("answer", "search", "best", "trials", "made")]
    assert places == sorted(places) and text.index("Best parameters") < places[1]
    assert re.search(r"Of \d+ test rows, read once, [\d.]+% are predicted right; that is [\d.]+% to [\d.]+%", words)


def test_the_interval_of_test_rows(ran: Any) -> None:
    """Wilson's, by his formula: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)."""
    story = of(ran("full"))
    best = story.found.champion
    assert best is not None and story.dataset is not None
    p, n, z = best.metrics["test/accuracy"], dict(story.dataset.rows)["test"], 1.959964
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    assert f"{low:.1%} to {high:.1%}" in " ".join(story.sure())


def test_a_study_under_way(ran: Any, tmp_path: Path) -> None:
    """Without diagnostics, without test scores, with trials that run, or with none at all."""
    spec = cases.small(**cases.FULL)
    (tmp_path / "rows").mkdir()
    dataset, _ = prepare(spec.data, spec.seed, tmp_path / "rows")
    for trials in (1, 9, 23):
        limit, database = cases.Limit(trials), tmp_path / f"{trials}.db"
        with pytest.raises(Interrupted):
            cases.run(spec, dataset, database, tracker=limit, stop=limit.stop)
        url = f"sqlite:///{database}"
        text = write_report(url, tmp_path / f"{trials}.html", png=False).page.read_text("utf-8")
        assert "Not finished, and nobody runs it" in text
        assert ("No trial is complete yet" in text) == (Story.of(url).found.champion is None)


def test_it_only_reads(ran: Any, tmp_path: Path) -> None:
    database = tmp_path / "copy.db"
    shutil.copyfile(ran("full").removeprefix("sqlite:///"), database)
    before = database.read_bytes()
    write_report(f"sqlite:///{database}", tmp_path / "out.html", png=False)
    assert database.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.db", "out.html"]


def test_a_study_without_diagnostics_says_how_to_get_one(ran: Any, tmp_path: Path) -> None:
    """One of an earlier version: the pictures that need it are not there, and running it again brings them."""
    database = tmp_path / "full.db"
    shutil.copyfile(ran("full").removeprefix("sqlite:///"), database)
    with closing(sqlite3.connect(database)) as connection:
        kept = connection.execute("SELECT diagnostics FROM hpsearch_champion WHERE diagnostics IS NOT NULL").fetchall()
        connection.execute("UPDATE hpsearch_champion SET diagnostics = NULL")
        connection.commit()
    url = f"sqlite:///{database}"
    before = Story.of(url)
    assert "confusion" not in drawn(before) and "learning" in drawn(before)
    assert any("hpsearch resume" in line for line in before.warnings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(service.EXECUTORS, "processes", Inline)
        api.run(cases.content(**STUDIES["full"]), storage=database, tracking_uri="none")
    with closing(sqlite3.connect(database)) as connection:
        again = connection.execute("SELECT diagnostics FROM hpsearch_champion WHERE diagnostics IS NOT NULL").fetchall()
    assert again == kept and len(kept) == 1
    after = Story.of(url)
    assert "confusion" in drawn(after) and not any("hpsearch resume" in line for line in after.warnings())


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(1e-4, 1.0, ["0.0001", "0.001", "0.01", "0.1", "1"]), (16, 256, ["20", "50", "100", "200"]), (3, 4, ["3", "4"])],
)
def test_marks_of_a_log_axis(low: float, high: float, ticks: list[str]) -> None:
    found = scales.drawn(Axis("a", "a", low, high, log=True))
    assert found["ticktext"] == ticks and found["type"] == "log"
    assert 10 ** found["range"][0] < low < high < 10 ** found["range"][1]


@pytest.mark.parametrize(
    ("values", "log"),
    [([0.1, 5.0], True), ([0.1, 0.2], False), ([0.0, 5.0], False), ([-1.0, 5.0], False), ([0.1], False), ([], False)],
)
def test_values_far_apart_have_a_log_axis(values: list[float], log: bool) -> None:
    assert (scales.values(values).get("type") == "log") == log


def test_the_command(call: test_cli.Call, ran: Any, tmp_path: Path) -> None:
    database = tmp_path / "x.db"
    shutil.copyfile(ran("folds").removeprefix("sqlite:///"), database)
    said = call("report", database, "--no-png")
    assert said.code == 0 and "small-report.html" in said.out and said.err == "", said
    assert (tmp_path / "small-report.html").exists() and not (tmp_path / "small-report").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.db"], "there is no such database"),
        (["x.db", "--out", "."], "cannot be written"),
        (["x.db", "--out", "no/such/folder/r.html"], "cannot be written"),
        (["text.db"], "is not a database"),
    ],
)
def test_mistakes(call: test_cli.Call, ran: Any, tmp_path: Path, arguments: list[str], words: str) -> None:
    shutil.copyfile(ran("folds").removeprefix("sqlite:///"), tmp_path / "x.db")
    (tmp_path / "text.db").write_text("no database at all, but text of some length")
    said = call("report", *arguments)
    assert said.code == 2 and words in said.err and "Traceback" not in said.err, said


def many(path: Path, count: int) -> str:
    """A study of so many trials of 50 epochs, none of which was trained."""
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
    """The report of them in 20 s, and in no more than four times what 500 take: nothing is slower than linear."""
    took = {}
    write_report(many(tmp_path / "warm.db", 20), tmp_path / "warm.html", png=False)  # imports
    for count in (500, 2000):
        url, began = many(tmp_path / f"{count}.db", count), time.process_time()
        written = write_report(url, tmp_path / f"{count}.html", png=False)
        took[count] = time.process_time() - began
        with capsys.disabled():
            print(f"\n{count} trials: {took[count]:.1f} s of CPU, {written.page.stat().st_size / 1e6:.1f} MB")
    assert took[2000] <= 4 * took[500] and took[2000] <= 20


def test_classes_whose_names_are_shortened_alike(ran: Any) -> None:
    """Each has its row and column, in the page as in the PNG."""
    made = told(ran("names"))["confusion"].figure
    assert [list(t.x) for t in made.data] == [[0, 1, 2], [0, 1, 2]] == [list(t.y) for t in made.data]
    assert len(of(ran("names")).classes) == 3 and len(made.layout.xaxis.ticktext) == 3


def test_a_pruned_trial_without_a_value(ran: Any) -> None:
    """Of the epochs to a goal it has none, so it is not drawn at 0."""
    story, drawn = of(ran("epochs")), told(ran("epochs"))
    assert any(r.state == "pruned" and r.value is None for r in story.trials)
    known = [r.value for r in story.trials if r.value is not None and r.state in ("complete", "pruned")]
    assert sorted(drawn["parallel"].figure.data[0].dimensions[-1]["values"]) == sorted(known) and min(known) > 0
    lost = len(story.trials) - len(known)
    assert f"{lost} without a value are not shown" in drawn["history"].caption


def test_seeds_of_given_points_are_in_the_page(ran: Any, tmp_path: Path) -> None:
    text = write_report(ran("one point"), tmp_path / "r.html", png=False).page.read_text("utf-8")
    assert "seeds: over 3 seeds" in text and "median val/loss" in text
    assert "The best of 3 seeds of its point" in " ".join(of(ran("one point")).sure())


def test_a_range_that_was_narrowed_shows_all_trials(ran: Any) -> None:
    """Between two stages it may be: axes are as wide as anything that was searched."""
    story = of(ran("full"))
    changed = story.spec.model_dump(mode="json")
    changed["parameters"]["learning_rate"] |= {"min": 0.1, "max": 1.0}
    narrow = story._replace(found=story.found._replace(spec=restore_spec(changed, "test")))
    rate = next(a for a in narrow.axes if a.name == "learning_rate")
    internal_params = [float(r.internal_params["learning_rate"]) for r in story.trials]
    assert rate.low <= min(internal_params) and rate.high >= max(internal_params) and rate.high > 1e10


@pytest.mark.parametrize("log", [False, True])
def test_a_box_of_one_point_can_be_seen(log: bool) -> None:
    axis = Axis("a", "a", 1.0, 100.0, log=log)
    low, high = scales.wide(axis, 10.0, 10.0)
    assert low < 10.0 < high and axis.to_scaled(high) - axis.to_scaled(low) == pytest.approx(
        0.008 * (axis.to_scaled(100.0) - axis.to_scaled(1.0))
    )
    assert scales.wide(axis, 10.0, 50.0) == (10.0, 50.0)
    assert scales.wide(Axis("a", "a", 0, 2, integer=True, choices=(1, 2, 3)), 1, 1) == (0.97, 1.03)


def test_only_a_report_is_replaced(call: test_cli.Call, ran: Any, tmp_path: Path) -> None:
    """Not the study's own database, nor anything else that is there, nor what a link beside it leads to."""
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
