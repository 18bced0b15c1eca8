"""A study as JSON and CSV for other programs."""

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

from hpsearch.core.space import value_bounds
from hpsearch.core.text import without_formula
from hpsearch.report.advice.change import Advice
from hpsearch.report.advice.collect import advise
from hpsearch.report.advice.errors import diagnosis_lines
from hpsearch.report.ensemble import ensemble_content
from hpsearch.report.tables import epochs_saved
from hpsearch.search.confirm import Finalist
from hpsearch.search.importance import importance
from hpsearch.storage.records import FINISHED, Baseline, Trial, repeats
from hpsearch.study.summary import COLUMNS, Summary


def as_json(summary: Summary) -> dict[str, Any]:
    """Return the study without learning curves. Numbers that are not finite are None, which JSON writes as null."""
    spec = summary.spec
    axes = summary.space.axes
    trials = [t for stage in summary.trials for t in stage]
    repeated = repeats(trials)
    stages = []
    for number, stage in enumerate(spec.stages):
        has_begun = number < len(summary.boxes)
        stage_trials = summary.trials[number] if has_begun else []
        stages.append(
            {
                "name": stage.name,
                "sampler": None if stage.confirms else stage.sampler,
                "trials": summary.totals[number],
                "finished": sum(t.state in FINISHED for t in stage_trials),
                "pruned": sum(t.state == "pruned" for t in stage_trials),
                "epochs": sum(t.epochs for t in stage_trials if t.copied_from is None),
                "epochs_saved": epochs_saved(spec, stage_trials),
                "reused": summary.reused[number] if has_begun else 0,
                "box": {a.name: list(value_bounds(a, summary.boxes[number])) for a in axes} if has_begun else None,
                "edges": [str(edge) for edge in summary.edges[number]] if has_begun else [],
            }
        )
    return {
        "study": spec.name,
        "spec": spec.model_dump(mode="json"),
        "stages": stages,
        "trials": [_trial(t, repeated) for t in trials],
        "confirmed": [_finalist(f) for f in summary.finalists],
        "importance": importance(spec, summary.space, trials),
        "best": _trial(summary.champion, repeated) if summary.champion else None,
        "diagnosis": diagnosis_lines(summary),
        "advice": [_advice(advice) for advice in advise(summary)],
        "ensemble": ensemble_content(summary.ensemble),
        "baselines": [_baseline(baseline) for baseline in summary.baselines],
    }


def _advice(advice: Advice) -> dict[str, Any]:
    changes = [{"key": c.key, "old": c.old, "new": c.new, "certain": c.certain} for c in advice.changes]
    return {"topic": advice.topic, "evidence": advice.evidence, "changes": changes}


def as_csv(summary: Summary, *, raw: bool = False) -> str:
    """Return one row for each trial, with full precision, in the format of RFC 4180.

    Args:
        raw: write text as it is, also text that a spreadsheet would run as a formula.
    """
    rows, text = summary.rows, io.StringIO()
    if not raw:
        rows = [{k: without_formula(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]
    writer = csv.DictWriter(text, list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _trial(trial: Trial, repeated: Mapping[str, str]) -> dict[str, Any]:
    return {
        "number": trial.number,
        "stage": trial.stage,
        "state": trial.state,
        "value": _finite(trial.value),
        "params": dict(trial.point),
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 6),
        "metrics": {name: _finite(value) for name, value in trial.metrics.items()},
        **({"error": trial.error} if trial.error else {}),
        **({"repeats": repeated[trial.label]} if trial.label in repeated else {}),
        **({"copied_from": trial.copied_from} if trial.copied_from else {}),
        **({"machine": trial.machine} if trial.machine else {}),
    }


def _finalist(finalist: Finalist) -> dict[str, Any]:
    return {
        "params": dict(finalist.point),
        "trials": [t.label for t in finalist.trials],
        "mean": _finite(finalist.mean),
        "half_width": _finite(finalist.half_width),
        "behind": _finite(finalist.behind),
        "behind_half_width": _finite(finalist.behind_half_width),
        "tied": finalist.tied,
    }


def _baseline(baseline: Baseline) -> dict[str, Any]:
    return {
        "name": baseline.name,
        "rows": baseline.rows,
        "seconds": round(baseline.seconds, 6),
        "metrics": {name: _finite(value) for name, value in baseline.scores.items()},
        **({"error": baseline.error} if baseline.error else {}),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
