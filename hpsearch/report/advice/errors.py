"""The diagnosis of a study: bias and variance of its champion, and sentences that say how far they can be trusted."""

import math
from collections.abc import Iterator, Mapping
from statistics import median
from typing import TYPE_CHECKING

from engine.analysis.diagnosis import HIGH, Diagnosis, ErrorEstimate
from hpsearch.config.practice.roles import REGULARIZERS, SIZES, StudySetting, settings_of
from hpsearch.config.spec import Train
from hpsearch.search.statistics.trends import trends
from hpsearch.storage.records import Trial

if TYPE_CHECKING:
    from hpsearch.study.summary import Summary


WIDE = 0.05  # half of the width of an interval from which its error says little


def error_of(metrics: Mapping[str, float], part: str) -> float:
    """Return 1 − accuracy, or 1 − R² of a regression; NaN without either."""
    error = 1 - metrics.get(f"{part}/accuracy", metrics.get(f"{part}/r2", math.nan))
    return max(0.0, error) if math.isfinite(error) else math.nan


def diagnosis_of(summary: "Summary", trial: Trial | None = None) -> Diagnosis | None:
    """Return bias and variance of the champion or of another trial; None for a trial that lacks the scores."""
    trial = trial or summary.champion
    if trial is None:
        return None
    train, train_dev, val, test = (_estimate(summary, trial, part) for part in ("fit", "train_dev", "val", "test"))
    if train is None or (val is None and test is None):
        return None
    base, stopped = _base_error(summary, train), _stopped_at_goal(summary)
    return Diagnosis(train, val, test, base, stopped=stopped, train_dev=train_dev)


def _estimate(summary: "Summary", trial: Trial, part: str) -> ErrorEstimate | None:
    error = error_of(trial.metrics, part)
    if not math.isfinite(error):
        return None
    measured = summary.evidence.errors.get("train" if part == "fit" else part) if summary.evidence else None
    return ErrorEstimate(error) if measured is None else ErrorEstimate(error, measured.rows, measured.deviation)


def _base_error(summary: "Summary", train: ErrorEstimate) -> float | None:
    """Return the unavoidable error: the study file's, that of the source, or a lower bound that explains the error."""
    evidence, given = summary.evidence, summary.spec.metric.base_error
    if given is not None:
        return given
    if evidence is None:
        return None
    if evidence.base_error is not None:
        return evidence.base_error
    return evidence.noise if evidence.noise and train.error - evidence.noise <= HIGH else None


def diagnosis_lines(summary: "Summary") -> list[str]:
    """Return the diagnosis of the champion in sentences; none if it lacks the scores."""
    found = diagnosis_of(summary)
    if found is None:
        return []
    text = f"{str(found)[0].upper()}{str(found)[1:]}."
    if summary.evidence is not None:
        kind = "Errors are 1 − R²" if summary.evidence.regression else "Errors are shares of wrong rows"
        text += f" {kind}, with 95% intervals."
    return [text, *_limits(summary, found)]


def _limits(summary: "Summary", found: Diagnosis) -> Iterator[str]:
    """Yield what limits the diagnosis: few rows, test against val, val below train, an unknown unavoidable error."""
    rows = summary.evidence.errors if summary.evidence else {}
    for part, estimate in (("val", found.val), ("test", found.test)):
        if estimate is not None and part in rows and estimate.interval.half_width > WIDE:
            low, high = estimate.interval[1:]
            yield f"{part} has only {rows[part].rows:,} rows: its error lies anywhere between {low:.1%} and {high:.1%}."
    against = found.test_against_val
    if found.test is not None and found.val is not None and (against.low > 0 or against.high < 0) and rows:
        more = "above" if against.value > 0 else "below"
        yield (
            f"test contradicts val: its error is {abs(against.value):.1%} {more} that of val, beyond chance"
            f" ({against.low:+.1%} to {against.high:+.1%}); "
            + (
                "val was searched, test was used once: trust test."
                if against.value > 0
                else "the test rows are easier."
            )
        )
    elif found.val is not None and found.test_gap.low > 0 and not found.val_gap.low > 0 and found.test_gap.value > HIGH:
        yield "val cannot show the gap that the test rows show: trust test."
    if found.mismatch and found.train_dev is not None:
        aside = f"Rows set aside from the training rows have an error of {found.train_dev}"
        yield f"{aside}: what val or test have beyond it is due to another distribution, not to the network."
    if found.val_below_train:
        yield _why_below(summary)
    if found.bias_unknown:
        yield _unknown_bias(summary, found)
    elif found.high_bias and (said := _sizes(summary)):
        yield said
    if _stopped_at_goal(summary):
        yield "Training stopped at train.stop.value, which decides the training error: lower it to train further."


