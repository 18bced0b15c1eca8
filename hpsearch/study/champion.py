"""The end of a study: the champion's test scores, its diagnostics and its model."""

from collections.abc import Sequence
from pathlib import Path

from hpsearch.core.seeds import derive
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.models.diagnostics import Diagnostics, diagnose
from hpsearch.models.export import champion_model
from hpsearch.search.champion import with_test_scores
from hpsearch.search.confirm import train_seed
from hpsearch.storage.records import StoredWeights, Trial
from hpsearch.study.context import StudyContext, StudyState
from hpsearch.study.dispatcher import COLLECT_TIMEOUT, Dispatcher
from hpsearch.training.scores import final_scores
from hpsearch.training.task import Outcome, Task, TrialTask


def score_champion(context: StudyContext, state: StudyState) -> None:
    """Score the champion's weights on the test rows and store the scores, unless they are stored."""
    champion, storage = state.champion, context.storage
    if champion is None:
        return
    stored = storage.weights.find(champion)
    scores = stored.test if stored else None
    if scores is None:
        weights = stored.weights if stored else _retrain(context, state, champion)
        if weights is None:
            return
        scores = final_scores(context.spec, context.dataset, champion.point, weights)
        storage.weights.save_champion(StoredWeights(*champion.key, weights, scores))
    stage = context.spec.stage_names.index(champion.stage)
    state.trials[stage][champion.number] = with_test_scores(champion, scores)


def _retrain(context: StudyContext, state: StudyState, champion: Trial) -> bytes | None:
    """Train the champion again for its weights, which are missing when its outcome is copied from another study.

    Its seed and therefore its weights are those of the original trial.
    """
    spec = context.spec
    task = TrialTask(champion.number, champion.point, _seed(context, state, champion))
    dispatcher = Dispatcher(context.executor, context.stop)
    dispatcher.queue(0, [Task(spec, context.dataset, (task,), spec.train.epochs)])
    outcomes: list[Outcome] = []
    while not outcomes:
        dispatcher.submit()
        outcomes, error = dispatcher.collect(COLLECT_TIMEOUT)
        context.storage.lease.heartbeat()
        if error is not None:
            raise dispatcher.halted(error) from error
    ((result,),) = outcomes
    if result.value != champion.value:
        difference = result.error or f"its value was {result.value}, not {champion.value}"
        state.notes.append(f"{champion.label} was trained again for its weights: {difference}")
    return result.weights


def _seed(context: StudyContext, state: StudyState, champion: Trial) -> int:
    """Return the training seed of the champion, or of the trial that its outcome is copied from."""
    spec = context.spec
    names = spec.stage_names
    if champion.copied_from is None and champion.stage in names:
        stage = names.index(champion.stage)
        return train_seed(spec, spec.stages[stage], champion.number, len(state.trials[stage]))
    name, number = (champion.copied_from or champion.label).rpartition(":")[2].rsplit("/", 1)
    return derive(spec.seed, name, int(number), "train")


def store_diagnostics(
    context: StudyContext, champion: Trial | None, prepared: Sequence[tuple[Preprocessing, ...]]
) -> None:
    """Store the champion's diagnostics, unless they are stored, so that a report does not need the data.

    Without test scores, nothing is stored: the study has not ended.

    Args:
        prepared: for each preprocessing variant, the preprocessing of each fold.
    """
    stored = context.storage.weights.find(champion)
    if champion is None or stored is None or stored.test is None or Diagnostics.from_bytes(stored.diagnostics):
        return
    dataset = context.dataset.at(champion.point)
    diagnostics = diagnose(context.spec, dataset, prepared[dataset.number], champion.point, stored.weights)
    context.storage.weights.save_diagnostics(champion, diagnostics.to_bytes())


def save_model(context: StudyContext, champion: Trial | None, folder: Path) -> Path | None:
    """Save the champion's model in a folder; return the folder, or None if the weights are not stored."""
    stored = context.storage.weights.find(champion)
    if champion is None or stored is None:
        return None
    champion_model(context.spec, context.storage, champion, stored).save(folder, example=True)
    return folder
