"""The contents of a trial's run: tags, parameters and metrics, all derived from the trial."""

import json
from collections.abc import Mapping
from math import isfinite, log10
from typing import NamedTuple, Self, final

from hpsearch.core.space import Axis
from hpsearch.core.text import masked
from hpsearch.storage.records import Trial, checked_every
from hpsearch.tracking.base import StudyInfo
from hpsearch.tracking.mlflow.tags import (
    OBJECTIVE_METRIC,
    ORDINAL_METRIC,
    STAGE_TAG,
    STATE_TAG,
    TRIAL_TAG,
    param_name,
)

CHAMPION_METRICS = ("test/", "fit/")  # prefixes of scores that only the champion has
# Maximum points of one curve. Each takes 310 bytes and 0.065 ms of CPU; 24 would exceed 35 kB for four curves.
CURVE_POINTS = 23
RUN_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}


class MetricPoint(NamedTuple):
    """A metric at a step; `timestamp` is a Unix time in milliseconds."""

    key: str
    value: float
    timestamp: int
    step: int


@final
class InputDataset(NamedTuple):
    """The study's data as an MLflow dataset, which an experiment stores once."""

    name: str
    digest: str
    source_type: str
    source: str
    profile: str

    @classmethod
    def of(cls, study: StudyInfo) -> Self | None:
        """Return the dataset of a study; None if its fingerprint is unknown."""
        digest, data = study.properties.get("data"), study.spec.data
        if not digest or data is None:
            return None
        name, size = study.data_name, {f"num_{what}": count for what, count in study.data_size.items()}
        source = json.dumps({"source": data.source, "name": name})
        return cls(name[:500], digest[:36], data.source, source, json.dumps(size))


@final
class RunContent(NamedTuple):
    """All values of a run; `start` and `end` are Unix times in milliseconds."""

    name: str
    status: str
    start: int
    end: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: list[MetricPoint]

    @classmethod
    def of(cls, trial: Trial, axes: tuple[Axis, ...], earlier: Mapping[str, int], common_tags: dict[str, str]) -> Self:
        """Return the run of a finished trial.

        Args:
            axes: the searched parameters.
            earlier: stage → number of trials in the stages before it.
            common_tags: tags of every run.
        """
        start, end = run_times(trial)
        metrics, dropped = _metrics(trial, start, end)
        if trial.stage in earlier:
            metrics.append(MetricPoint(ORDINAL_METRIC, earlier[trial.stage] + trial.number + 1, end, 0))
        tags = common_tags | _tags(trial, dropped)
        return cls(trial.label, RUN_STATUS[trial.state], start, end, tags, _params(trial, axes), metrics)


def run_times(trial: Trial) -> tuple[int, int]:
    """Return start and end as Unix times in milliseconds, derived from the trial, so a repeated upload adds nothing."""
    end = round(trial.finished * 1000)
    return end - round(trial.seconds * 1000), end


def _tags(trial: Trial, dropped: int) -> dict[str, str]:
    tags = {TRIAL_TAG: trial.label, STAGE_TAG: trial.stage, STATE_TAG: trial.state}
    tags |= {"hpsearch.dropped": f"{dropped} values were not finite"} if dropped else {}
    tags |= {"hpsearch.error": masked(trial.error)} if trial.error else {}
    tags |= {"hpsearch.copied_from": trial.copied_from} if trial.copied_from else {}
    tags |= {"hpsearch.machine": trial.machine} if trial.machine else {}
    return tags


def _params(trial: Trial, axes: tuple[Axis, ...]) -> dict[str, str]:
    """Return the point and, for axes on a log scale, log10 of the internal value."""
    params = {name: str(value) for name, value in trial.point.items()}
    for axis in axes:
        if axis.log and axis.key in trial.internal_params:
            params[param_name(axis)] = f"{log10(float(trial.internal_params[axis.key])):.6g}"
    return params


def _metrics(trial: Trial, start: int, end: int) -> tuple[list[MetricPoint], int]:
    """Return single values and thinned curves, and the number of curve values dropped because they are not finite.

    MLflow stores infinity as 1.8e308 and does not show NaN.
    """
    single = {f"best/{name}": value for name, value in trial.metrics.items() if not name.startswith(CHAMPION_METRICS)}
    single |= {"epochs": trial.epochs, "seconds": trial.seconds}
    if trial.state == "complete" and trial.value is not None:
        single |= {OBJECTIVE_METRIC: trial.value, "best_epoch": trial.best_epoch}
    points = [MetricPoint(name, float(value), end, 0) for name, value in single.items()]
    dropped, every = 0, checked_every(trial.epochs, trial.history)
    for name, values in trial.history.items():
        for i in thinned(len(values), trial.best_epoch // every - 1):
            if isfinite(values[i]):
                time = start + (end - start) * (i + 1) // len(values)
                points.append(MetricPoint(name, values[i], time, (i + 1) * every))
        dropped += sum(not isfinite(v) for v in values)
    return points, dropped


def thinned(length: int, best: int) -> list[int]:
    """Return at most `CURVE_POINTS` indices of a curve, including the first, the last and `best`.

    Their epochs are evenly spaced on a log scale, because curves change most at their start.
    """
    indices, epoch = set[int](), 0
    for left in range(min(length, CURVE_POINTS) - 1, -1, -1):
        # The next epoch of a geometric series that reaches `length` in `left` more steps.
        epoch = max(epoch + 1, round(epoch * (length / epoch) ** (1 / (left + 1)))) if epoch else 1
        indices.add(epoch - 1)
    if 0 <= best < length and best not in indices:
        indices -= {min(indices - {0, length - 1}, key=lambda i: abs(i - best))}
        indices |= {best}
    return sorted(indices)


def history_json(trial: Trial) -> str:
    """Return all curves of a trial, not thinned; values that are not finite are null."""
    return json.dumps({name: [v if isfinite(v) else None for v in values] for name, values in trial.history.items()})
