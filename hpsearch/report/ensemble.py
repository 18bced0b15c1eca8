"""The ensemble of a study in reports: its members, and what it gains over the best member and the best trial."""

from typing import Any

from hpsearch.core.text import format_value
from hpsearch.report.tables import MISSING
from hpsearch.storage.records import StoredEnsemble, Trial
from hpsearch.study.summary import Summary


def ensemble_table(summary: Summary) -> list[list[str]]:
    """Return the scores of the ensemble, of its best member alone and of the best trial; the heading is first.

    Returns:
        Empty without an ensemble.
    """
    ensemble, best = summary.ensemble, summary.champion
    if ensemble is None or best is None:
        return []
    names = _names(ensemble, best)
    rows = [
        ("ensemble", ensemble.described, ensemble.scores),
        ("its best member", ensemble.first, ensemble.single),
        ("best trial", best.label, best.metrics),
    ]
    cells = [[format_value(scores[name]) if name in scores else MISSING for name in names] for *_, scores in rows]
    return [["", "trials", *names], *([what, which, *row] for (what, which, _), row in zip(rows, cells, strict=True))]


def ensemble_line(summary: Summary) -> str | None:
    """Return a sentence on what the ensemble gains; None without one."""
    ensemble, best = summary.ensemble, summary.champion
    if ensemble is None or best is None:
        return None
    first, of = ensemble.first, summary.spec.metric.of
    known = ensemble.scores.keys() & ensemble.single.keys()
    name = next((n for n in (f"test/{of}", "test/loss", f"val/{of}", "val/loss") if n in known), None)
    if len(ensemble.members) == 1 or name is None:
        return f"No mean of several trials is better on the validation rows than {first} alone."
    others = [f"{format_value(ensemble.single[name])} of its best member {first}"]
    if best.label != first and name in best.metrics:
        others.append(f"{format_value(best.metrics[name])} of the best trial {best.label}")
    against = f"against {' and '.join(others)}"
    score = f"{name} {format_value(ensemble.scores[name])}"
    return f"The ensemble of {ensemble.described}: {score}, {against}."


def ensemble_content(ensemble: StoredEnsemble | None) -> dict[str, Any] | None:
    """Return an ensemble for JSON."""
    if ensemble is None:
        return None
    return {
        "size": ensemble.size,
        "candidates": len(ensemble.candidates),
        "members": [{"trial": "{}/{}".format(*key), "count": count} for key, count in ensemble.members.items()],
        "metrics": dict(ensemble.scores),
        "best_member": dict(ensemble.single),
    }


def _names(ensemble: StoredEnsemble, best: Trial) -> list[str]:
    """Return the scores to show: those that trials have, on validation and on test rows."""
    kinds = [name.partition("/")[2] for name in best.metrics if name.startswith("val/") and name in ensemble.scores]
    kinds = kinds or ["loss"]
    return [f"{part}/{kind}" for part in ("val", "test") for kind in kinds if f"{part}/{kind}" in ensemble.scores]
