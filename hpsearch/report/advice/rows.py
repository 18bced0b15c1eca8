"""Advice on rows: leaks, repeated and different rows, too few validation rows, more parameters than rows."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.analysis.diagnosis import Diagnosis
from engine.metrics import POSITIVE_METRICS
from hpsearch.models.evidence import Evidence
from hpsearch.report.advice.change import Advice, ProposedChange
from hpsearch.report.advice.errors import WIDE, error_of
from hpsearch.search.statistics.trends import searched_trials
from hpsearch.storage.records import ranked

if TYPE_CHECKING:
    from hpsearch.study.summary import Summary


COMPARED_TRIALS = 10  # whose differences the validation rows must show
RANKING_METRICS = (
    "roc_auc",
    *POSITIVE_METRICS,
    "balanced_accuracy",
)  # with which a good model may have the error of a constant
BALANCED = 0.4  # error of a constant from which a model with such an error has learned nothing
MANY_PARAMETERS = 10  # parameters for each training row


def trust_advice(summary: "Summary") -> Iterator[Advice]:
    """Yield what makes the scores themselves doubtful: label leaks, and rows of val or test that are trained."""
    evidence = summary.evidence
    if evidence is None:
        return
    for leak in evidence.leaks[:3]:
        name = leak.column.partition("=")[0]
        text = (
            f"The column '{leak.column}' alone predicts the target with an error of {leak.error:.1%}: if it is not"
            " known before the target, the scores mean nothing"
        )
        droppable = hasattr(summary.spec.data, "drop")
        yield Advice("leak", text, (ProposedChange("data.drop", [name], certain=False),) if droppable else ())
    for found in evidence.repeats:
        if found.notable:
            text = (
                f"{found.repeated:,} of {found.rows:,} {found.part} rows ({found.share:.0%}) are also training rows,"
                f" against {found.usual:.0%} of the training rows that equal another one: the {found.part} error is"
                " too low; remove them from one of the parts"
            )
            yield Advice("repeated", text)


def learned_nothing(summary: "Summary", diagnosis: Diagnosis | None) -> Advice | None:
    """Return advice if the best trial is not better than a constant prediction by more than chance, else None."""
    measured = diagnosis and (diagnosis.val or diagnosis.test)
    if summary.evidence is None or measured is None or measured.rows is None:
        return None
    if summary.spec.metric.of in RANKING_METRICS or summary.evidence.constant < BALANCED:
        return None
    if diagnosis is not None and diagnosis.train.interval.high < summary.evidence.constant:
        return None  # the training rows were learned
    if measured.interval.low < summary.evidence.constant <= measured.interval.high or (
        measured.error >= summary.evidence.constant
    ):
        return Advice(
            "nothing learned",
            f"No trial is better than a constant prediction: error {measured}, that of a constant"
            f" {summary.evidence.constant:.1%}",
        )
    return None


def row_advice(summary: "Summary", diagnosis: Diagnosis | None) -> Iterator[Advice]:
    """Yield advice on the number and the distribution of rows."""
    evidence = summary.evidence
    if evidence is None:
        return
    yield from _few_parameters(evidence, diagnosis)
    yield from _few_rows(summary, diagnosis)
    for found in evidence.drift:
        if found.notable:
            text = f"The {found.part} rows come from another distribution: {found}"
            change = ProposedChange("data.split", {"train": 0.6, "val": 0.2, "test": 0.2}, certain=False)
            yield Advice("drift", text, (change,) if found.part == "val" else ())


def _few_parameters(evidence: Evidence, diagnosis: Diagnosis | None) -> Iterator[Advice]:
    train = evidence.errors.get("train")
    if train is None or diagnosis is None or not diagnosis.high_variance:
        return
    if evidence.parameters > MANY_PARAMETERS * train.rows:
        yield Advice(
            "parameters",
            f"The network has {evidence.parameters:,} parameters for {train.rows:,} training rows, and its variance is"
            " high",
        )


def _few_rows(summary: "Summary", diagnosis: Diagnosis | None) -> Iterator[Advice]:
    """Yield advice if the validation rows cannot show the differences between the best trials."""
    if diagnosis is None or diagnosis.val is None or diagnosis.val.rows is None:
        return
    best = ranked(searched_trials(summary.spec, summary.trials), summary.spec.metric.sign, summary.spec.stage_names)[
        :COMPARED_TRIALS
    ]
    errors = [e for t in best if math.isfinite(e := error_of(t.metrics, "val"))]
    half = diagnosis.val.interval.half_width
    if len(errors) < 3 or half <= WIDE or max(errors) - min(errors) >= half:
        return
    text = (
        f"The best {len(errors)} trials differ by {max(errors) - min(errors):.1%} of val error, and"
        f" {diagnosis.val.rows:,} val rows tell an error only to ±{half:.1%}"
    )
    yield Advice("few rows", text, (ProposedChange("data.split", {"folds": 5, "test": 0.2}, certain=False),))
