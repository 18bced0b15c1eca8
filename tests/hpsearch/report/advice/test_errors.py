"""Diagnoses of studies in sentences: each row of what was printed wrongly before, from stored scores."""

from typing import Any

from hpsearch.models.evidence import Evidence, PartError
from hpsearch.report.advice.errors import diagnosis_lines, diagnosis_of
from hpsearch.storage.records import Baseline
from tests.hpsearch.report.advice.advice_cases import ROWS, study, summary_of

REGULARIZED: dict[str, Any] = {"parameters": {"learning_rate": 0.1, "l2": {"values": [0.0, 0.01], "ordered": True}}}


def lines(scores: dict[str, float], evidence: Evidence | None = ROWS, **changes: Any) -> str:
    spec = study(**{"model": {"hidden": [{"units": 8}]}, "parameters": {"learning_rate": 0.1}, **changes})
    return "\n".join(diagnosis_lines(summary_of(spec, lambda p: 0.9, evidence, scores)))


def test_val_below_train_is_explained_and_is_no_bias() -> None:
    """A cured overfit: R² .96 without the penalty, train .955 and val .99 with it."""
    evidence = Evidence({"train": PartError(25, 0.03), "val": PartError(100, 0.02)}, base_error=0.0, regression=True)
    spec = study(**REGULARIZED, model={"hidden": [{"units": 8}]}, metric={"name": "val/r2"})
    of = summary_of(spec, lambda p: 0.99 if p["l2"] else 0.96, evidence, {"fit/r2": 0.955, "val/r2": 0.99})
    text = "\n".join(diagnosis_lines(of))
    assert text.startswith("No high variance; bias cannot be judged: train error 4.5%")
    assert "val is below train, so this is no bias: regularization holds back the fit" in text and "(l2 0.01)" in text
    assert "Trials without any have a median val error of 4.0%: it helped." in text
    assert "bigger" not in text and "larger" not in text


def test_known_noise_is_no_bias() -> None:
    """5.1 % of train error of which 5 % is noise."""
    noisy = {"fit/accuracy": 0.949, "val/accuracy": 0.945}
    known = lines(noisy, ROWS._replace(base_error=0.05))
    assert known.startswith("Neither high bias nor high variance") and "5.0% is unavoidable" in known
    assert lines(noisy, metric={"name": "val/accuracy", "base_error": 0.04}).startswith("Neither")
    assert lines(noisy, ROWS._replace(base_error=0.0)).startswith("High bias")
    assert lines(noisy, ROWS._replace(noise=0.045)).startswith("Neither")  # equal inputs with different targets


def test_a_goal_that_ends_training_is_no_bias() -> None:
    changes = {"train": {"optimizer": "sgd", "epochs": 100, "stop": {"value": 0.94}}}
    text = lines({"fit/accuracy": 0.94, "val/accuracy": 0.94}, ROWS._replace(base_error=0.0), **changes)
    assert text.startswith("Neither high bias") and "Training stopped at train.stop.value" in text


def test_an_unknown_base_error_is_said_with_what_trials_and_baselines_say() -> None:
    spec = study()
    of = summary_of(spec, lambda p: 0.84 - 1e-3 * (p["l2"] > 1e-4), ROWS._replace(noise=0.02))  # type: ignore[operator]
    assert of.champion is not None
    best = of.champion._replace(metrics={"fit/accuracy": 0.848, "val/accuracy": 0.838})
    boosting = Baseline("boosting", 0, 900, {"val/accuracy": 0.84}, None, 1.0, 0.0)
    text = "\n".join(diagnosis_lines(of._replace(champion=best, baselines=(boosting,))))
    assert text.startswith("No high variance; bias unknown: train error 15.2%")
    assert "at least 2.0% of wrong or varying targets cannot" in text and "set metric.base_error" in text
    assert "hidden_units is not related to the metric" in text
    assert "No baseline does better on the same rows (best: boosting, 16.0%)." in text
    better = boosting._replace(scores={"val/accuracy": 0.97})
    text = "\n".join(diagnosis_lines(of._replace(champion=best, baselines=(better,))))
    assert "The baseline 'boosting' has a val error of 3.0% on the same rows, so part of it can." in text


def test_ten_val_rows_say_nothing_and_test_rows_do() -> None:
    evidence = Evidence({"train": PartError(990, None), "val": PartError(10, None), "test": PartError(10_000, None)})
    text = lines({"fit/accuracy": 1.0, "val/accuracy": 1.0, "test/accuracy": 0.857}, evidence)
    assert text.startswith("High variance: train error 0.0% (0.0% to 0.4%), val error 0.0% (0.0% to 27.8%), test")
    assert "val has only 10 rows: its error lies anywhere between 0.0% and 27.8%." in text
    assert "val cannot show the gap that the test rows show: trust test." in text


def test_test_contradicts_val() -> None:
    text = lines({"fit/accuracy": 0.95, "val/accuracy": 0.95, "test/accuracy": 0.8})
    assert "test contradicts val: its error is 15.0% above that of val, beyond chance (+9.8% to" in text
    assert "trust test" in text


def test_without_scores_or_evidence() -> None:
    assert lines({}) == ""
    assert lines({"fit/accuracy": float("nan"), "val/accuracy": 0.8}) == ""
    old = lines({"fit/accuracy": 0.99, "val/accuracy": 0.89}, None)
    assert old == "High variance: train error 1.0%, val error 11.0%."
    assert diagnosis_of(summary_of(study(), lambda p: None)) is None
