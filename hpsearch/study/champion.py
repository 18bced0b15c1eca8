"""The end of a study: the champion's test scores, its diagnostics and its model."""

from collections.abc import Sequence
from pathlib import Path

from hpsearch.config.spec import EstimatorTraining
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.models.diagnostics import Diagnostics, diagnose
from hpsearch.models.export import champion_model, ensemble_model
from hpsearch.models.predictors.build import build_predictor, has_predictor
from hpsearch.search.champion import with_test_scores
from hpsearch.storage.records import StoredEnsemble, StoredWeights, Trial
from hpsearch.study.context import StudyContext, StudyState
from hpsearch.study.ending.retraining import retrained, usable_weights
from hpsearch.training.objectives import objective_of
from hpsearch.training.objectives.stored_estimator import trusted_by_name


def score_champion(context: StudyContext, state: StudyState) -> None:
    """Score the champion's weights on the test rows and store the scores, unless they are stored."""
    champion, storage = state.champion, context.storage
    if champion is None:
        return
    stored = usable_weights(context, champion)
    scores = stored.test if stored else None
    if scores is None:
        weights = stored.weights if stored else _weights_again(context, state, champion)
        if weights is None:
            return
        objective = objective_of(context.spec)
        scores = objective.final_scores(context.spec, context.dataset, champion.point, weights, champion.metrics)
        storage.weights.save_champion(StoredWeights(*champion.key, weights, scores))
        state.kept.add(champion.key)
    stage = context.spec.stage_names.index(champion.stage)
    state.trials[stage][champion.number] = with_test_scores(champion, scores)


def _weights_again(context: StudyContext, state: StudyState, champion: Trial) -> bytes | None:
    return next((weights for _, weights in retrained(context, state, [champion])), None)


def store_diagnostics(
    context: StudyContext, champion: Trial | None, prepared: Sequence[tuple[Preprocessing, ...]]
) -> None:
    """Store the champion's diagnostics, unless they are stored, so that a report does not need the data.

    Without test scores, nothing is stored: the study has not ended.

    Args:
        prepared: for each preprocessing variant, the preprocessing of each fold.
    """
    stored = context.storage.weights.find(champion)
    if not has_predictor(context.spec):
        return
    if champion is None or stored is None or stored.test is None or Diagnostics.from_bytes(stored.diagnostics):
        return
    spec, dataset = context.spec, context.dataset.at(champion.point)
    folds = prepared[dataset.number]
    trusted = trusted_by_name(spec.train.estimator) if isinstance(spec.train, EstimatorTraining) else ()
    predictor = build_predictor(spec, dataset, len(folds), champion, stored.weights, trusted)
    diagnostics = diagnose(spec, dataset, folds, champion.point, predictor)
    context.storage.weights.save_diagnostics(champion, diagnostics.to_bytes())


def save_model(context: StudyContext, champion: Trial | None, folder: Path) -> Path | None:
    """Save the champion's model in a folder; return the folder, or None if the weights are not stored."""
    stored = context.storage.weights.find(champion)
    if champion is None or stored is None or not has_predictor(context.spec):
        return None
    champion_model(context.spec, context.storage, champion, stored).save(folder, example=True)
    return folder


def save_ensemble(
    context: StudyContext, ensemble: StoredEnsemble | None, trials: Sequence[Sequence[Trial]], folder: Path
) -> Path | None:
    """Save the ensemble's model in a folder; return the folder, or None without an ensemble."""
    if ensemble is None:
        return None
    ensemble_model(context.spec, context.storage, ensemble, trials).save(folder, example=True)
    return folder
