"""The page of a report: its texts, its tables, its charts, and names that it must escape."""

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import paths
import pytest

from hpsearch.data.checks.drift import ColumnShift, Drift
from hpsearch.data.checks.leaks import Leak
from hpsearch.models.evidence import Evidence, PartError
from hpsearch.report.html import page
from hpsearch.report.html.report import write_report
from hpsearch.storage.records import Baseline, StoredEnsemble
from tests.hpsearch import test_cli
from tests.hpsearch.report.html.handmade import (
    TRIALS,
    all_charts,
    handmade_content,
)
from tests.hpsearch.report.html.report_cases import PageTags, content_of

call = test_cli.call
REPOSITORY = paths.REPOSITORY


class ParsedPage(HTMLParser):
    """The tables of a page (text and number of each cell), and all texts with the tag they are in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[tuple[str, float | None]]]] = []
        self.words: list[tuple[str, str]] = []
        self.plots: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag, given = tag, dict(attrs)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            number = given.get("data-v")
            self.tables[-1][-1].append(("", None if number is None else float(number)))
        if given.get("data-figure"):
            self.plots.append(given["data-figure"] or "")

    def handle_data(self, data: str) -> None:
        if self._tag in ("td", "th", "strong", "button") and self.tables and self.tables[-1] and self.tables[-1][-1]:
            text, number = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = (text + data.strip(), number)
        if data.strip():
            self.words.append((self._tag, data.strip()))

    def table(self, first: str) -> list[list[tuple[str, float | None]]]:
        """Return the table with this first cell."""
        return next(t for t in self.tables if t[0][0][0] == first)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ParsedPage]]:
    """Yield a function that renders a page and parses it, without plotly.js, which takes half a second to compress."""
    monkeypatch.setattr(page, "_compressed_plotly", lambda: "")
    yield lambda content, *charts: ParsedPage(page.render_page(content, *(charts or ([], []))))


def test_the_table_of_trials(read: Callable[..., ParsedPage]) -> None:
    """Numbers are below their headings, with full precision for sorting; missing values are dashes."""
    heads, *rows = read(handmade_content()).table("trial")
    names = [text for text, _ in heads]
    assert names == [
        "trial", "state", "val/loss", "learning_rate", "beta", "hidden_units", "batch_size", "activation", "epochs",
        "best epoch", "seconds", "val/accuracy",
    ]  # fmt: skip
    assert len(rows) == len(TRIALS)
    for row, (stage, number, internal_params, state, value, epochs, best, seconds, *_) in zip(
        rows, TRIALS, strict=True
    ):
        cells = dict(zip(names, row, strict=True))
        assert [cells[n][0] for n in ("trial", "state", "activation")] == [
            f"{stage}/{number}",
            state,
            internal_params[4],
        ]
        want = {
            "val/loss": value, "learning_rate": internal_params[0], "beta": 1 - internal_params[1],
            "hidden_units": (4, 8)[internal_params[2]], "batch_size": (16, 32)[internal_params[3]],
            "epochs": epochs, "best epoch": best or None, "seconds": seconds,
            "val/accuracy": 0.6 * value if value else None,
        }  # fmt: skip
        for name, number in want.items():
            text, sorts = cells[name]
            assert sorts == (None if number is None else pytest.approx(number)), (name, row)
            assert text == "–" if number is None else float(text) == pytest.approx(number, rel=1e-3), (name, row)
        assert [cells[n][1] for n in ("trial", "state", "activation")] == [None] * 3


def test_the_result(read: Callable[..., ParsedPage]) -> None:
    """Scores and parameters of the best trial are beside their names; the training time is that of this study."""
    of = handmade_content()
    best = of.summary.champion
    assert best is not None
    tests = {"test/loss": 0.17, "test/accuracy": 0.9}
    best = best._replace(metrics={**best.metrics, **tests})
    seen = read(of._replace(summary=of.summary._replace(champion=best)))
    pairs = [(a[1], float(b[1])) for a, b in pairwise(seen.words) if (a[0], b[0]) == ("span", "strong")]
    assert dict(pairs) == {"val/loss": 0.1, "val/accuracy": 0.06, **tests} and pairs[0][0] == "val/loss"
    found = {row[0][0]: [cell[0] for cell in row[1:]] for row in seen.table("parameter")[1:]}
    assert {name: value for name, (value, _) in found.items()} == {
        "learning_rate": "0.2", "beta": "0.95", "hidden_units": "8", "batch_size": "16", "activation": "relu",
        "l2": "0.0001",
    }  # fmt: skip
    words = ("0.5", "0.99", "0.001", "tanh")
    ends = {name: [word for word in words if word in where] for name, (_, where) in found.items()}
    assert (ends["beta"], ends["learning_rate"], ends["activation"]) == (["0.5", "0.99"], ["0.001"], ["tanh"])
    facts = {row[0][0]: row[1][0] for row in seen.table("study")}
    assert facts["training time"].startswith("11") and facts["data fingerprint"] == "0123"


def test_the_ensemble_is_beside_its_best_member(read: Callable[..., ParsedPage]) -> None:
    of = handmade_content()
    scores, single = {"val/loss": 0.125, "test/loss": 0.25}, {"val/loss": 0.5, "test/loss": 0.75}
    ensemble = StoredEnsemble(2, (), {("coarse", 1): 1, ("coarse", 0): 1}, scores, single)
    seen, best = read(of._replace(summary=of.summary._replace(ensemble=ensemble))), of.summary.champion
    assert best is not None
    rows = next(rows for rows in seen.tables if len(rows) > 1 and rows[1][0][0] == "ensemble")
    cells = [[text for text, _ in row] for row in rows]
    assert cells[1][1] == "coarse/1, coarse/0" and "0.125" in cells[1] and "0.5" in cells[2]
    assert cells[3][1] == best.label
    assert any("--ensemble" in text for _, text in seen.words)
    assert not any("or with --ensemble" in text for _, text in read(of).words), "without an ensemble"


def test_the_baselines_are_beside_the_champion(read: Callable[..., ParsedPage]) -> None:
    """With a sentence on what the network is worth; what an error says is escaped."""
    of = handmade_content()
    scores = {"val/loss": 0.25, "val/accuracy": 0.05}
    failed = Baseline("linear", 0, 9, {}, "ValueError: <script>no</script>", 1.0, 7.0)
    fitted = [Baseline(name, 0, 9, scores, None, 1.0, 7.0) for name in ("constant", "boosting")]
    baselines = (fitted[0], failed, fitted[1])
    best = of.summary.champion
    assert best is not None
    seen = read(of._replace(summary=of.summary._replace(baselines=baselines)))
    rows = [[cell[0] for cell in row] for row in seen.table("")]
    assert rows[0] == ["", "val/loss", "val/accuracy", ""] and rows[1] == ["constant", "0.25", "0.05", ""]
    assert rows[2] == ["linear model", "–", "–", "ValueError: <script>no</script>"]
    assert rows[4] == [f"network ({best.label})", "0.1", "0.06", ""]
    worth = "The network is better than gradient boosting by 0.15: val/loss 0.1 against 0.25."
    assert ("p", worth) in seen.words
    assert not any("gradient boosting" in text for _, text in read(of).words), "without baselines"


def test_each_chart_is_below_its_title(read: Callable[..., ParsedPage]) -> None:
    """Charts of the search come first, then charts of the best model."""
    want = all_charts()
    place = [p.name for p in want].index("learning")
    seen = read(handmade_content(), want[:place], want[place:])
    assert seen.plots == [p.name for p in want]
    assert [text for tag, text in seen.words if tag == "figcaption"] == [p.caption for p in want]
    titles = [text for tag, text in seen.words if tag == "h3"]
    assert [t for t in titles if t in {p.title for p in want}] == [p.title for p in want]
    loaded = next(json.loads(text) for tag, text in seen.words if tag == "script" and text.startswith("{"))
    assert loaded == {p.name: json.loads(p.figure.to_json()) for p in want}


def test_texts(ran: Any, tmp_path: Path) -> None:
    """The result comes first; scores and parameters are formatted as in `hpsearch show`; all trials are listed."""
    content = content_of(ran("full"))
    best = content.summary.champion
    assert best is not None
    text = write_report(ran("full"), tmp_path / "r.html", png=False).page.read_text("utf-8")
    words = " ".join(PageTags(text).text)
    for name in ("val/loss", "val/accuracy", "test/loss", "test/accuracy"):
        assert name in words and f"{best.metrics[name]:.4g}" in words
    for name, value in best.point.items():
        assert name in words and (f"{value:.4g}" if isinstance(value, float) else str(value)) in words
    for line in (*content.certainty(), *content.warnings(), *content.epoch_usage()):
        assert line in words
    assert all(r.label in words for r in content.trials)
    places = [text.index(f'id="{name}"') for name in ("result", "search", "best", "trials", "provenance")]
    assert places == sorted(places) and text.index("Best parameters") < places[1]
    assert re.search(
        r"The test accuracy is [\d.]+% on \d+ rows, which were used once; the 95% interval is [\d.]+% to [\d.]+%", words
    )


def test_seeds_of_given_points_are_in_the_page(ran: Any, tmp_path: Path) -> None:
    text = write_report(ran("one point"), tmp_path / "r.html", png=False).page.read_text("utf-8")
    assert "seeds: over 3 seeds" in text and "median val/loss" in text
    assert "The best of 3 seeds at its point" in " ".join(content_of(ran("one point")).certainty())


def test_plotly_is_in_the_page(ran: Any, tmp_path: Path) -> None:
    from plotly.offline import get_plotlyjs

    text = write_report(ran("folds"), tmp_path / "r.html", png=False).page.read_text("utf-8")
    packed = re.search(r'<script type="text/plain" id="plotly">([^<]*)</script>', text)
    assert packed and zlib.decompress(base64.b64decode(packed[1])).decode() == get_plotlyjs()


def test_names_are_escaped(ran: Any, tmp_path: Path) -> None:
    """They are escaped in the page and in figures, where plotly interprets tags."""
    written = write_report(ran("evil"), tmp_path / "r.html", png=False)
    text = written.page.read_text("utf-8")
    found = PageTags(text)
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


def test_the_subtitle_names_the_class_of_f1_and_the_split() -> None:
    content = handmade_content(metric={"name": "val/f1"}, **{"data.split": {"groups": "patient"}})
    assert content.dataset is not None
    binary = content._replace(dataset=replace(content.dataset, classes=("fraud", "genuine"), rarer=0))
    assert "metric: val/f1 of class 'fraud' (higher is better)" in page._subtitle(binary)
    assert "split by groups of 'patient'" in page._subtitle(binary)
    assert "metric: val/f1 (higher is better)" in page._subtitle(content)
    assert "split" not in page._subtitle(handmade_content())


def test_diagnosis_advice_and_drift_with_hostile_names() -> None:
    """Names of columns come from files of unknown origin, and stand in advice and in sentences on drift."""
    content = handmade_content()
    hostile = '<img src=x onerror="alert(1)">\x1b[31m'
    shifts = [ColumnShift(hostile, 1.5, 0.0, 0.1, False)]
    evidence = Evidence(
        {"train": PartError(100, None), "val": PartError(25, None), "test": PartError(85, None)},
        leaks=[Leak(hostile, 0.0)],
        drift=[Drift("val", 0.9, 0.8, 0.95, shifts)],
    )
    assert content.summary.champion is not None
    best = content.summary.champion._replace(metrics={"fit/accuracy": 1.0, "val/accuracy": 0.6, "test/accuracy": 0.6})
    summary = content.summary._replace(evidence=evidence, champion=best)
    text = page.render_page(content._replace(summary=summary), [], [])
    found = ParsedPage(text)
    words = [word for _, word in found.words]
    assert any(word.startswith("High variance: train error 0.0%") for word in words)
    assert any(word.startswith("The column '<img src=x") for word in words)
    assert any(word.startswith("A classifier tells val rows from training rows with an AUC of 0.90") for word in words)
    assert "<img src=x" not in text and "\x1b" not in text
    assert text.index("Bias and variance") < text.index("<h3>Advice</h3>")
