"""The end of a study with an ensemble: members are selected on the validation rows, then scored on the test rows."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from engine.types import Floats
from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import DTYPE
from hpsearch.data.sources.base import Part
from hpsearch.errors import Interrupted
from hpsearch.models.members import weighted_mean
from hpsearch.search.ensemble import ensemble_candidates, select_members
from hpsearch.storage.records import StoredEnsemble, StoredWeights, Trial
from hpsearch.study.ending.retraining import retrained, usable_weights
from hpsearch.training.scores import part_outputs, prediction_score, prediction_scores

if TYPE_CHECKING:
    from hpsearch.study.context import StudyContext, StudyState


def score_ensemble(context: "StudyContext", state: "StudyState") -> None:
    """Select the study's ensemble and store it with its scores, unless it is stored.

    The candidates follow from the finished trials, their weights from their seeds, and the members from the validation
    rows. So a step that a kill interrupts is repeated with the same result.
    """
    spec, dataset, table = context.spec, context.dataset, context.storage.ensemble
    stored = state.ensemble
    candidates = _candidates(context, state)
    size, keys = spec.ensemble.size if spec.ensemble else 0, tuple(t.key for t in candidates)
    whole = stored is not None and stored.members.keys() <= state.kept  # else weights are lost: selected again
    if stored is not None and whole and (stored.size, stored.candidates) == (size, keys):
        return
    if stored is not None:
        state.ensemble = None
        table.save(None)
    if len(candidates) < 2:
        if spec.ensemble is not None:
            state.notes.append(f"no ensemble: it is selected from two or more complete trials, got {len(candidates)}")
        return
    _complete_weights(context, state, candidates)
    available = [t for t in candidates if t.key in state.kept]
    outputs = [_outputs(context, t, "val") for t in available]
    chosen = select_members(outputs, _loss(context), size)
    if not chosen:
        state.notes.append("no ensemble: no trial predicts the validation rows with a finite score")
        return
    members = {available[place].key: count for place, count in chosen.items()}
    counts, first = list(chosen.values()), next(iter(chosen))
    scores = scores_on_val(spec, dataset, weighted_mean([outputs[place] for place in chosen], counts))
    single = scores_on_val(spec, dataset, outputs[first])
    if dict(dataset.rows)["test"]:
        tested = [_test_outputs(context, available[place]) for place in chosen]
        scores |= scores_on_test(spec, dataset, weighted_mean(tested, counts))
        single |= scores_on_test(spec, dataset, tested[0])
    state.ensemble = StoredEnsemble(size, keys, members, _finite(scores), _finite(single))
    table.save(state.ensemble)


def _candidates(context: "StudyContext", state: "StudyState") -> list[Trial]:
    """Return the trials to select from: the best ones, and the champion."""
    best, champion = ensemble_candidates(context.spec, state.trials), state.champion
    return [*best, *([champion] if best and champion and champion.key not in {t.key for t in best} else [])]


def _complete_weights(context: "StudyContext", state: "StudyState", candidates: list[Trial]) -> None:
    """Train candidates again whose weights are not stored, or are those of another network; store their weights.

    Weights are missing when outcomes are copied from another study, or the ensemble is asked for later.
    """
    state.kept -= {t.key for t in candidates if usable_weights(context, t) is None}
    missing = [t for t in candidates if t.key not in state.kept]
    for trial, weights in retrained(context, state, missing):
        context.storage.weights.add(StoredWeights(*trial.key, weights, None))
        state.kept.add(trial.key)


def _outputs(context: "StudyContext", trial: Trial, part: Part, *, by_row: bool = False) -> Floats:
    """Return the predictions of a trial whose weights are stored; see `part_outputs`."""
    _check_stop(context)
    stored = usable_weights(context, trial)
    assert stored is not None
    return part_outputs(context.spec, context.dataset, trial.point, stored.weights, part, by_row=by_row)


def _check_stop(context: "StudyContext") -> None:
    """Renew the lease, and raise `Interrupted` if the study is asked to stop."""
    if context.stop():
        raise Interrupted
    context.storage.lease.heartbeat()


def _test_outputs(context: "StudyContext", trial: Trial) -> Floats:
    """Return the mean of the predictions of all folds, `(1, rows, outputs)`, as the model computes it."""
    outputs = _outputs(context, trial, "test", by_row=True)
    return outputs if len(outputs) == 1 else outputs.mean(axis=0, dtype=np.float64, keepdims=True).astype(outputs.dtype)


def _loss(context: "StudyContext") -> Callable[[Floats], float]:
    """Return the function that the selection minimizes: the study's metric on the validation rows, or their loss."""
    spec, dataset = context.spec, context.dataset
    metric = spec.metric.of if str(spec.metric.name).startswith("val/") else "loss"
    sign = spec.metric.sign if metric != "loss" else 1
    truth = _truth(dataset, "val")

    def loss(predicted: Floats) -> float:
        _check_stop(context)
        folds = zip(_standardized(dataset, predicted), truth, strict=True)
        scores = [
            prediction_score(metric, spec, dataset, p, y, unit)
            for (p, y), unit in zip(folds, dataset.units, strict=True)
        ]
        return sign * float(np.mean(scores))

    return loss


def _truth(dataset: Dataset, part: Part) -> Floats:
    """Return the targets of a part, `(folds, rows, outputs)`."""
    rows = dataset.part(part)
    assert rows is not None
    return rows.y.reshape(dataset.folds, len(rows), -1)


def _standardized(dataset: Dataset, predicted: Floats) -> Floats:
    """Return predictions `(folds, rows, outputs)` in the form of the targets; a single fold has the first unit."""
    if dataset.classes:
        return predicted.astype(DTYPE)
    units = dataset.units[: len(predicted)]
    center, unit = (np.array(numbers)[:, None, None] for numbers in zip(*units, strict=True))
    standardized: Floats = (predicted - center) / unit
    return standardized


def scores_on_val(spec: Spec, dataset: Dataset, predicted: Floats) -> dict[str, float]:
    """Return all metrics of predictions of the validation rows, `(folds, rows, outputs)`, as means over the folds."""
    pairs = zip(_standardized(dataset, predicted), _truth(dataset, "val"), strict=True)
    folds = [prediction_scores(spec, dataset, p, y, unit) for (p, y), unit in zip(pairs, dataset.units, strict=True)]
    return {f"val/{name}": float(np.mean([scores[name] for scores in folds])) for name in folds[0]}


def scores_on_test(spec: Spec, dataset: Dataset, predicted: Floats) -> dict[str, float]:
    """Return all metrics of predictions of the test rows, `(1, rows, outputs)`."""
    scores = prediction_scores(
        spec, dataset, _standardized(dataset, predicted)[0], _truth(dataset, "test")[0], dataset.units[0]
    )
    return {f"test/{name}": value for name, value in scores.items()}


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if isfinite(value)}
