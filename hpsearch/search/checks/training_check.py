"""A check of what trains a study: whether a trial can be repeated and resumed to the bit, and what it costs."""

import dataclasses
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Spec, Train
from hpsearch.core.files.temporary import private_folder
from hpsearch.core.seeds import derive
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import Halted
from hpsearch.search.checks.lr_range import center_point
from hpsearch.search.schedule.ahead import worker_count
from hpsearch.search.schedule.limits import planned_trials
from hpsearch.search.schedule.pruning import stage_rules
from hpsearch.training.executors.processes import Processes
from hpsearch.training.objectives import objective_of
from hpsearch.training.objectives.code import find_code
from hpsearch.training.task import STATELESS, Outcome, Task, TrialResult, TrialTask, resumed


class TrainingReport(NamedTuple):
    """The findings of a check.

    Attributes:
        point: the point that was trained, at the center of the space.
        error: why the trial failed; None if it did not.
        repeats: the names of metrics that differ when it trains again from its seed.
        resumes: the same when it is resumed after its first step; None if it has one step or saves nothing.
        seconds: of a step.
        total: seconds of the whole study at most, on its workers.
        notes: messages for the user.
    """

    point: Point
    error: str | None
    repeats: tuple[str, ...] = ()
    resumes: tuple[str, ...] | None = None
    seconds: float = 0.0
    total: float = 0.0
    notes: tuple[str, ...] = ()


def check_training(spec: Spec, folder: Path) -> TrainingReport:
    """Train a trial for two steps, again from its seed, and again for one and one, and compare the metrics.

    Args:
        folder: folder of the study file.

    Raises:
        HpsearchError: the data or the code cannot be used.
        Halted: the trial cannot be trained on this machine.
    """
    point = center_point(spec)
    with private_folder() as scratch:
        code = find_code(spec, folder)
        dataset = Dataset.empty(str(scratch))
        if spec.data is not None:
            dataset, _ = prepare(spec.data, spec.seed, scratch, preprocessing_values(spec))
        spec, notes = objective_of(spec).settle(spec, dataset, code)
        trial = TrialTask(0, point, derive(spec.seed, "training check"))
        first = spec.train.check_every
        task = Task(spec, dataset, (trial,), min(2 * first, spec.train.epochs), code=code)
        executor = Processes(1, str(scratch))
        try:
            straight = _train(executor, task)
            if straight.state == "failed":
                return TrainingReport(point, straight.error, notes=tuple(notes))
            again = _train(executor, task)
            resumed_names = _resumed(executor, task, first, straight)
        finally:
            executor.close()
    seconds = again.seconds * first / max(1, again.epochs)  # not the first training, which imports
    total = seconds / first * planned_epochs(spec) / min(worker_count(spec), spec.parallel)
    return TrainingReport(point, None, _differing(straight, again), resumed_names, seconds, total, tuple(notes))


def planned_epochs(spec: Spec) -> float:
    """Return the epochs that the stages of a study train at most; a stage that only its timeout ends counts little."""
    total = 0.0
    for number, stage in enumerate(spec.stages):
        budget = stage_rules(spec, stage).budget
        total += min(budget, planned_trials(spec, number) * float(spec.train.epochs))
    return total


def training_advice(report: TrainingReport) -> str:
    """Return in one sentence what makes a trial differ; empty if it can be repeated and resumed to the bit."""
    if report.repeats:
        return (
            f"{', '.join(report.repeats)} differ when the same seed trains again: a random generator is not seeded from"
            " 'seed', or threads add in another order"
        )
    if report.resumes:
        missing = "the state of the optimizer, or of a random generator"
        return (
            f"{', '.join(report.resumes)} differ when the second step is resumed: what is saved lacks something, such"
            f" as {missing}; seed generators at the start of each epoch, or save them"
        )
    return ""


def resume_summary(spec: Spec, report: TrainingReport) -> str:
    """Return whether a trial resumes exactly, in one phrase."""
    if report.repeats:
        return "does not repeat exactly"
    if report.resumes:
        return "does not resume exactly"
    if report.resumes is not None:
        return "resumes exactly"
    if spec.train.epochs == spec.train.check_every or isinstance(spec.train, Train):
        return "repeats exactly"
    return "repeats exactly; saves nothing, so a paused trial trains again from its seed"


def _resumed(executor: Processes, task: Task, first: int, straight: TrialResult) -> tuple[str, ...] | None:
    """Return the metrics that differ when the trial is resumed after its first step; None if it cannot be."""
    if task.epochs == first:
        return None
    half = _train(executor, dataclasses.replace(task, epochs=first))
    if half.state != "running" or half.checkpoint in (None, STATELESS):
        return None
    (trial,) = task.trials
    return _differing(straight, _train(executor, dataclasses.replace(task, trials=(resumed(trial, half),))))


def _train(executor: Processes, task: Task) -> TrialResult:
    future: Future[Outcome] = executor.submit(task)
    try:
        (result,) = future.result()
    except Exception as error:
        raise Halted(str(error)) from None
    return result


def _differing(one: TrialResult, other: TrialResult) -> tuple[str, ...]:
    names = dict.fromkeys([*one.history, *other.history])
    return tuple(n for n in names if repr(one.history.get(n)) != repr(other.history.get(n)))
