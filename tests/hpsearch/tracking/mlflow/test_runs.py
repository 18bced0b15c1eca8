"""The runs agree with the trials, after any interruption."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hpsearch.storage.records import Trial
from hpsearch.tracking.mlflow.tags import STATE_TAG, TRIAL_TAG
from hpsearch.tracking.mlflow.tracker import MlflowTracker
from tests.hpsearch.tracking.mlflow.mlflow_cases import STATES, STUDY, run_of, runs, trial, upload, versions

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]


def test_status_and_state(place: Path) -> None:
    upload(place, STATES, [STATES[0], STATES[4]])
    want = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
    for t in STATES:
        run = run_of(place, t.label)
        assert (run.info.status, run.data.tags["hpsearch.state"]) == (want[t.state], t.state)
        assert {"objective", "best_epoch"} & set(run.data.metrics) == (
            {"objective", "best_epoch"} if t.state == "complete" else set()
        )
        assert run.data.tags.get("hpsearch.copied_from") == t.copied_from
    assert run_of(place, "coarse/1").data.metrics["val/loss"] == 1.75  # the curve of a pruned trial


class Killed(BaseException):
    """Ends the tracker like a kill."""


class DyingClient:
    """A client that raises `Killed` at its n-th change, before or after it is made."""

    def __init__(self, client: Any, limit: int, after: bool) -> None:
        self._client, self._limit, self._after, self._count = client, limit, after, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        changes = name.startswith(("create", "log", "set", "delete"))
        if not changes or (self._after and name == "set_experiment_tag"):
            return method  # after a tag of the experiment is before the next change

        def call(*arguments: Any, **named: Any) -> Any:
            self._count += 1
            if self._count == self._limit and not self._after:
                raise Killed
            answer = method(*arguments, **named)
            if self._count == self._limit:
                raise Killed
            return answer

        return call


@pytest.mark.crash
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_change(fresh: Path, tmp_path: Path, models: list[Path], after: bool) -> None:
    """A second upload makes the runs those of a tracker that was never killed; the champion is registered once."""
    trials, ranking, model = STATES[:2], [STATES[0]], models[0]
    (tmp_path / "whole").mkdir()
    whole = Path(shutil.copy(fresh, tmp_path / "whole" / "mlflow.db"))
    upload(whole, trials, ranking, model)
    limit, killed = 1, True
    while killed:
        (tmp_path / str(limit)).mkdir()
        place = Path(shutil.copy(fresh, tmp_path / str(limit) / "mlflow.db"))
        tracker = MlflowTracker(f"sqlite:///{place}")
        tracker._client = DyingClient(tracker._client, limit, after)
        try:
            tracker.start_study(STUDY)
            for t in trials:
                tracker.log_trial(t)
            tracker.finish_study(ranking, model)
            killed = False
        except Killed:
            again = upload(place, trials, ranking, model)
            assert sum(again.counts) == 2
        assert runs(place) == runs(whole), limit
        assert versions(place) == [("small", 1, "coarse/0", "champion")], limit
        limit += 1
    assert limit > 13


def test_trained_again(place: Path, tmp_path: Path, fresh: Path) -> None:
    """Nothing of an earlier outcome remains, whether its state is another one or the same."""
    outcomes = [
        trial(3, "failed"),
        trial(3, "pruned", 1e9 + 50),
        trial(3, "pruned", 1e9 + 60),
        trial(3, "complete"),
    ]
    for outcome in outcomes:
        assert upload(place, [STATES[0], outcome]).counts.uploaded == (2 if outcome is outcomes[0] else 1)
        with closing(sqlite3.connect(place)) as connection:
            assert connection.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone() == (0,)
        assert runs(place)["coarse/3"][2:] == expected(tmp_path, fresh, outcome)


def expected(tmp_path: Path, fresh: Path, t: Trial) -> Any:
    """Return the run of a trial that was uploaded once."""
    folder = tmp_path / f"{t.state}-{t.finished}"
    folder.mkdir()
    place = Path(shutil.copy(fresh, folder / "mlflow.db"))
    upload(place, [t])
    return runs(place)[t.label][2:]


def test_two_runs_of_one_trial(place: Path) -> None:
    """The complete run stays, whether it was created first or second."""
    upload(place, STATES)
    want = runs(place)
    tracker = MlflowTracker(f"sqlite:///{place}")
    tracker.start_study(STUDY)
    half = tracker._client.create_run(tracker._experiment.id, 999_999_998_500, {TRIAL_TAG: "coarse/0"}, "coarse/0")
    whole = tracker._client.create_run(
        tracker._experiment.id, 5, {TRIAL_TAG: "coarse/1", STATE_TAG: "pruned"}, "coarse/1"
    )
    tracker._client.set_terminated(whole.info.run_id, "KILLED", 6)
    assert half.info.status == "RUNNING"
    with pytest.raises(AssertionError, match="twice"):
        runs(place)
    assert upload(place, STATES).counts.unchanged == len(STATES)
    assert runs(place) == want


def test_an_older_copy_of_the_study(place: Path) -> None:
    """Unfinished runs of trials that it does not have as finished are closed; finished runs stay."""
    upload(place, STATES)
    tracker = MlflowTracker(f"sqlite:///{place}")
    tracker.start_study(STUDY)
    tracker._client.create_run(tracker._experiment.id, 5, {TRIAL_TAG: "coarse/9", STATE_TAG: "pruned"}, "coarse/9")
    before = runs(place)
    assert upload(place, STATES[:1]).counts.closed == 1
    assert "does not know" in run_of(place, "coarse/9").data.tags["hpsearch.orphan"]
    assert run_of(place, "coarse/9").info.status == "KILLED"
    after = runs(place)
    del before["coarse/9"], after["coarse/9"]
    assert after == before
    upload(place, [trial(9, "pruned", 0.005, seconds=0.0)])  # the trial is finished now
    assert (
        "hpsearch.orphan" not in run_of(place, "coarse/9").data.tags
        and "val/loss" in run_of(place, "coarse/9").data.metrics
    )


def test_another_champion(place: Path) -> None:
    """The run of the earlier champion loses its test scores."""
    first = STATES[0]._replace(metrics={"val/loss": 1.5, "test/loss": 3.0})
    upload(place, STATES, [first, STATES[4]])
    upload(place, STATES, [STATES[4]._replace(metrics={"val/loss": 1.0, "test/loss": 2.0}), STATES[0]])
    old, new = run_of(place, "coarse/0").data, run_of(place, "coarse/4").data
    assert "test/loss" not in old.metrics and "hpsearch.champion" not in old.tags and old.metrics["objective"] == 1.5
    assert new.metrics["test/loss"] == 2.0 and new.tags["hpsearch.champion"] == "true"


def test_another_state_at_the_same_time(place: Path) -> None:
    for state in ("diverged", "complete"):
        upload(place, [trial(5, state, metrics={"val/loss": 1.5, "test/loss": 3.0})])
        run = run_of(place, "coarse/5")
        assert run.data.tags["hpsearch.state"] == state and "best/test/loss" not in run.data.metrics
