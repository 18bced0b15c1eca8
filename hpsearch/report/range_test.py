"""A learning-rate range test as text for the terminal."""

from collections.abc import Iterator

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.analysis.range_test import RangeTest
from hpsearch.search.checks.lr_range import LrRange

MAX_ROWS, BAR_WIDTH = 16, 40  # rows of the table; columns of the longest bar


def lr_range_as_text(lr_range: LrRange) -> RenderableType:
    """Return the averaged loss at each learning rate as bars, and the range worth searching."""
    test = lr_range.test
    table = Table(title="Learning-rate range test", box=SIMPLE_HEAD, title_justify="left")
    table.add_column("learning rate", justify="right")
    table.add_column("loss", justify="right")
    table.add_column("")
    for cells in _rows(test):
        table.add_row(*cells)
    steepest, end = float(test.best[0]), float(test.blown[0])
    decreased, diverged = np.isfinite(steepest), np.isfinite(end)
    lines = [f"The loss falls most steeply at {steepest:.2g}." if decreased else "The loss never falls."]
    lines += [f"It diverges at {end:.2g}; a tenth of that is {end / 10:.2g}." if diverged else "It never diverges."]
    if decreased:
        top = max(float(test.tenth[0]), steepest)
        lines.append(f"Worth searching: learning_rate: {{min: {steepest / 10:.1g}, max: {top:.1g}, scale: log}}")
    return Group(table, Text("\n".join(lines)))


def _rows(test: RangeTest) -> Iterator[tuple[str, str, str]]:
    """Yield learning rate, loss and bar of at most about `MAX_ROWS` steps with a finite loss."""
    losses = test.losses[0]
    steps = np.flatnonzero(np.isfinite(losses))
    greatest = (float(losses[steps].max()) if len(steps) else 0.0) or 1.0
    for step in steps[:: max(1, -(-len(steps) // MAX_ROWS))]:
        bar = "█" * max(1, round(BAR_WIDTH * losses[step] / greatest))
        yield f"{test.rates[step]:.2g}", f"{losses[step]:.4g}", bar
