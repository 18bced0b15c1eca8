"""The table of trials: what is stored comes back, checkpoints come and go with results, damage is named."""

import sqlite3
from contextlib import closing
from pathlib import Path

import cases
import pytest

from hpsearch.errors import StorageError
from hpsearch.storage.records import with_result
from hpsearch.storage.study_db import StudyDatabase
from hpsearch.storage.trials import unreadable_result
from hpsearch.training.task import TrialResult
from tests.hpsearch.storage.conftest import SPACE, trial
from tests.hpsearch.test_cli import Call, call, refused  # noqa: F401

HISTORY = {"train/loss": [3.0, 1.0], "val/loss": [3.5, 2.5]}
RESULT = TrialResult(1, "complete", 2.5, 2, 2, HISTORY, 0.25, weights=b"best", machine="BLAS is a, here b")
RUNNING = TrialResult(0, "running", None, 1, 0, {"val/loss": [3.0]}, 0.125, b"checkpoint", machine="BLAS is a, here b")


def change(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute(statement).rowcount > 0
        connection.commit()


def test_stored_trials_are_loaded_unchanged(database: StudyDatabase) -> None:
    copied = with_result(trial(2), RESULT._replace(number=2, weights=None), 7.0)._replace(copied_from="old:coarse/1")
    new = [trial(0), trial(1, 0.25)._replace(box={"x": (0.1, 1 / 3)}), copied]
    database.trials.add(new)
    assert database.trials.load("coarse", SPACE) == new
    assert database.trials.load("coarse", SPACE, 2) == new[2:]
    assert database.trials.load("fine", SPACE) == [] and database.trials.count("fine") == 0
    assert database.trials.count("coarse") == 3
    assert database.trials.states() == {("coarse", "running"): 2, ("coarse", "complete"): 1}
    assert database.trials.numbers("coarse", "running") == [0, 1]


def test_results_replace_checkpoints(database: StudyDatabase) -> None:
    database.stages.begin("coarse", {"x": (0.0, 1.0)})
    database.trials.add([trial(0), trial(1)])
    database.trials.save("coarse", [RUNNING, RUNNING._replace(number=1)], seconds=1.5)
    assert database.trials.checkpoints("coarse") == {0: RUNNING, 1: RUNNING._replace(number=1)}
    assert database.trials.progress("coarse")[0] == RUNNING._replace(checkpoint=None)
    finished = database.trials.save("coarse", [RESULT], keep=[RESULT], seconds=1.0)
    assert database.trials.load("coarse", SPACE) == [trial(0), with_result(trial(1), RESULT, finished)]
    assert list(database.trials.checkpoints("coarse")) == [0]
    assert database.stages.load()["coarse"].seconds == 2.5
    assert {key: stored.weights for key, stored in database.weights.load().items()} == {("coarse", 1): b"best"}
    database.trials.save("coarse", [RESULT._replace(number=0)], drop=[("coarse", 1)])
    assert database.weights.load() == {}


def test_trials_are_added_all_or_none(database: StudyDatabase) -> None:
    database.trials.add([trial(1)])
    with pytest.raises(StorageError):
        database.trials.add([trial(0), trial(1)])
    assert database.trials.numbers("coarse", "running") == [1]


def test_curves_that_cannot_be_read_leave_an_empty_checkpoint(database: StudyDatabase, file: Path) -> None:
    database.trials.add([trial(0)])
    database.trials.save("coarse", [RUNNING])
    change(file, "UPDATE hpsearch_checkpoint SET history = x'00'")
    assert database.trials.checkpoints("coarse")[0].checkpoint == b""


def test_a_cell_that_cannot_be_read_leaves_an_empty_checkpoint(database: StudyDatabase, file: Path) -> None:
    database.trials.add([trial(0)])
    database.trials.save("coarse", [RUNNING])
    change(file, "UPDATE hpsearch_checkpoint SET epochs = 'two'")
    empty = {0: unreadable_result(0)}
    assert database.trials.checkpoints("coarse") == database.trials.progress("coarse") == empty
    assert database.trials.checkpoint("coarse", 0) == empty[0]


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("UPDATE hpsearch_trial SET history = x'00ff' WHERE number = 1", 1),
        ("UPDATE hpsearch_trial SET internal_params = '{' WHERE number = 1", 1),
        ("UPDATE hpsearch_trial SET internal_params = '[1]' WHERE number = 0", 0),
    ],
)
def test_a_damaged_trial_is_named(database: StudyDatabase, file: Path, statement: str, number: int) -> None:
    database.trials.add([trial(0), with_result(trial(1), RESULT, 7.0)])
    assert database.trials.damaged() == []
    change(file, statement)
    assert database.trials.damaged() == [("coarse", number)]
    with pytest.raises(StorageError, match=f"trial coarse/{number} is damaged"):
        database.trials.load("coarse", SPACE)


