"""What all charts share: hover templates."""

from typing import Any

import paths

from tests.hpsearch import test_cli
from tests.hpsearch.report.html.report_cases import charts

call = test_cli.call
REPOSITORY = paths.REPOSITORY


def test_a_template_in_a_name_is_not_filled_in(ran: Any) -> None:
    """plotly replaces `%{x}` in texts of hovers: names stand in fields, and not in its templates."""
    for picture in charts(ran("evil")).values():
        for trace in picture.figure.data:
            template = getattr(trace, "hovertemplate", None) or ""
            assert "[red]" not in template, picture.name
