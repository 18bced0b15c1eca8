"""The studies of a database as text, one line each, and as JSON."""

from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from typing import Any

from hpsearch.core.text import format_value
from hpsearch.study.overview import StudyOverview

HEADER = ("study", "state", "trials", "best", "started", "run by")


def listing_text(studies: Sequence[StudyOverview]) -> str:
    """Return a table with a line for each study."""
    rows = [HEADER, *map(_row, studies)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def listing_json(studies: Sequence[StudyOverview]) -> list[dict[str, Any]]:
    """Return the studies for other programs; times are Unix times."""
    return [
        {
            "study": study.name,
            "state": study.state,
            "finished": study.finished,
            "planned": study.planned,
            "stages": [stage._asdict() for stage in study.stages],
            "metric": study.metric or None,
            "best": study.best if study.best is not None and isfinite(study.best) else None,
            "started": study.created,
            "holder": None
            if study.holder is None
            else {"host": study.holder.host, "pid": study.holder.pid, "since": study.holder.since},
        }
        for study in studies
    ]


def _row(study: StudyOverview) -> tuple[str, ...]:
    trials = f"{study.finished:,}/{study.planned:,}" if study.stages else "-"
    if len(study.stages) > 1:
        trials += f" ({', '.join(f'{s.name} {s.finished:,}/{s.trials:,}' for s in study.stages)})"
    best = "-" if study.best is None else f"{study.metric} {format_value(study.best)}"
    started = f"{datetime.fromtimestamp(study.created):%Y-%m-%d %H:%M}"
    holder = "-" if study.holder is None else f"process {study.holder.pid} on {study.holder.host}"
    return study.name, study.state, trials, best, started, holder
