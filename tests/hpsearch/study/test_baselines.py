"""Baselines of a study: fitted once, whatever happens to the process that fits them."""

import time
from pathlib import Path
from typing import Any

import cases
import pytest
from fault_cases import baselines_at_once, baselines_too_slow

from hpsearch.errors import Interrupted
from hpsearch.storage.records import Baseline
from hpsearch.storage.sqlite_file import url_of
from hpsearch.study import baselines
from hpsearch.study.session import Options, Session
from hpsearch.study.summary import summary
from hpsearch.training.baselines import BASELINES, fit_baseline

CHANGES: dict[str, Any] = {"train.epochs": 1, "stages": [{"name": "a", "trials": 2}], "baselines": True}
INLINE = Options(None, "none", executor="inline")


def run(database: Path, options: Options = INLINE, **changes: Any) -> tuple[list[str], dict[str, Baseline]]:
    """Run the study; return its notes and its baselines."""
    notes: list[str] = []
    with Session(cases.small(**{**CHANGES, **changes}), url_of(str(database)), options) as session:
        for progress in session.run():
            notes += progress.notes
        said = session.summary().baselines
    found = summary(url_of(str(database))).baselines
    assert said == found
    return notes, {baseline.name: baseline for baseline in found}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Baseline]]:
    database = tmp_path_factory.mktemp("fitted") / "small.db"
    return database, run(database)[1]


def test_all_are_stored_once(
    fitted: tuple[Path, dict[str, Baseline]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a child process are those of this one, to the bit, and no process is started when all are stored."""
    database, found = fitted
    assert list(found) == list(BASELINES) and all(b.error is None for b in found.values())
    real, results = baselines.missing_baselines, []

    def missing(context: Any, champion: Any) -> Any:
        assert real(context, champion) == []
        monkeypatch.setattr(context.storage.baselines, "load", dict)
        results.extend(map(fit_baseline, real(context, champion)))
        monkeypatch.undo()
        return []

    monkeypatch.setattr("hpsearch.study.session.missing_baselines", missing)
    again = tmp_path / "small.db"
    again.write_bytes(database.read_bytes())
    assert run(again)[1] == found
    assert [(r.name, r.scores, r.rows) for r in results] == [(b.name, b.scores, b.rows) for b in found.values()]


def test_without_the_key_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARK", str(tmp_path))  # exists
    monkeypatch.setattr(baselines, "send_baselines", baselines_at_once)
    assert run(tmp_path / "small.db", baselines=False) == ([], {})
    assert cases.small().baselines is False
    assert list(run(tmp_path / "small.db", stages=[{"name": "a", "trials": 3}])[1]) == list(BASELINES), (
        "asked for later"
    )


def test_a_process_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs one baseline, which --retry-failed fits again."""
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    monkeypatch.setattr(baselines, "send_baselines", baselines_at_once)
    database = tmp_path / "small.db"
    found = run(database)[1]
    assert [(b.name, b.error) for b in found.values()] == [
        ("constant", None),
        ("linear", "its process ended, as when memory runs out"),
        ("boosting", None),
    ]
    assert run(database)[1] == found, "a reason is a result"
    again = run(database, INLINE._replace(retry_failed=True))[1]
    assert again["linear"].error is None
    assert {**again, "linear": None} == {**found, "linear": None}


def test_one_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "send_baselines", baselines_too_slow)
    monkeypatch.setattr(baselines, "FIT_SECONDS", 0.0)
    errors = {b.error for b in run(tmp_path / "small.db")[1].values()}
    assert errors == {"it took longer than 0 s"}


def test_a_process_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(baselines, "starting_children", refuse)
    errors = {b.error for b in run(tmp_path / "small.db")[1].values()}
    assert errors == {"its process cannot be started: BlockingIOError: [Errno 11] Resource temporarily unavailable"}


def test_a_study_that_is_stopped_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the second is fitted ends the process at once; the first is not fitted again."""
    database, stopped = tmp_path / "small.db", False
    monkeypatch.setattr(baselines, "send_baselines", baselines_too_slow)
    real = baselines._next_result

    def next_result(context: Any, results: Any) -> Any:
        nonlocal stopped
        stopped = bool(context.storage.baselines.load())
        return real(context, results)

    monkeypatch.setattr(baselines, "_next_result", next_result)
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        run(database, INLINE._replace(stop=lambda: stopped))
    assert time.monotonic() - begun < 30
    first = summary(url_of(str(database))).baselines
    assert [b.name for b in first] == ["constant"]
    monkeypatch.undo()
    monkeypatch.setenv("MARK", str(tmp_path))
    monkeypatch.setattr(baselines, "send_baselines", baselines_at_once)
    found = run(database)[1]
    assert list(found) == list(BASELINES) and found["constant"] == first[0]


def test_the_champion_s_preprocessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Baselines of another preprocessing than the champion's are fitted again."""
    monkeypatch.setenv("MARK", str(tmp_path))  # exists
    monkeypatch.setattr(baselines, "send_baselines", baselines_at_once)
    ways = {"data.scale": "scaling", "parameters.scaling": {"values": ["standard", "minmax", "none"]}}
    database = tmp_path / "small.db"
    found = run(database, **ways)[1]
    champion = summary(url_of(str(database))).champion
    assert champion is not None
    number = ["standard", "minmax", "none"].index(str(champion.point["scaling"]))
    assert {b.variant for b in found.values()} == {number}
    other = found["linear"]._replace(variant=(number + 1) % 3, rows=99)
    with Session(cases.small(**CHANGES, **ways), url_of(str(database)), INLINE) as session:
        session._storage.baselines.save(other)
    again = run(database, **ways)[1]
    assert again["linear"].variant == number and again["linear"].rows == 5
    assert again["boosting"] == found["boosting"]


def test_a_part_of_the_rows_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARK", str(tmp_path))
    monkeypatch.setattr(baselines, "send_baselines", baselines_at_once)
    monkeypatch.setattr("hpsearch.training.baselines.MAX_FITTED_CELLS", 4 * 30)
    monkeypatch.setattr("hpsearch.training.baselines.MIN_FITTED_ROWS", 30)
    notes = run(tmp_path / "small.db")[0]
    assert notes == [
        f"baseline {name}: fitted to 30 of 90 training rows, to limit the time" for name in ("linear", "boosting")
    ]
