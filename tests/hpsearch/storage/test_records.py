"""Trials as the program sees them: results, repeated points, ranks."""

from hpsearch.storage.records import best_of, checked_every, ranked, repeats, with_result
from hpsearch.training.task import TrialResult
from tests.hpsearch.storage.conftest import trial

HISTORY = {"train/loss": [3.0, 1.0, 0.5], "val/loss": [3.5, 2.5, 2.75]}


def test_a_result_gives_the_metrics_of_its_best_epoch() -> None:
    """Two epochs between two checks: the second check is epoch 4."""
    result = TrialResult(0, "complete", 2.5, 6, 4, HISTORY, 0.25)
    done = with_result(trial(0), result, 7.0)
    assert done.metrics == {"train/loss": 1.0, "val/loss": 2.5} and done.history == HISTORY
    assert (done.state, done.value, done.epochs, done.best_epoch, done.finished) == ("complete", 2.5, 6, 4, 7.0)
    assert (done.label, done.key) == ("coarse/0", ("coarse", 0))
    assert with_result(trial(0), result._replace(best_epoch=0, value=None), 7.0).metrics == {}


def test_checked_every() -> None:
    assert checked_every(6, HISTORY) == 2
    assert checked_every(0, {}) == checked_every(5, {}) == 1


def test_repeats_name_the_first_trial_at_a_point() -> None:
    assert repeats([trial(0), trial(1, 0.25), trial(2), trial(3), trial(0, 0.25, "fine")]) == {
        "coarse/2": "coarse/0",
        "coarse/3": "coarse/0",
        "fine/0": "coarse/1",
    }


def test_integers_and_floats_are_different_points() -> None:
    assert repeats([trial(0, 1), trial(1, 1.0), trial(2, True)]) == {}


def test_ties_are_ranked_by_stage_and_number() -> None:
    done = [t._replace(state="complete", value=0.5) for t in (trial(1, stage="fine"), trial(1), trial(0))]
    better = trial(2, stage="fine")._replace(state="complete", value=0.25)
    failed = trial(3)._replace(state="failed")
    assert ranked([*done, better, failed], 1, ["coarse", "fine"]) == [better, done[2], done[1], done[0]]
    assert best_of([*done, better], -1, ["coarse", "fine"]) == done[2]
    assert best_of([failed], 1, ["coarse"]) is None
