"""The champion of a study, and the trials whose weights are kept."""

import cases
import pytest

from hpsearch.config.spec import Spec
from hpsearch.search.champion import find_champion, weights_to_keep, with_test_scores
from hpsearch.storage.records import Trial


def study(metric: str = "val/loss") -> Spec:
    stages = [{"name": "coarse", "trials": 3}, {"name": "confirm", "top": 2, "seeds": 2}]
    return cases.small(stages=stages, metric={"name": metric})


def trials(stage: str, *values: float | None) -> list[Trial]:
    """Return trials of two points in turn; None is the value of a diverged trial."""
    return [
        Trial(stage, n, {"x": n % 2}, {"x": n % 2}, "diverged" if value is None else "complete", value)
        for n, value in enumerate(values)
    ]


@pytest.mark.parametrize(("metric", "best"), [("val/loss", 1), ("val/accuracy", 2)])
def test_best_of_the_search(metric: str, best: int) -> None:
    coarse = trials("coarse", 0.3, 0.2, 0.4)
    assert find_champion(study(metric), [coarse]) == coarse[best]


def test_no_champion_without_a_complete_trial() -> None:
    pruned = Trial("coarse", 1, {}, {}, "pruned", 0.1)
    assert find_champion(study(), []) is None
    assert find_champion(study(), [[*trials("coarse", None), pruned]]) is None
    assert weights_to_keep(study(), [[*trials("coarse", None), pruned]]) == set()


def test_best_mean_of_the_confirming_stage() -> None:
    """The champion is the best trial of the point with the best mean, although another trial is better."""
    coarse = trials("coarse", 0.05, 0.3, 0.4)
    confirm = trials("confirm", 0.1, 0.2, 0.9, 0.3)  # means 0.5 and 0.25
    assert find_champion(study(), [coarse, confirm]) == confirm[1]


def test_best_of_the_search_until_the_stage_is_confirmed() -> None:
    """Also when no point completed with every seed."""
    coarse = trials("coarse", 0.3, 0.2, 0.4)
    confirm = trials("confirm", 0.1, 0.1, 0.1, 0.1)
    confirm[3] = confirm[3]._replace(state="running", value=None)
    assert find_champion(study(), [coarse, confirm]) == coarse[1]
    assert find_champion(study(), [coarse, trials("confirm", 0.1, None, None, 0.1)]) == coarse[1]


def test_weights_of_the_champion_are_kept() -> None:
    assert weights_to_keep(study(), [trials("coarse", 0.3, 0.2, 0.4)]) == {("coarse", 1)}


def test_weights_of_each_confirmed_point_are_kept() -> None:
    """With more seeds another point may win, so the best trial of every point is kept."""
    coarse = trials("coarse", 0.3, 0.2, 0.4)
    assert weights_to_keep(study(), [coarse, trials("confirm", 0.1, 0.2, 0.9, 0.3)]) == {
        ("confirm", 0),
        ("confirm", 1),
    }
    assert weights_to_keep(study(), [coarse, trials("confirm", 0.1, 0.2, 0.15, 0.3)]) == {
        ("confirm", 0),
        ("confirm", 1),
    }
    unfinished = trials("confirm", 0.1, 0.2, 0.9, 0.3)
    unfinished[3] = unfinished[3]._replace(state="running", value=None)
    assert weights_to_keep(study(), [coarse, unfinished]) == {("coarse", 1), ("confirm", 0), ("confirm", 1)}


def test_test_scores() -> None:
    champion = trials("coarse", 0.3)[0]._replace(metrics={"val/loss": 0.3})
    assert with_test_scores(champion, {"test/loss": 0.4}).metrics == {"val/loss": 0.3, "test/loss": 0.4}
    assert champion.metrics == {"val/loss": 0.3}
    assert with_test_scores(champion, None) == champion
