"""Studies and trials as JSON, with numbers that are not finite as null."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpsearch.core.space import Axis, value_bounds
from hpsearch.server.queue import Submission
from hpsearch.storage.records import FINISHED, Trial

if TYPE_CHECKING:
    from hpsearch.server.live.reader import LiveStudy


def submission_content(submission: Submission) -> dict[str, Any]:
    """Return a submission as JSON."""
    hidden = ("number", "attempts", "files")
    return {name: value for name, value in submission._asdict().items() if name not in hidden}


def study_content(submission: Submission, study: "LiveStudy | None") -> dict[str, Any]:
    """Return the state of a study as JSON: without trials, so that it stays small.

    Args:
        study: None before its process has begun.
    """
    content = submission_content(submission)
    if study is None:
        unknown: dict[str, Any] = dict.fromkeys(("metric", "direction", "planned", "best"))
        return content | unknown | {"stages": [], "finished": 0, "axes": []}
    axes = study.space.axes
    stages = []
    for stage in study.stages:
        box = {axis.name: list(value_bounds(axis, stage.box)) for axis in axes} if stage.box is not None else None
        states: dict[str, int] = {state: stage.states.get(state, 0) for state in FINISHED}
        stages.append({"name": stage.name, "planned": stage.planned, "begun": stage.begun, **states, "box": box})
    return content | {
        "metric": study.spec.metric.name,
        "direction": "minimize" if study.spec.metric.sign > 0 else "maximize",
        "stages": stages,
        "finished": sum(stage.states.get(state, 0) for stage in study.stages for state in FINISHED),
        "planned": sum(stage.planned for stage in study.stages),
        "best": trial_content(study.champion) if study.champion else None,
        "axes": [_axis_content(axis) for axis in axes],
    }


def _axis_content(axis: Axis) -> dict[str, Any]:
    scale = "one_minus_log" if axis.complement and axis.log else "log" if axis.log else "linear"
    return {"name": axis.name, "scale": scale, "choices": list(axis.choices) or None}


def trial_content(trial: Trial, *, curve: str | None = None) -> dict[str, Any]:
    """Return a trial as JSON.

    Args:
        curve: the curve to include; None for none.
    """
    content: dict[str, Any] = {
        "label": trial.label,
        "stage": trial.stage,
        "number": trial.number,
        "state": trial.state,
        "value": _finite(trial.value),
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 3),
        "params": dict(trial.point),
        "metrics": _finite_values(trial.metrics),
        "error": trial.error,
    }
    if curve is not None:
        content["curve"] = [_finite(value) for value in trial.history.get(curve, [])]
    return content


def encoded(content: Any) -> bytes:
    """Return JSON in its shortest form."""
    return json.dumps(content, separators=(",", ":")).encode()


def event(kind: str, content: Any, id: int | None = None) -> bytes:
    """Return a server-sent event."""
    named = b"" if id is None else b"id: %d\n" % id
    return named + b"event: " + kind.encode() + b"\ndata: " + encoded(content) + b"\n\n"


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


def _finite_values(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in values.items()}


def shortened(curve: Sequence[float], most: int) -> tuple[list[float | None], int]:
    """Return at most `most` entries of a curve, with six digits, and the number of entries that each stands for.

    Each is the last of as many; the last one is kept.
    """
    step = -(-len(curve) // most) or 1
    kept = [*curve[step - 1 :: step], *(curve[-1:] if len(curve) % step else ())]
    return [None if (known := _finite(value)) is None else float(f"{known:.6g}") for value in kept], step
