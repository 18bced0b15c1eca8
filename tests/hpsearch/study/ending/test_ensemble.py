"""The ensemble of a study: selected when it ends, whatever was trained before, scored once on the test rows."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from fault_cases import StudyCase
from fold_cases import VALUES, WAYS, prepared

from engine.metrics import METRICS
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.errors import Interrupted
from hpsearch.storage.records import StoredEnsemble, TrialKey
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.study.ending import ensemble as step
from hpsearch.training.scores import part_outputs

FEW: dict[str, Any] = {
    "train.epochs": 3,
    "stages": [{"name": "coarse", "trials": 8, "sampler": "random"}],
    "ensemble": {"size": 3},
}


def stored(database: Path) -> tuple[StoredEnsemble | None, dict[TrialKey, bytes]]:
    """Return the stored ensemble and weights."""
    storage = StudyDatabase.open(url_of(str(database)), create=False)
    try:
        return storage.ensemble.find(), {key: found.weights for key, found in storage.weights.load().items()}
    finally:
        storage.close()


def ran(spec: Spec, dataset: Dataset, database: Path) -> tuple[StoredEnsemble, dict[TrialKey, bytes]]:
    cases.run(spec, dataset, database)
    ensemble, weights = stored(database)
    assert ensemble is not None
    return ensemble, weights


@pytest.mark.parametrize("changes", [WAYS, VALUES, {"metric": {"name": "val/f1"}}], ids=["folds", "values", "f1"])
def test_scores(changes: dict[str, Any], tmp_path: Path) -> None:
    """They are those of the members' mean; each member has its own preprocessing and network, each fold its rows."""
    spec = cases.small(**FEW, **changes, seed=8)
    dataset, _ = prepared(spec, tmp_path)
    ensemble, weights = ran(spec, dataset, tmp_path / "small.db")
    study = cases.run(spec, dataset, tmp_path / "small.db")
    points = {t.key: t.point for t in study.trials[0]}
    counts = list(ensemble.members.values())
    assert len(points) == len(ensemble.candidates) == 8 and sum(counts) <= 3
    if "parameters.scaling" in changes:
        assert len({points[key]["scaling"] for key in ensemble.members}) > 1, "members of one way to prepare rows"

    for part in ("val", "test"):
        each = [part_outputs(spec, dataset, points[key], weights[key], part) for key in ensemble.members]
        mean, rows = np.average(each, axis=0, weights=counts), dataset.part(part)
        assert rows is not None
        truth = rows.y.reshape(dataset.folds, len(rows), -1)
        if part == "test":
            mean, truth = mean.mean(axis=0, keepdims=True), truth[:1]
        name = "rmse" if not dataset.classes else "f1" if spec.metric.of == "f1" else "log_loss"
        if dataset.classes:
            expected = np.mean([METRICS[name]().of(p, y) for p, y in zip(mean, truth, strict=True)])
        else:
            values = truth * np.array([[[u]] for _, u in dataset.units[: len(truth)]])
            values += np.array([[[c]] for c, _ in dataset.units[: len(truth)]])
            expected = np.mean(np.sqrt(np.square(mean - values).mean(axis=(1, 2))))
        assert ensemble.scores[f"{part}/{name}"] == pytest.approx(expected, rel=1e-5)
    assert study.best is not None and next(iter(ensemble.members)) == study.best.key
    for name, value in ensemble.single.items():
        assert value == pytest.approx(study.best.metrics.get(name, value), rel=1e-4), name
    sign, name = spec.metric.sign, str(spec.metric.name)
    assert sign * ensemble.scores[name] <= sign * ensemble.single[name] + 1e-9


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Dataset, StoredEnsemble, dict[TrialKey, bytes]]:
    folder = tmp_path_factory.mktemp("few")
    spec = cases.small(**FEW)
    dataset, _ = prepared(spec, folder)
    return spec, dataset, *ran(spec, dataset, folder / "small.db")


Few = tuple[Spec, Dataset, StoredEnsemble, dict[TrialKey, bytes]]