def test_a_missing_trial_is_damage(database: StudyDatabase, file: Path) -> None:
    """The trials after it would get other numbers, and so other seeds."""
    database.trials.add([trial(0), trial(1), trial(2)])
    change(file, "DELETE FROM hpsearch_trial WHERE number = 1")
    with pytest.raises(StorageError, match="trial coarse/1 is damaged"):
        database.trials.load("coarse", SPACE)


IMPOSSIBLE = {
    "an empty box": "UPDATE hpsearch_stage SET box = '{}' WHERE stage = 'fine'",
    "a box of words": """UPDATE hpsearch_stage SET box = json_set(box, '$.learning_rate', json('["a", "b"]'))""",
    "a box from high to low": "UPDATE hpsearch_stage SET box = json_set(box, '$.learning_rate', json('[2, 1]'))",
    "a box beyond the values": "UPDATE hpsearch_stage SET box = json_set(box, '$.batch_size_index', json('[0, 9]'))",
    "beyond the values": "UPDATE hpsearch_trial "
    "SET internal_params = json_set(internal_params, '$.batch_size_index', 9) WHERE number = 1",
    "before the values": "UPDATE hpsearch_trial "
    "SET internal_params = json_set(internal_params, '$.batch_size_index', -1) WHERE number = 1",
    "a text": "UPDATE hpsearch_trial "
    "SET internal_params = json_set(internal_params, '$.learning_rate', '0.5') WHERE number = 1",
}


def test_a_box_or_point_outside_the_space(call: Call, tmp_path: Path) -> None:  # noqa: F811
    """Every command that reads the study gives one message."""
    study = cases.write(tmp_path, **{"train.epochs": 1, "stages.0.trials": 2, "stages.1.trials": 1})
    file = tmp_path / "small.db"
    assert call("run", study, "--tracking-uri", "none").code == 0
    whole = file.read_bytes()
    for name, damage in IMPOSSIBLE.items():
        file.write_bytes(whole)
        change(file, damage)
        what = "the box of a stage" if "box" in name else "trial coarse/1"
        for command in (["show"], ["show", "--json"], ["report"], ["resume", "--tracking-uri", "none"]):
            refused(call(*command, file), f"{file}: {what} is damaged")


def test_one_checkpoint(database: StudyDatabase) -> None:
    """Read alone, with its state; one whose curves are damaged is empty."""
    database.trials.add([trial(0), trial(1)])
    database.trials.save("coarse", [RUNNING])
    assert database.trials.checkpoint("coarse", 0) == RUNNING
    assert database.trials.checkpoint("coarse", 1) is None


@pytest.mark.parametrize("box", ["[]", "{}", '{"x": 1}', '{"x": [1, 0]}', '{"x": [0, 1', '{"x": ["a", "b"]}'])
def test_damaged_box(database: StudyDatabase, box: str) -> None:
    """It is named, like any other damage of a trial."""
    import sqlalchemy as sa

    database.trials.add([trial(0)])
    update = sa.text("UPDATE hpsearch_trial SET box = :box")
    database.lease.write(lambda transaction: transaction.connection.execute(update, {"box": box}))
    with pytest.raises(StorageError, match="coarse/0"):
        database.trials.load("coarse", SPACE)
