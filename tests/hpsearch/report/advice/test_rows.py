"""Advice on rows: leaks, repeated rows, drift, few validation rows, from stored evidence."""

from hpsearch.data.checks.drift import Drift
from hpsearch.data.checks.leaks import Leak
from hpsearch.data.checks.repeats import RepeatedRows
from hpsearch.models.evidence import Evidence, PartError
from hpsearch.report.advice.change import Advice
from hpsearch.report.advice.collect import advise
from tests.hpsearch.report.advice.advice_cases import ROWS, finished, study, summary_of


def topics(evidence: Evidence, **scores: float) -> dict[str, Advice]:
    return {a.topic: a for a in advise(summary_of(study(), lambda p: 0.9, evidence, scores))}


def test_what_makes_scores_doubtful_comes_first() -> None:
    evidence = ROWS._replace(
        leaks=[Leak("alive=yes", 0.002)],
        repeats=[RepeatedRows("val", 300, 9, 0.03), RepeatedRows("test", 300, 120, 0.03)],
        drift=[Drift("val", 0.8, 0.75, 0.85, []), Drift("test", 0.55, 0.5, 0.6, [])],
    )
    found = topics(evidence)
    assert list(found) == ["leak", "repeated", "drift"]
    assert "'alive=yes' alone predicts the target with an error of 0.2%" in found["leak"].evidence
    assert "120 of 300 test rows (40%) are also training rows, against 3%" in found["repeated"].evidence
    assert found["drift"].evidence.startswith("The val rows come from another distribution: a classifier tells val")
    assert not any(c.certain for a in found.values() for c in a.changes)


def test_few_rows_cannot_show_small_differences() -> None:
    few = Evidence({"train": PartError(60, None), "val": PartError(20, None)})
    spec = study()
    of = summary_of(spec, lambda p: 0.9 + 1e-3 * float(p["l2"]), few, {"fit/accuracy": 0.92, "val/accuracy": 0.9})
    (found,) = (a for a in advise(of) if a.topic == "few rows")
    assert "The best 10 trials differ by 0.0% of val error, and 20 val rows tell an error only to ±" in str(found)
    spread = [finished(spec, t, 0.3 + 0.02 * n) for n, t in enumerate(of.trials[0])]
    assert not [a for a in advise(of._replace(trials=[spread])) if a.topic == "few rows" and "0.0%" in str(a)]


def test_more_parameters_than_rows_only_with_high_variance() -> None:
    wide = ROWS._replace(parameters=20_000)
    assert "parameters" in topics(wide, **{"fit/accuracy": 1.0, "val/accuracy": 0.8})
    assert "parameters" not in topics(wide, **{"fit/accuracy": 0.97, "val/accuracy": 0.96})


def test_a_rare_class_is_no_sign_of_a_model_that_learned_nothing() -> None:
    rare = ROWS._replace(constant=0.04)
    assert "nothing learned" not in topics(rare, **{"fit/accuracy": 0.96, "val/accuracy": 0.96})
