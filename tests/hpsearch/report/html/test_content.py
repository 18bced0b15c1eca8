"""The content of a report: intervals, missing diagnostics and ranges that were changed."""

import math
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import paths
import pytest

from hpsearch import api
from hpsearch.config.load import restore_spec
from hpsearch.config.references import search_space
from hpsearch.report.html.content import ReportContent
from hpsearch.study import session as service
from hpsearch.training.executors import Inline
from tests.hpsearch import test_cli
from tests.hpsearch.report.html.report_cases import STUDIES, content_of, drawn

call = test_cli.call
REPOSITORY = paths.REPOSITORY


def test_interval_of_the_test_accuracy(ran: Any) -> None:
    """Wilson's interval: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)."""
    content = content_of(ran("full"))
    best = content.summary.champion
    assert best is not None and content.dataset is not None
    p, n, z = best.metrics["test/accuracy"], dict(content.dataset.rows)["test"], 1.959964
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    assert f"{low:.1%} to {high:.1%}" in " ".join(content.certainty())


def test_a_study_without_diagnostics_says_how_to_get_them(ran: Any, tmp_path: Path) -> None:
    """Without them their charts are missing; running the study again computes them."""
    database = tmp_path / "full.db"
    shutil.copyfile(ran("full").removeprefix("sqlite:///"), database)
    with closing(sqlite3.connect(database)) as connection:
        kept = connection.execute("SELECT diagnostics FROM hpsearch_champion WHERE diagnostics IS NOT NULL").fetchall()
        connection.execute("UPDATE hpsearch_champion SET diagnostics = NULL")
        connection.commit()
    url = f"sqlite:///{database}"
    before = ReportContent.read(url)
    assert "confusion" not in drawn(before) and "learning" in drawn(before)
    assert any("hpsearch resume" in line for line in before.warnings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(service.EXECUTORS, "processes", Inline)
        api.run(cases.content(**STUDIES["full"]), storage=database, tracking_uri="none")
    with closing(sqlite3.connect(database)) as connection:
        again = connection.execute("SELECT diagnostics FROM hpsearch_champion WHERE diagnostics IS NOT NULL").fetchall()
    assert again == kept and len(kept) == 1
    after = ReportContent.read(url)
    assert "confusion" in drawn(after) and not any("hpsearch resume" in line for line in after.warnings())


def test_axes_of_a_narrowed_range(ran: Any) -> None:
    """A range may be changed between two stages; axes cover all trials."""
    content = content_of(ran("full"))
    changed = content.spec.model_dump(mode="json")
    changed["parameters"]["learning_rate"] |= {"min": 0.1, "max": 1.0}
    spec = restore_spec(changed, "test")
    narrow = content._replace(summary=content.summary._replace(spec=spec, space=search_space(spec)))
    rate = next(a for a in narrow.axes if a.name == "learning_rate")
    internal_params = [float(r.internal_params["learning_rate"]) for r in content.trials]
    assert rate.low <= min(internal_params) and rate.high >= max(internal_params) and rate.high > 1e10