def _why_below(summary: "Summary") -> str:
    """Return why the validation error may be below the training error, and whether regularization helped."""
    assert summary.champion is not None
    active = active_regularizers(summary)
    names = " and ".join(f"{s.parameter or s.role} {s.at(summary.champion.point)}" for s in active)
    why = [f"regularization holds back the fit to the training rows ({names})"] if active else []
    train, best = summary.spec.train, summary.champion
    if train.early_stopping is not None and best.epochs < train.epochs:
        why.append(f"early stopping ended the fit to the training rows at epoch {best.best_epoch:,}")
    if isinstance(train, Train) and train.augment:
        why.append("augmented training rows are harder")
    why.append("the val rows are easier")
    text = f"val is below train, so this is no bias: {', or '.join(why)}."
    searched = [s.parameter for s in settings_of(summary.spec, *REGULARIZERS) if s.searched and s.parameter]
    without = _without(summary, searched) if any(s.searched for s in active) else None
    own = error_of(summary.champion.metrics, "val")
    if without is not None and without > own:
        text += f" Trials without any have a median val error of {without:.1%}: it helped."
    return text


def active_regularizers(summary: "Summary") -> list[StudySetting]:
    """Return the regularizers that are above 0 at the champion."""
    best = summary.champion
    if best is None:
        return []
    values = [(s, s.at(best.point)) for s in settings_of(summary.spec, *REGULARIZERS)]
    return [s for s, value in values if isinstance(value, int | float) and value > 0]


def _without(summary: "Summary", names: list[str]) -> float | None:
    """Return the median val error of the complete trials where some parameters are 0; None without such trials."""
    if not names:
        return None
    trials = [t for trials in summary.trials for t in trials if t.state == "complete"]
    errors = [error_of(t.metrics, "val") for t in trials if all(t.point.get(name) == 0 for name in names)]
    errors = [e for e in errors if math.isfinite(e)]
    return median(errors) if errors else None


def _unknown_bias(summary: "Summary", found: Diagnosis) -> str:
    """Return what is known of the avoidable part of the training error."""
    noise = summary.evidence.noise if summary.evidence else 0.0
    text = f"How much of the training error of {found.train.error:.1%} can be avoided is not known"
    text += f", at least {noise:.1%} of wrong or varying targets cannot" if noise >= 0.001 else ""
    text += "; if you know what people or the best models reach, set metric.base_error."
    if said := _sizes(summary):
        text += f" {said}"
    if said := _beside_baselines(summary, found):
        text += f" {said}"
    return text


def _sizes(summary: "Summary") -> str:
    """Return what the trials say about the size of the network."""
    sizes = settings_of(summary.spec, *SIZES)
    if not any(s.searched for s in sizes):
        return "The size of the network was not searched, so this study cannot say whether a larger one is better."
    found = trends(summary.spec, summary.space, summary.trials)
    known = [found[s.parameter] for s in sizes if s.parameter in found]
    return f"In this study, {'; '.join(map(str, known))}." if known else ""


def _beside_baselines(summary: "Summary", found: Diagnosis) -> str:
    """Return whether a baseline on the same rows has a lower validation error, beyond chance."""
    if found.val is None or found.val.rows is None:
        return ""
    errors = {b.name: error_of(b.scores, "val") for b in summary.baselines}
    errors = {name: error for name, error in errors.items() if math.isfinite(error)}
    if not errors:
        return ""
    name = min(errors, key=errors.__getitem__)
    gap = found.val.minus(ErrorEstimate(errors[name], found.val.rows, found.val.deviation))
    if gap.low > 0:
        return f"The baseline '{name}' has a val error of {errors[name]:.1%} on the same rows, so part of it can."
    return f"No baseline does better on the same rows (best: {name}, {errors[name]:.1%})."


def _stopped_at_goal(summary: "Summary") -> bool:
    best, train = summary.champion, summary.spec.train
    goal = train.stop.value if train.stop is not None else None
    return best is not None and goal is not None and best.epochs < train.epochs
