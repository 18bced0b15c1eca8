"""No advice contradicts the trials of the study: a property of random tables of trials."""

import math
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from hpsearch.core.space import Point
from hpsearch.models.evidence import LayerEvidence
from hpsearch.report.advice.change import ProposedChange
from hpsearch.report.advice.collect import advise, contradicted
from hpsearch.search.statistics.trends import Trend
from hpsearch.study.summary import Summary
from tests.hpsearch.report.advice.advice_cases import PARAMETERS, ROWS, study, summary_of

WEIGHTS = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]), min_size=3, max_size=3)


def random_study(weights: list[float], noise: float, seed: int, errors: tuple[float, float], dead: int) -> Summary:
    rng = np.random.default_rng(seed)

    def value(point: Point) -> float:
        logs = [math.log10(float(point[name])) for name in PARAMETERS]
        return float(0.5 + 0.01 * np.dot(weights, logs) + noise * rng.normal())

    layers = [LayerEvidence("2 ReLU → 16", 16, dead=dead), *(LayerEvidence(str(n), gradient=10.0**n) for n in range(3))]
    scores = {"fit/accuracy": 1 - errors[0], "val/accuracy": 1 - errors[1], "test/accuracy": 1 - errors[1]}
    best: Any = int(rng.integers(10, 21))
    evidence = ROWS._replace(layers=layers, base_error=0.0, parameters=10**6)
    return summary_of(study(stages=[{"name": "coarse", "trials": 30}]), value, evidence, scores, best=best)


@settings(deadline=None, max_examples=60)
@given(
    WEIGHTS,
    st.sampled_from([0.0, 0.01, 0.05]),
    st.integers(0, 99),
    st.tuples(*[st.floats(0, 0.5)] * 2),
    st.integers(0, 16),
)
def test_no_advice_contradicts_the_trials(
    weights: list[float], noise: float, seed: int, errors: tuple[float, float], dead: int
) -> None:
    assume(noise or any(weights))  # a constant has no correlation
    of = random_study(weights, noise, seed, errors, dead)
    advice = advise(of)
    for change in (c for a in advice for c in a.changes if c.parameter is not None):
        values = [float(t.point[change.parameter]) for t in of.trials[0]]
        found = spearmanr(values, [t.value for t in of.trials[0]])
        assert not (found.pvalue < 0.049 and found.statistic * change.direction < 0), change
        if change.parameter == "hidden_units" and change.direction > 0:
            assert found.pvalue < 0.051 and found.statistic > 0
    keys = [c.key for a in advice for c in a.changes if c.certain]
    assert len(keys) == len(set(keys))
    assert all(
        any(character.isdigit() for character in a.evidence) or not a.evidence for a in advice if a.topic != "variance"
    )


def test_contradictions() -> None:
    found = {"l2": Trend("l2", 0.9, 0.001, 20), "rate": Trend("rate", 0.9, 0.2, 20)}

    def change(name: str | None, direction: int) -> ProposedChange:
        return ProposedChange("key", 1, None, name, direction)

    assert contradicted(change("l2", -1), found) and not contradicted(change("l2", 1), found)
    assert not contradicted(change("rate", -1), found) and not contradicted(change(None, 0), found)


def test_a_study_without_a_network_has_advice_on_its_ranges_only() -> None:
    """Scores, curves, and evidence of the engine are absent."""
    of = summary_of(study(), lambda p: 0.5 + 0.05 * math.log10(float(p["l2"])), None, {})
    bare = [t._replace(history={}, metrics={}) for t in of.trials[0]]
    best = of.champion and of.champion._replace(history={}, metrics={})
    assert [a.topic for a in advise(of._replace(trials=[bare], champion=best))] == ["range"]
    assert advise(of._replace(trials=[[]], champion=None)) == []