def test_asked_for_later(few: Few, tmp_path: Path) -> None:
    """Weights that were not kept are trained again, and equal those that would have been."""
    spec, dataset, expected, weights = few
    cases.run(spec.model_copy(update={"ensemble": None}), dataset, tmp_path / "small.db")
    before, kept = stored(tmp_path / "small.db")
    assert before is None and len(kept) == 1
    assert ran(spec, dataset, tmp_path / "small.db") == (expected, weights)


def test_an_ended_study_is_not_scored_again(few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another size is selected anew, from weights of candidates that are new; none leaves no ensemble behind."""
    spec, dataset, expected, _ = few
    ran(spec, dataset, tmp_path / "small.db")
    with monkeypatch.context() as patched:
        patched.setattr(step, "part_outputs", lambda *_: pytest.fail("scored again"))
        assert ran(spec, dataset, tmp_path / "small.db")[0] == expected
    larger = spec.model_copy(update={"ensemble": spec.ensemble and spec.ensemble.model_copy(update={"size": 4})})
    assert ran(larger, dataset, tmp_path / "small.db")[0].size == 4
    cases.run(spec.model_copy(update={"ensemble": None}), dataset, tmp_path / "small.db")
    assert stored(tmp_path / "small.db")[0] is None


def test_stopped_during_the_step(few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each prediction and each training of the step; the next session ends it with the same result."""
    spec, dataset, expected, weights = few
    database, asked = tmp_path / "small.db", [0]
    cases.run(spec.model_copy(update={"ensemble": None}), dataset, database)
    original = step.part_outputs
    for stop in (1, 5, 9):
        asked[0] = 0

        def counted(*arguments: Any, stop: int = stop, **options: Any) -> Any:
            asked[0] += 1
            if asked[0] == stop:
                raise Interrupted
            return original(*arguments, **options)

        monkeypatch.setattr(step, "part_outputs", counted)
        with pytest.raises(Interrupted):
            cases.run(spec, dataset, database)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("DELETE FROM hpsearch_champion WHERE number = ?", (asked[0] % 3,))
            connection.execute("UPDATE hpsearch_champion SET weights = x'00' WHERE number = 4")
            connection.commit()
        assert stored(database)[0] is None
    monkeypatch.undo()
    assert ran(spec, dataset, database) == (expected, weights)


def test_only_members_that_can_be_trained_again(few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, dataset, expected, _ = few
    lost = expected.candidates[1]
    cases.run(spec.model_copy(update={"ensemble": None}), dataset, tmp_path / "small.db")
    original = step.retrained
    monkeypatch.setattr(step, "retrained", lambda c, s, trials: original(c, s, [t for t in trials if t.key != lost]))
    found, weights = ran(spec, dataset, tmp_path / "small.db")
    assert found.candidates == expected.candidates and lost not in weights and lost not in found.members


def test_too_few_trials(few: Few, tmp_path: Path) -> None:
    """All but one are pruned or have diverged: a note says so, and the study ends."""
    spec, dataset, *_ = few
    with cases.opened(spec, dataset, tmp_path / "small.db") as study:
        for _ in study.run():
            pass
    with closing(sqlite3.connect(tmp_path / "small.db")) as connection:
        connection.execute("UPDATE hpsearch_trial SET state = 'diverged', value = NULL WHERE number > 0")
        connection.commit()
    with cases.opened(spec, dataset, tmp_path / "small.db") as study:
        notes = [note for progress in study.run() for note in progress.notes]
    assert notes == ["no ensemble: it is selected from two or more complete trials, got 1"]
    assert stored(tmp_path / "small.db")[0] is None


def test_the_champion_is_a_candidate(full: StudyCase, tmp_path: Path) -> None:
    """Also when other trials have better values than the winner of the confirming stage."""
    spec = full.spec.model_copy(update={"ensemble": cases.small(ensemble={"size": 2}).ensemble})
    study = cases.run(spec, full.dataset, tmp_path / "small.db")
    ensemble, weights = stored(tmp_path / "small.db")
    assert ensemble is not None and study.best is not None and study.best.stage == "confirm"
    assert study.best.key in ensemble.candidates and set(ensemble.candidates) <= weights.keys()
    assert {key[0] for key in ensemble.candidates} == {"coarse", "fine", "confirm"} or len(ensemble.candidates) >= 8
