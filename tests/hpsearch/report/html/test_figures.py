"""Common to all charts: hover templates."""

from typing import Any

import paths

from tests.hpsearch import test_cli
from tests.hpsearch.report.html.report_cases import charts

call = test_cli.call
REPOSITORY = paths.REPOSITORY


def test_names_are_not_templates(ran: Any) -> None:
    """Plotly replaces `%{x}` in hover templates; names are in hover texts, which it does not interpret."""
    for chart in charts(ran("evil")).values():
        for trace in chart.figure.data:
            template = getattr(trace, "hovertemplate", None) or ""
            assert "[red]" not in template, chart.name
