"""Summaries of a running, a stopped and a finished study."""

from pathlib import Path

import cases
import pytest

from hpsearch.data.dataset import prepare
from hpsearch.errors import Interrupted, StorageError
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase, read
from hpsearch.study.summary import restore_study, status_line, summary

SPEC = cases.small(**{"train.epochs": 2, "stages.0.trials": 6, "stages.1.trials": 3})


def test_running_stopped_and_finished_studies(tmp_path: Path) -> None:
    """The line names the holder, or the command to resume; at the end the champion has its test scores."""
    dataset, database = prepare(SPEC.data, SPEC.seed, tmp_path)[0], tmp_path / "small.db"
    url, limit = url_of(str(database)), cases.LimitTracker(4)
    with (
        pytest.raises(Interrupted),
        cases.opened(SPEC, dataset, database, tracker=limit, stop=limit.stop) as study,
    ):
        running = study.run()
        next(running)
        found = summary(url)
        assert found.holder is not None and status_line(url, found) == f"Run by {found.holder}."
        for _ in running:
            pass
    found = summary(url)
    assert not found.trained and found.totals == [6, 3] and len(found.trials) == 1
    assert status_line(url, found) == f"Unfinished and not running. Resume with: hpsearch resume {database}"
    done = cases.run(SPEC, dataset, database)
    found = summary(url)
    assert found.trained and status_line(url, found) is None
    assert found.champion == done.best and "test/loss" in found.champion.metrics and found.ranking[0] == done.best
    assert [len(rows) for rows in found.trials] == [6, 3] and len(found.rows) == 9
    assert (found.trials, found.boxes, found.totals) == (done.trials, done.boxes, done.totals)


def test_restored(tmp_path: Path) -> None:
    """The spec survives; an empty database holds no study."""
    dataset, url = prepare(SPEC.data, SPEC.seed, tmp_path)[0], url_of(str(tmp_path / "small.db"))
    StudyDatabase.open(url, create=True).close()
    with pytest.raises(StorageError, match="no study"):
        read(url, restore_study)
    with cases.opened(SPEC, dataset, tmp_path / "small.db"):
        pass
    stored, spec = read(url, restore_study)
    assert spec == SPEC and stored.name == "small" and stored.fingerprint == dataset.fingerprint
