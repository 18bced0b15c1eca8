"""What MLflow is told of a trial: its run's tags, parameters and numbers, all derived from its record."""

import json
from collections.abc import Mapping
from math import isfinite, log10
from pathlib import Path
from typing import NamedTuple, Self, final

import numpy as np

from hpsearch.core.space import Axis
from hpsearch.core.text import masked
from hpsearch.storage.records import Trial, checked_every
from hpsearch.tracking.base import StudyInfo
from hpsearch.tracking.mlflow.description import data_name
from hpsearch.tracking.mlflow.saved_view import METRIC, ORDINAL, logarithm

FINAL = ("test/", "fit/")  # scores of the champion alone
POINTS = 20  # of a curve: every one costs 270 bytes for ever; the whole history is an artifact
STATUS = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
TAG, STATE = "hpsearch.trial", "hpsearch.state"


class Number(NamedTuple):
    """A metric at a step; time in milliseconds."""

    key: str
    value: float
    timestamp: int
    step: int


@final
class Data(NamedTuple):
    """The data as MLflow's data set, which it has once for all runs."""

    name: str
    digest: str
    kind: str
    source: str
    profile: str
    context: str = "training"

    @classmethod
    def of(cls, subject: StudyInfo) -> Self | None:
        """None where no fingerprint is known."""
        digest, spec = subject.facts.get("data"), subject.spec
        if not digest:
            return None
        name, known = data_name(spec), {f"num_{what}": count for what, count in subject.known.items()}
        source = json.dumps({"source": spec.data.source, "name": name})
        return cls(name[:500], digest[:36], spec.data.source, source, json.dumps(known))


@final
class Content(NamedTuple):
    """A run, whole; times in milliseconds."""

    name: str
    status: str
    start: int
    end: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: list[Number]

    @classmethod
    def of(cls, record: Trial, axes: tuple[Axis, ...], before: Mapping[str, int], common: dict[str, str]) -> Self:
        """Of a finished trial.

        Args:
            axes: what is searched.
            before: stage → trials of the stages before it.
            common: tags of every run.
        """
        start, end = times(record)
        metrics, dropped = _metrics(record, start, end)
        if record.stage in before:
            metrics.append(Number(ORDINAL, before[record.stage] + record.number + 1, end, 0))
        tags = common | _tags(record, dropped)
        return cls(record.label, STATUS[record.state], start, end, tags, _params(record, axes), metrics)


def times(record: Trial) -> tuple[int, int]:
    """Start and end in milliseconds: the record's, so that what is sent again is the same."""
    end = round(record.finished * 1000)
    return end - round(record.seconds * 1000), end


def _tags(record: Trial, dropped: int) -> dict[str, str]:
    tags = {TAG: record.label, "hpsearch.stage": record.stage, STATE: record.state}
    tags |= {"hpsearch.dropped": f"{dropped} values were not finite"} if dropped else {}
    tags |= {"hpsearch.error": masked(record.error)} if record.error else {}
    tags |= {"hpsearch.origin": record.copied_from} if record.copied_from else {}
    return tags


def _params(record: Trial, axes: tuple[Axis, ...]) -> dict[str, str]:
    """Plain numbers; MLflow's charts have no log axis, so log-scaled parameters are there as log10 too."""
    params = {name: str(value) for name, value in record.point.items()}
    for axis in axes:
        if axis.log and axis.key in record.internal_params:
            params[logarithm(axis)] = f"{log10(float(record.internal_params[axis.key])):.6g}"
    return params


def _metrics(record: Trial, start: int, end: int) -> tuple[list[Number], int]:
    """What is worth a chart, and how many numbers were not finite."""
    single = {f"best/{name}": value for name, value in record.metrics.items() if not name.startswith(FINAL)}
    single |= {"epochs": record.epochs, "seconds": record.seconds}
    if record.state == "complete" and record.value is not None:
        single |= {METRIC: record.value, "best_epoch": record.best_epoch}
    rows = [Number(name, float(value), end, 0) for name, value in single.items()]
    dropped, every = 0, checked_every(record.epochs, record.history)
    for name, values in record.history.items():
        for i in thinned(len(values), record.best_epoch // every - 1):
            if isfinite(values[i]):
                at = start + (end - start) * (i + 1) // len(values)
                rows.append(Number(name, values[i], at, (i + 1) * every))
        dropped += sum(not isfinite(v) for v in values)
    return rows, dropped


def thinned(length: int, best: int) -> list[int]:
    """At most `POINTS` places of a curve: the first, the last and the best among them."""
    places = {round(i) for i in np.linspace(0, length - 1, min(length, POINTS))} if length else set()
    if 0 <= best < length and best not in places:
        places -= {min(places - {0, length - 1}, key=lambda i: abs(i - best))}
        places |= {best}
    return sorted(places)


def history(record: Trial) -> str:
    """All curves, whole, as JSON."""
    return json.dumps({name: [v if isfinite(v) else None for v in values] for name, values in record.history.items()})


@final
class Picture:
    """Losses by epoch as PNG, the best epoch marked; one figure for many trials, as making one takes longest."""

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogFormatter

        self._figure = Figure(figsize=(6, 4))
        FigureCanvasAgg(self._figure)
        self._figure.subplots_adjust(left=0.17, right=0.97, top=0.92, bottom=0.12)
        self._axes = axes = self._figure.add_subplot()
        axes.set(xlabel="epoch", ylabel="loss", yscale="log")
        axes.yaxis.set_major_formatter(LogFormatter())  # the usual one sets formulas, which takes half of the time
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        axes.grid(alpha=0.3)

    def draw(self, record: Trial, file: Path) -> None:
        """Of one trial, into a file."""
        axes, every = self._axes, checked_every(record.epochs, record.history)
        drawn = []
        for name, color in (("train/loss", "tab:blue"), ("val/loss", "tab:orange")):
            if name in record.history:
                epochs = range(every, record.epochs + 1, every)
                drawn += axes.plot(epochs, record.history[name], color=color, label=name)
        label = f"best, epoch {record.best_epoch}"
        drawn.append(axes.axvline(record.best_epoch, color="tab:green", linestyle=":", label=label))
        axes.set_title(record.label)
        axes.legend(loc="upper right")
        self._figure.savefig(file)
        for line in drawn:
            line.remove()
        axes.relim()
