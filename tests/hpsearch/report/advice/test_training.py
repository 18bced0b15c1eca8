"""Advice on training: more epochs, trials that diverged, and what is against bias and variance."""

from typing import Any

from hpsearch.core.space import Point
from hpsearch.report.advice.change import Advice
from hpsearch.report.advice.collect import advise
from hpsearch.report.advice.training import divergence_advice, epochs_advice
from hpsearch.storage.records import Trial
from tests.hpsearch.report.advice.advice_cases import PARAMETERS, ROWS, study, summary_of

GOOD, RATE = {"fit/accuracy": 0.97, "val/accuracy": 0.96}, "learning_rate"


def only(found: list[Advice], topic: str) -> Advice:
    (advice,) = (a for a in found if a.topic == topic)
    return advice


def improving(**changes: Any) -> list[Advice]:
    of = summary_of(study(**changes), lambda p: 0.5 + 0.1 * float(p[RATE]), scores=GOOD, best=20, epochs=20)
    return list(epochs_advice(of))


def test_more_epochs_where_the_best_epoch_is_the_last_one() -> None:
    (found,) = improving()
    assert [str(c) for c in found.changes] == ["train.epochs: 20 → 40"]
    assert "its last one, 20 of 20, and its val/accuracy improved by" in found.evidence
    assert "so do 5 of the best 5 trials" in found.evidence


def test_no_more_epochs_after_a_schedule_a_goal_or_a_plateau() -> None:
    train = {"optimizer": "sgd", "epochs": 20}
    assert improving(train=train) and not improving(train={**train, "schedule": "cosine"})
    assert not improving(train={**train, "stop": {"value": 0.9}}) and not improving(train={**train, "epochs": 30})
    assert not list(epochs_advice(summary_of(study(), lambda p: 0.5, scores=GOOD, best=12)))


def test_no_more_epochs_if_the_other_good_trials_do_not_need_them() -> None:
    of = summary_of(study(), lambda p: 0.5 + 0.1 * float(p[RATE]), scores=GOOD, best=12)
    assert of.champion is not None
    late = [0.3 + 0.01 * epoch for epoch in range(1, 21)]
    best = of.champion._replace(best_epoch=20, history={"val/accuracy": late})
    trials: list[Trial] = [best if t.label == best.label else t for t in of.trials[0]]
    assert not list(epochs_advice(of._replace(champion=best, trials=[trials])))


def test_trials_that_diverged() -> None:
    def rates(point: Point) -> float | None:
        return None if float(point[RATE]) > 0.1 else 0.5 + float(point[RATE])

    found = only(advise(summary_of(study(), rates, scores=GOOD)), "diverged")
    assert "trials diverged" in found.evidence and "all with learning_rate of 0.1" in found.evidence
    (change,) = found.changes
    assert change.key == "parameters.learning_rate" and 0.05 < change.new["max"] < 0.2 and change.direction == -1
    fixed = study(parameters={**PARAMETERS, RATE: 3.0})
    found = only(list(divergence_advice(summary_of(fixed, lambda p: None if p["l2"] > 1e-4 else 0.5))), "diverged")  # type: ignore[operator]
    assert [str(c) for c in found.changes] == ["parameters.learning_rate: 3.0 → 0.3"]


def test_no_smaller_learning_rate_if_the_best_one_is_large() -> None:
    """Half of the trials diverged at all learning rates; the best trial has a large one."""

    def value(point: Point) -> float | None:
        return None if int(1e9 * float(point["l2"])) % 2 else 0.5 + float(point[RATE])

    found = only(list(divergence_advice(summary_of(study(), value))), "diverged")
    assert all(c.parameter is None for c in found.changes)


def test_a_fixed_size_with_high_bias_is_searched() -> None:
    spec = study(model={"hidden": [{"units": 2}]}, parameters={RATE: PARAMETERS[RATE]})
    scores = {"fit/accuracy": 0.8, "val/accuracy": 0.8}
    of = summary_of(spec, lambda p: 0.8, ROWS._replace(base_error=0.0), scores)
    found = only(advise(of), "size")
    assert [str(c) for c in found.changes] == [
        "model.hidden.0.units: 2 → searched_units",
        "parameters.searched_units: {type: int, min: 2, max: 32, scale: log}",
    ]
    assert not [a for a in advise(of._replace(evidence=ROWS)) if a.topic == "size"]  # the bias is not known


def test_high_variance_searches_regularization() -> None:
    scores = {"fit/accuracy": 1.0, "val/accuracy": 0.8}
    fixed = study(parameters={name: PARAMETERS[name] for name in (RATE, "hidden_units")})
    assert [str(c) for c in only(advise(summary_of(fixed, lambda p: 0.8, scores=scores)), "variance").changes]
    searched = advise(summary_of(study(), lambda p: 0.8, scores=scores))
    assert not [a for a in searched if a.topic == "variance"]
