"""The baselines of a study beside its network: a table, and a sentence that says what the network is worth."""

from collections.abc import Iterator, Mapping

from hpsearch.core.text import format_value, printable
from hpsearch.report.tables import MISSING
from hpsearch.storage.records import Baseline, Trial
from hpsearch.study.summary import Summary

LABELS = {"constant": "constant", "linear": "linear model", "boosting": "gradient boosting"}
MAX_REMARK = 200  # characters


def baseline_rows(summary: Summary) -> list[list[str]]:
    """Return a table with a row for each baseline and one for the champion, the heading first; empty without baselines.

    Its columns are the metric of the study and the accuracy, or R², on the validation rows and on the test rows. The
    last one, for remarks, is left out if it would be empty.
    """
    champion = summary.champion
    if champion is None or not summary.baselines:
        return []
    names = _columns(summary, champion)
    rows = [["", *names, ""]]
    for baseline in summary.baselines:
        rows.append([LABELS[baseline.name], *_cells(baseline.scores, names), _remark(summary, baseline)])
    rows.append([f"network ({champion.label})", *_cells(_network_scores(summary, champion), names), ""])
    return rows if any(row[-1] for row in rows) else [row[:-1] for row in rows]


def baseline_lines(summary: Summary) -> Iterator[str]:
    """Yield sentences that compare the champion with gradient boosting, and with the constant if that is no worse.

    The scores on the test rows are compared, else those on the validation rows.
    """
    champion = summary.champion
    of_name = {baseline.name: baseline for baseline in summary.baselines}
    if champion is None or (boosting := of_name.get("boosting")) is None:
        return
    scores = _network_scores(summary, champion)
    names = (f"test/{summary.spec.metric.of}", str(summary.spec.metric.name))
    name = next((n for n in names if n in scores), None)
    if name is None:
        return
    if name in boosting.scores:
        yield _compared(summary, name, scores[name], boosting.scores[name])
    constant = of_name["constant"].scores.get(name) if "constant" in of_name else None
    if constant is not None and summary.spec.metric.sign * (constant - scores[name]) <= 0:
        yield f"The network is no better than the constant: {name} {format_value(constant)}."


def _compared(summary: Summary, name: str, network: float, boosting: float) -> str:
    values = f"{name} {format_value(network)} against {format_value(boosting)}"
    lead = summary.spec.metric.sign * (boosting - network)
    if format_value(network) == format_value(boosting):
        return f"The network is as good as gradient boosting: {values}."
    word = "better" if lead > 0 else "worse"
    return f"The network is {word} than gradient boosting by {format_value(abs(lead))}: {values}."


def _columns(summary: Summary, champion: Trial) -> list[str]:
    metric = summary.spec.metric
    others = [n for n in ("accuracy", "r2") if f"val/{n}" in champion.metrics and n != metric.of]
    tests = [name for name in (f"test/{n}" for n in (metric.of, *others)) if name in champion.metrics]
    return [str(metric.name), *(f"val/{n}" for n in others), *tests]


def _network_scores(summary: Summary, champion: Trial) -> Mapping[str, float]:
    value = {} if champion.value is None else {str(summary.spec.metric.name): champion.value}
    return {**champion.metrics, **value}


def _cells(scores: Mapping[str, float], names: list[str]) -> list[str]:
    return [format_value(scores[name]) if name in scores else MISSING for name in names]


def _remark(summary: Summary, baseline: Baseline) -> str:
    """Return why a baseline has no scores, or to which part of the rows it was fitted."""
    if baseline.error is not None:
        return printable(baseline.error, MAX_REMARK)
    total = max((b.rows for b in summary.baselines if b.name == "constant"), default=0)
    return f"fitted to {baseline.rows:,} of {total:,} rows" if baseline.rows < total else ""
