"""The study, its stages and the weights of its best trials."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hpsearch.errors import StorageError
from hpsearch.storage.records import PRIOR, Baseline, StoredEnsemble, StoredStage, StoredWeights, with_result
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.training.task import TrialResult
from tests.hpsearch.storage.conftest import SPACE, trial


def test_the_study(file: Path) -> None:
    database = StudyDatabase.open(url_of(str(file)), create=True)
    assert database.study.find() is None
    with pytest.raises(StorageError, match=r"holds no study yet; start one with: hpsearch run STUDY\.yaml"):
        database.study.load()
    result = TrialResult(0, "pruned", 0.5, 1, 1, {"val/loss": [0.5]})
    prior = with_result(trial(0, stage=PRIOR), result, 7.0)._replace(copied_from="old:coarse/0")
    stored = database.begin("small", {"seed": 5}, "fingerprint", "test", [prior], "old")
    assert database.study.load() == stored and stored.forked == "old" and stored.spec == {"seed": 5}
    assert database.trials.load(PRIOR, SPACE) == [prior]
    database.close()


def test_a_changed_spec_has_a_new_hash(database: StudyDatabase, file: Path) -> None:
    before = database.study.load()
    database.study.change_spec({"seed": 6})
    after = database.study.load()
    assert after.spec == {"seed": 6} and after.hash != before.hash and after.identity == before.identity
    assert database.study.is_unchanged()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE hpsearch_study SET spec = '{}'")
        connection.commit()
    assert not database.study.is_unchanged()


def test_prepared_data_are_replaced_as_a_whole(database: StudyDatabase) -> None:
    database.study.save_prepared([b"a", b"b", b"c"])
    database.study.save_prepared([b"d", b"e"])
    assert database.study.prepared() == [b"d", b"e"]


def test_stages(database: StudyDatabase) -> None:
    box = {"x": (0.25, 0.5)}
    assert database.stages.begin("coarse", box) == StoredStage("coarse", box, 0.0, None)
    database.stages.end("coarse", 12, 1.5)
    assert database.stages.load(SPACE.axes) == {"coarse": StoredStage("coarse", box, 1.5, 12)}
    database.stages.end("coarse", None)
    assert database.stages.load()["coarse"].ended is None


def test_a_box_of_other_axes_is_damage(database: StudyDatabase) -> None:
    database.stages.begin("coarse", {"y": (0.0, 1.0)})
    assert list(database.stages.load()) == ["coarse"]
    with pytest.raises(StorageError, match="the box of a stage is damaged"):
        database.stages.load(SPACE.axes)


def test_only_the_champion_has_test_scores(database: StudyDatabase) -> None:
    first = StoredWeights("coarse", 0, b"first", {"test/loss": 0.5})
    second = StoredWeights("coarse", 1, b"second", {"test/loss": 0.25})
    database.weights.save_champion(first)
    database.weights.save_diagnostics(trial(0), b"diagnostics")
    assert database.weights.find(trial(0)) == first._replace(diagnostics=b"diagnostics")
    database.weights.save_champion(second)
    assert database.weights.find(trial(0)) == first._replace(test=None)
    assert database.weights.find(trial(1)) == second and database.weights.tested() == 1
    assert database.weights.find(trial(2)) is None and database.weights.find(None) is None


def test_baselines(database: StudyDatabase, file: Path) -> None:
    """One of each name; those without a model can be deleted, to be fitted again; damaged cells are named."""
    linear = Baseline("linear", 1, 50, {"val/loss": 0.25}, None, 0.5, 7.0)
    boosting = Baseline("boosting", 0, 0, {}, "ValueError: it\nbroke", 0.25, 8.0)
    for baseline in (linear._replace(rows=7), boosting, linear):
        database.baselines.save(baseline)
    assert database.baselines.load() == {"linear": linear, "boosting": boosting}
    assert database.baselines.delete_failed() == 1
    assert database.baselines.load() == {"linear": linear}
    for scores in ("[1]", '{"val/loss": "a"}', '{"val/loss": NaN}', "{", b"{}"):
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("UPDATE hpsearch_baseline SET scores = ?", (scores,))
            connection.commit()
        with pytest.raises(StorageError, match="damaged"):
            database.baselines.load()


def test_weights_of_more_trials(database: StudyDatabase) -> None:
    first, second = StoredWeights("coarse", 0, b"first", None), StoredWeights("fine", 0, b"second", None)
    database.weights.add(first)
    database.weights.add(second)
    assert database.weights.keys() == {("coarse", 0), ("fine", 0)}
    assert database.weights.find(trial(0)) == first and set(database.weights.load()) == database.weights.keys()


ENSEMBLE = StoredEnsemble(
    3, (("coarse", 4), ("fine", 0)), {("fine", 0): 2, ("coarse", 4): 1}, {"val/loss": 0.25}, {"val/loss": 0.5}
)


def test_the_ensemble(database: StudyDatabase) -> None:
    assert database.ensemble.find() is None
    database.ensemble.save(ENSEMBLE._replace(size=7))
    database.ensemble.save(ENSEMBLE)
    found = database.ensemble.find()
    assert found is not None and found == ENSEMBLE and list(found.members) == [("fine", 0), ("coarse", 4)]
    database.ensemble.save(None)
    assert database.ensemble.find() is None


@pytest.mark.parametrize(
    "change",
    [("3", "0"), ("[]", "[[]]"), ("2]", "0]"), ('"fine"', "5"), ("0.25", "NaN"), ("0.25", "true"), ('"size"', '"x"')],
)
def test_a_damaged_ensemble(database: StudyDatabase, file: Path, change: tuple[str, str]) -> None:
    database.ensemble.save(ENSEMBLE._replace(candidates=()))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE hpsearch_ensemble SET ensemble = replace(ensemble, ?, ?)", change)
        connection.commit()
    with pytest.raises(StorageError, match="its ensemble is damaged"):
        database.ensemble.find()
