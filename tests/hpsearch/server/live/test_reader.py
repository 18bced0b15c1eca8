"""The reader knows what a summary knows, however it comes to know it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import pytest

import hpsearch
from hpsearch.config.spec import Spec
from hpsearch.server.live import reader as module
from hpsearch.server.live.reader import StudyReader, with_curves
from hpsearch.storage.records import FINISHED, Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.study.summary import summary

STUDY: dict[str, Any] = {
    "train": {"optimizer": "momentum", "epochs": 4, "early_stopping": None},
    "stages": [{"name": "coarse", "trials": 6}, {"name": "confirm", "top": 2, "seeds": 2}],
    "pruning": "none",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("study")
    hpsearch.run(cases.write(folder, **STUDY), storage=folder / "study.db", tracking_uri="none")
    yield folder / "study.db"


def curve(spec: Spec, trial: Trial) -> bytes:
    return repr(trial.history[spec.metric.monitored]).encode()


def change(file: Path, number: int, values: str) -> None:
    """Change a trial of the stage coarse."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE hpsearch_trial SET {values} WHERE stage = 'coarse' AND number = ?", (number,))


def check(reader: StudyReader, url: str) -> None:
    """Compare what a reader has read with a summary."""
    known, study = summary(url), reader.study
    assert study is not None
    every = {t.key: t for trials in known.trials for t in trials if t.state in FINISHED}
    assert {key: t.value for key, t in reader.trials.items()} == {key: t.value for key, t in every.items()}
    assert [s.planned for s in study.stages] == known.totals
    assert [s.box for s in study.stages if s.begun] == known.boxes
    assert study.champion == (known.champion and known.champion._replace(history={}))
    for stage, trials in zip(study.stages, known.trials, strict=True):
        assert sum(stage.states.values()) == len(trials)


@pytest.mark.parametrize("page", [1, 4, 200])
def test_the_first_look(file: Path, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All trials are read in pages, and returned in the order in which they finished."""
    monkeypatch.setattr(module, "_PAGE", page)
    reader, url = StudyReader(url_of(str(file)), curve), url_of(str(file))
    told = reader.poll()
    assert told is not None and reader.poll() is None
    check(reader, url)
    assert [t.finished for t, _ in told] == sorted(t.finished for t, _ in told) and len(told) == 10
    full = {t.key: t for trials in summary(url).trials for t in trials}
    assert all(text == curve(reader.study.spec, full[t.key]) and t.history == {} for t, text in told)  # type: ignore[union-attr]
    light = [t for t, _ in told]
    assert [t.history for t in with_curves(url, reader.study.space, light[2:])] == [
        full[t.key].history for t in light[2:]
    ]  # type: ignore[union-attr]


def test_trials_that_finish_later(file: Path, tmp_path: Path) -> None:
    """Only new ones are returned; one that is trained again is returned again, even if the clock was set back."""
    copy = tmp_path / "study.db"
    copy.write_bytes(file.read_bytes())
    reader, url = StudyReader(url_of(str(copy)), curve), url_of(str(copy))
    for number in (1, 4):
        change(copy, number, "state = 'running'")
    assert len(reader.poll() or []) == 8
    change(copy, 4, "state = 'complete'")
    assert [t.key for t, _ in reader.poll() or []] == [("coarse", 4)] and reader.poll() is None
    check(reader, url)
    change(copy, 1, "state = 'complete', finished = finished + 900")
    assert [t.key for t, _ in reader.poll() or []] == [("coarse", 1)]
    change(copy, 2, "state = 'running'")
    assert reader.poll() == [] and len(reader.trials) == 9
    change(copy, 2, "state = 'failed', value = NULL, finished = finished + 5")
    assert [(t.key, t.state) for t, _ in reader.poll() or []] == [(("coarse", 2), "failed")]
    check(reader, url)
