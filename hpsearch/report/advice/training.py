"""Advice on training: more epochs, trials that diverged, and what is against bias or variance."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from engine.analysis.diagnosis import Diagnosis
from hpsearch.config.practice.roles import REGULARIZERS, SIZES, range_text, settings_of
from hpsearch.config.spec import AnyTraining, Train
from hpsearch.core.space import Range
from hpsearch.core.text import format_value
from hpsearch.report.advice.change import Advice, ProposedChange
from hpsearch.report.advice.ranges import rounded_value, widened
from hpsearch.search.statistics.trends import Trend, searched_trials
from hpsearch.storage.records import Trial, checked_every, ranked

if TYPE_CHECKING:
    from hpsearch.study.summary import Summary


LAST_PART = 0.2  # of the epochs, in which the metric must still improve
STILL_IMPROVING = 0.005  # smallest relative improvement in this part
AGREEING_TRIALS = 5  # of which most must agree
MANY_DIVERGED = 0.1  # share of the trials
DECAYING = ("cosine", "polynomial")  # schedules that end with the last epoch, which is therefore usually the best


def epochs_advice(summary: "Summary") -> Iterator[Advice]:
    """Yield advice to train longer if the best trials were still improving in their last epochs."""
    best, train = summary.champion, summary.spec.train
    if best is None or train.stop is not None or _decays(train):
        return
    gain = _late_gain(summary, best, train)
    if gain is None:
        return
    full = ranked(
        (t for t in searched_trials(summary.spec, summary.trials)), summary.spec.metric.sign, summary.spec.stage_names
    )
    full = [t for t in full if t.epochs == train.epochs][:AGREEING_TRIALS]
    agreeing = sum(_late_gain(summary, t, train) is not None for t in full)
    if 2 * agreeing < len(full):
        return
    metric, last = summary.spec.metric.monitored, best.epochs
    others = f", and so do {agreeing} of the best {len(full)} trials with as many" if len(full) > 1 else ""
    yield Advice(
        "epochs",
        f"The best epoch of {best.label} is its last one, {last} of {last}, and its {metric} improved by {gain:.1%}"
        f" in the last fifth{others}",
        (ProposedChange("train.epochs", 2 * train.epochs, train.epochs),),
    )


def _decays(train: AnyTraining) -> bool:
    return isinstance(train, Train) and train.schedule.name in DECAYING


def _late_gain(summary: "Summary", trial: Trial, train: AnyTraining) -> float | None:
    """Return the relative improvement in the last part of a full training; None if it has ended before."""
    curve = trial.history.get(summary.spec.metric.monitored, [])
    if trial.epochs != train.epochs or len(curve) < 5 or not all(map(math.isfinite, curve)):
        return None
    sign = summary.spec.metric.sign
    best = min(range(len(curve)), key=lambda k: sign * curve[k])
    if best != len(curve) - 1 or checked_every(trial.epochs, trial.history) * len(curve) != trial.epochs:
        return None
    before = min(sign * v for v in curve[: max(1, round(len(curve) * (1 - LAST_PART)))])
    gain = (before - sign * curve[-1]) / max(abs(before), 1e-12)
    return gain if gain >= STILL_IMPROVING else None


def divergence_advice(summary: "Summary") -> Iterator[Advice]:
    """Yield advice if many trials diverged: a smaller learning rate, unless the best trial has such a large one."""
    trials = [t for stage in summary.trials for t in stage]
    diverged = [t for t in trials if t.state == "diverged"]
    if not trials or len(diverged) < MANY_DIVERGED * len(trials):
        return
    text = f"{len(diverged)} of {len(trials)} trials diverged ({len(diverged) / len(trials):.0%})"
    for setting in settings_of(summary.spec, "learning_rate"):
        if setting.parameter is None or not setting.searched:
            rate = setting.value
            if isinstance(rate, int | float):
                new = rounded_value(rate / 10)
                yield Advice("diverged", f"{text} at learning_rate {rate:g}", (ProposedChange(setting.key, new, rate),))
                return
            continue
        rates = [float(r) for t in diverged if isinstance(r := t.point.get(setting.parameter), int | float)]
        stable = [
            float(r) for t in trials if t.state == "complete" and isinstance(r := setting.at(t.point), int | float)
        ]
        if rates:
            text += f", all with {setting.parameter} of {format_value(min(rates))} or more"
        change = _lower_end(summary, setting.parameter, rates, stable)
        if change is not None:
            yield Advice("diverged", f"{text}; complete trials have at most {format_value(max(stable))}", (change,))
            return
    clip = isinstance(summary.spec.train, Train) and summary.spec.train.clip is None
    changes = (ProposedChange("train.clip", {"name": "norm", "limit": 1.0}, certain=False),) if clip else ()
    yield Advice("diverged", text, changes)


def _lower_end(summary: "Summary", name: str, diverged: list[float], stable: list[float]) -> ProposedChange | None:
    """Return the change that lowers the end of a range to what completed; None if that would not help."""
    parameter = summary.spec.parameters[name]
    if not isinstance(parameter, Range) or not stable or not diverged:
        return None
    most = max(stable)
    above = sum(rate > most for rate in diverged)
    best = summary.champion.point.get(name) if summary.champion else None
    end = rounded_value(most * 1.05)
    if 2 * above < len(diverged) or not parameter.min < end < parameter.max:
        return None
    if isinstance(best, int | float) and best > end:
        return None
    old = range_text(summary.spec, name)
    return ProposedChange(f"parameters.{name}", {**old, "max": end}, old, name, -1)


def fit_advice(summary: "Summary", diagnosis: Diagnosis | None, found: Mapping[str, Trend]) -> Iterator[Advice]:
    """Yield advice against high bias or high variance that trials of this study support, or what to search."""
    if diagnosis is None or summary.champion is None:
        return
    if diagnosis.high_bias:
        against = [
            *_against(summary, found, "high bias", SIZES, +1),
            *_against(summary, found, "high bias", REGULARIZERS, -1),
        ]
        yield from against
        sizes = settings_of(summary.spec, *SIZES)
        if sizes and not against and not any(s.searched for s in sizes):
            yield _search_size(summary)
    if diagnosis.high_variance:
        yield from _against(summary, found, "high variance", REGULARIZERS, +1)
        if not diagnosis.high_bias:
            yield from _against(summary, found, "high variance", SIZES, -1)
        if not any(s.searched for s in settings_of(summary.spec, *REGULARIZERS)) and isinstance(
            summary.spec.train, Train
        ):
            change = ProposedChange(
                "parameters.l2", {"min": 1e-6, "max": 1e-1, "scale": "log"}, certain=_can_add_l2(summary)
            )
            yield Advice("variance", "The variance is high, and no regularization is searched", (change,))


def _against(
    summary: "Summary", found: Mapping[str, Trend], what: str, roles: tuple[str, ...], direction: int
) -> Iterator[Advice]:
    """Yield advice to widen a range in a direction in which trials did better significantly."""
    for setting in settings_of(summary.spec, *roles):
        trend = found.get(setting.parameter or "")
        if trend is None or trend.direction != direction:
            continue
        axis = next((a for a in summary.space.axes if a.name == trend.name), None)
        best = None if axis is None or summary.champion is None else summary.champion.internal_params.get(axis.key)
        if axis is None or best is None or isinstance(best, str):
            continue
        scaled = [
            axis.to_scaled(v)
            for t in searched_trials(summary.spec, summary.trials)
            if (v := t.internal_params.get(axis.key)) is not None
        ]
        upper = direction > 0
        extreme = max(scaled, default=0.0) if upper else min(scaled, default=0.0)
        share = (axis.to_scaled(best) - axis.to_scaled(axis.low)) / (
            axis.to_scaled(axis.high) - axis.to_scaled(axis.low)
        )
        # Nothing lies beyond the best trial, or it lies in the outer quarter of the range.
        at_end = axis.to_scaled(best) == extreme or (share > 0.75 if upper else share < 0.25)
        change = widened(summary, axis, upper=upper)
        if at_end and change is not None:
            yield Advice("fit", f"Against {what}: {trend}", (change,))


def _search_size(summary: "Summary") -> Advice:
    """Return the advice to search the size of the network, which is fixed."""
    setting = settings_of(summary.spec, *SIZES)[0]
    value = setting.value
    text = f"The bias is high, and the size of the network is fixed ({setting.role} {value}): search it"
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or setting.parameter is not None:
        new = {"type": "int", "min": 1, "max": 64, "scale": "log"}
        return Advice("size", text, (ProposedChange(setting.key, new, value, certain=isinstance(value, int)),))
    name = f"searched_{setting.role}"
    new = {"type": "int", "min": value, "max": max(16 * value, 16), "scale": "log"}
    return Advice("size", text, (ProposedChange(setting.key, name, value), ProposedChange(f"parameters.{name}", new)))


def _can_add_l2(summary: "Summary") -> bool:
    """Return whether a parameter `l2` would be used: no setting has a value of its own."""
    train = summary.spec.train
    return isinstance(train, Train) and train.l2 is None and "l2" not in summary.spec.parameters
