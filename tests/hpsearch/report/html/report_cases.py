"""Shared by the tests of reports: studies of every kind, their charts, and a parser of pages."""

from functools import cache
from html.parser import HTMLParser
from typing import Any

import cases

from hpsearch.report.html.content import ReportContent
from hpsearch.report.html.figures import Chart
from hpsearch.report.html.model_figures import model_charts
from hpsearch.report.html.search_figures import search_charts

EVIL = ["<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", 'a $x^2$ & "b" {{ 7*7 }} [red]%{x}']
STUDIES: dict[str, dict[str, Any]] = {
    "full": {**cases.FULL, "parameters.activation": {"values": ["tanh", "relu"]}, "model.hidden": [
        {"units": "hidden_units", "activation": "activation"}]},
    "maximize": {"metric": {"name": "val/accuracy"}, "stages": [{"name": "only", "trials": 6}]},
    "conditional": cases.RICH,
    "one point": {
        "parameters": {}, "train.learning_rate": 0.1, "model.hidden": [4], "stages": [{"name": "seeds", "seeds": 3}]},
    "values": {"data": {"source": "sklearn", "name": "diabetes"}, "metric": {"name": "val/rmse"}},
    "folds": {"data": {"source": "sklearn", "name": "wine", "split": {"folds": 3}}},
    "evil": {"train.epochs": 2},
    "epochs": {
        **cases.FULL, "metric": {"name": "epochs"}, "train.stop": {"value": 0.6},
        "stages": [{"name": "a", "trials": 12}, {"name": "b", "seeds": 2, "points": [{"beta": 0.9}]}]},
    "names": {},
}  # fmt: skip


class PageTags(HTMLParser):
    """The tags of a page, its references to other files, its event handlers and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.text: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "srcset") and not (value or "").startswith("#"):
                self.outside.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@cache
def content_of(url: str) -> ReportContent:
    return ReportContent.read(url)


@cache
def charts(url: str) -> dict[str, Chart]:
    return drawn(content_of(url))


def drawn(content: ReportContent) -> dict[str, Chart]:
    return {p.name: p for p in (*search_charts(content), *model_charts(content))}
