"""Training of finished trials again, for weights that are not stored."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from hpsearch.core.seeds import derive
from hpsearch.search.confirm import train_seed
from hpsearch.storage.records import StoredWeights, Trial
from hpsearch.study.dispatcher import COLLECT_TIMEOUT, Dispatcher
from hpsearch.training.objectives import objective_of
from hpsearch.training.task import Task, TrialTask

if TYPE_CHECKING:
    from hpsearch.study.context import StudyContext, StudyState


def usable_weights(context: "StudyContext", trial: Trial) -> StoredWeights | None:
    """Return the stored weights of a trial; None if there are none, or if they do not fit its networks."""
    stored = context.storage.weights.find(trial)
    if stored is None:
        return None
    whole = objective_of(context.spec).is_whole(context.spec, context.dataset, trial.point, stored.weights)
    return stored if whole else None


def retrained(context: "StudyContext", state: "StudyState", trials: Sequence[Trial]) -> Iterator[tuple[Trial, bytes]]:
    """Train complete trials again for their weights, which are missing when an outcome is copied from another study.

    Their seeds and therefore their weights are those of the original trials. Each is yielded as soon as it is trained;
    a trial that fails is left out.
    """
    for stage in dict.fromkeys(t.stage for t in trials):
        yield from _retrained(context, state, {t.number: t for t in trials if t.stage == stage})


def _retrained(
    context: "StudyContext", state: "StudyState", trials: Mapping[int, Trial]
) -> Iterator[tuple[Trial, bytes]]:
    """Train trials of one stage again; they are given by number."""
    spec = context.spec
    dispatcher = Dispatcher(context.executor, context.stop)
    for number, trial in trials.items():
        task = TrialTask(number, trial.point, _seed(context, state, trial))
        dispatcher.queue(0, [Task(spec, context.dataset, (task,), spec.train.epochs, code=context.code)])
    left = len(trials)
    while left:
        dispatcher.submit()
        outcomes, error = dispatcher.collect(COLLECT_TIMEOUT)
        state.notes += context.executor.notes()
        context.storage.lease.heartbeat()
        for (result,) in outcomes:
            trial, left = trials[result.number], left - 1
            if result.value != trial.value:
                difference = result.error or f"its value was {result.value}, not {trial.value}"
                state.notes.append(f"{trial.label} was trained again for its weights: {difference}")
            if result.weights is not None:
                yield trial, result.weights
        if error is not None:
            raise dispatcher.halted(error) from error


def _seed(context: "StudyContext", state: "StudyState", trial: Trial) -> int:
    """Return the training seed of a trial, or of the trial that its outcome is copied from."""
    spec = context.spec
    names = spec.stage_names
    if trial.copied_from is None and trial.stage in names:
        stage = names.index(trial.stage)
        return train_seed(spec, spec.stages[stage], trial.number, len(state.trials[stage]))
    name, number = (trial.copied_from or trial.label).rpartition(":")[2].rsplit("/", 1)
    return derive(spec.seed, name, int(number), "train")
