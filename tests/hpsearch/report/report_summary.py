"""Summaries made by hand, and their text on a terminal."""

import io
from typing import Any

from rich.console import Console

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.storage.records import Trial
from hpsearch.study.summary import Summary
from tests.hpsearch.test_cli import call, strict  # noqa: F401 (a fixture)


def summary(spec: Spec, records: list[Trial], best: Trial | None) -> Summary:
    boxes = [search_space(spec).full_box()]
    return Summary(spec, search_space(spec), [records], boxes, [0], [len(records), 0], best)


def drawn(content: Any, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(content)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]
