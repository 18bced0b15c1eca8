"""All advice of a study, the most specific first, without what its own trials contradict."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from hpsearch.report.advice.change import Advice, ProposedChange
from hpsearch.report.advice.errors import diagnosis_lines, diagnosis_of
from hpsearch.report.advice.layers import layer_advice
from hpsearch.report.advice.ranges import range_advice
from hpsearch.report.advice.rows import learned_nothing, row_advice, trust_advice
from hpsearch.report.advice.training import divergence_advice, epochs_advice, fit_advice
from hpsearch.search.statistics.trends import Trend, trends

if TYPE_CHECKING:
    from hpsearch.study.summary import Summary


def advise(summary: "Summary") -> list[Advice]:
    """Return all advice of a study; none while no trial is complete and none has diverged."""
    found = trends(summary.spec, summary.space, summary.trials)
    diagnosis = diagnosis_of(summary)
    nothing = learned_nothing(summary, diagnosis)
    if nothing is not None:  # differences between trials are chance, so nothing follows from the best of them
        given = chain([nothing], trust_advice(summary), layer_advice(summary), divergence_advice(summary))
        return _consistent(given, {})
    given = chain(
        trust_advice(summary),
        epochs_advice(summary),
        divergence_advice(summary),
        range_advice(summary, found),
        layer_advice(summary),
        fit_advice(summary, diagnosis, found),
        row_advice(summary, diagnosis),
    )
    return _consistent(given, found)


def _consistent(given: Iterable[Advice], found: Mapping[str, Trend]) -> list[Advice]:
    """Return the advice without changes that a trend contradicts, and without a second change of a key."""
    kept: list[Advice] = []
    changed: set[str] = set()
    for advice in given:
        changes = [c for c in advice.changes if not contradicted(c, found) and c.key not in changed]
        if advice.changes and not changes and any(c.parameter for c in advice.changes):
            continue
        changed |= {c.key for c in changes if c.certain}
        kept.append(advice._replace(changes=tuple(changes)))
    return kept


def contradicted(change: ProposedChange, found: Mapping[str, Trend]) -> bool:
    """Return whether the trials did significantly better in the direction opposite to a change."""
    trend = found.get(change.parameter or "")
    return trend is not None and trend.direction * change.direction < 0


def advice_lines(summary: "Summary") -> list[str]:
    """Return the diagnosis and the advice of a study as sentences."""
    return [*diagnosis_lines(summary), *map(str, advise(summary))]
