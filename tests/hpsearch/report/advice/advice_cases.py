"""Summaries made by hand for the tests of advice: trials as functions of their points, and evidence."""

from collections.abc import Callable, Mapping
from typing import Any

import cases

from hpsearch.config.references import search_space
from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.models.evidence import Evidence, PartError
from hpsearch.storage.records import Trial, best_of
from hpsearch.study.summary import Summary
from tests.hpsearch.search.test_importance import sampled

ROWS = Evidence({"train": PartError(900, None), "val": PartError(300, None), "test": PartError(300, None)})
PARAMETERS: dict[str, Any] = {
    "learning_rate": {"min": 1e-3, "max": 1.0, "scale": "log"},
    "hidden_units": {"type": "int", "min": 4, "max": 64, "scale": "log"},
    "l2": {"min": 1e-6, "max": 1e-2, "scale": "log"},
}
STUDY: dict[str, Any] = {
    "parameters": PARAMETERS,
    "train": {"optimizer": "sgd", "epochs": 20},
    "metric": {"name": "val/accuracy"},
    "stages": [{"name": "coarse", "trials": 24}],
}


def study(**changes: Any) -> Spec:
    return cases.small(**{**STUDY, **changes})


def finished(spec: Spec, trial: Trial, value: float, epochs: int = 20, best: int = 12, **metrics: float) -> Trial:
    """Return a complete trial whose curve is best at an epoch."""
    sign = spec.metric.sign
    curve = [value + sign * 0.001 * abs(epoch - best) for epoch in range(1, epochs + 1)]
    return trial._replace(
        state="complete",
        value=value,
        epochs=epochs,
        best_epoch=best,
        history={spec.metric.monitored: curve},
        metrics={spec.metric.monitored: value, **metrics},
    )


def summary_of(
    spec: Spec,
    value: Callable[[Point], float | None],
    evidence: Evidence | None = ROWS,
    scores: Mapping[str, float] | None = None,
    first: Mapping[str, Any] | None = None,
    **others: Any,
) -> Summary:
    """Return a study of random points; a value of None is a diverged trial.

    Args:
        scores: of the champion besides its value.
        first: values of numeric parameters of the first trial.
        others: of `finished`.
    """
    trials, space = [], search_space(spec)
    for t in sampled(spec, spec.stages[0].trials or 1):
        if first is not None and t.number == 0:
            internal = {**t.internal_params, **first}
            t = t._replace(internal_params=internal, point=space.point(internal))
        found = value(t.point)
        trials.append(t._replace(state="diverged") if found is None else finished(spec, t, found, **others))
    best = best_of(trials, spec.metric.sign, spec.stage_names)
    if best is not None and scores is not None:
        best = best._replace(metrics={**best.metrics, **scores})
        trials[best.number] = best
    return Summary(spec, space, [trials], [space.full_box()], [0], [len(trials)], best, evidence=evidence)
