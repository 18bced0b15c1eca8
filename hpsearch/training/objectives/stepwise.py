"""Objectives that train one trial at a time, step by step."""

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from engine.types import EngineError
from hpsearch.config.spec import Spec, Train
from hpsearch.core.resources import ResourceExhausted, exhausted_resource
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.errors import TrainingCodeError
from hpsearch.training.objectives.code import located
from hpsearch.training.objectives.stepping.driver import StepError
from hpsearch.training.objectives.stepping.progress import Progress, unpack_saved
from hpsearch.training.task import Outcome, Task, TrainingCode, TrialResult, TrialTask, failed_result

Check = Callable[[Spec, Dataset, TrainingCode], list[str]]
Scoring = Callable[[Spec, Dataset, Point, bytes], dict[str, float]]


def _no_scores(spec: Spec, dataset: Dataset, point: Point, weights: bytes) -> dict[str, float]:
    return {}


def _described(spec: Spec) -> str:
    return "engine" if isinstance(spec.train, Train) else spec.train.described


@final
@dataclass(frozen=True)
class StepwiseObjective:
    """An objective whose trials train alone.

    Args:
        check: checks the code of a study and returns messages for the user.
        advance_trial: trains the trial of a task.
        scoring: returns the scores on the test rows and the training rows.
    """

    check: Check
    advance_trial: Callable[[Task], TrialResult]
    scoring: Scoring = _no_scores

    def settle(self, spec: Spec, dataset: Dataset, code: TrainingCode) -> tuple[Spec, list[str]]:
        return spec, self.check(spec, dataset, code)

    def group(
        self, spec: Spec, dataset: Dataset, trials: Sequence[TrialTask], workers: int
    ) -> list[tuple[TrialTask, ...]]:
        return [(trial,) for trial in trials]

    def advance(self, task: Task) -> Outcome:
        try:
            return (self.advance_trial(task),)
        except TrainingCodeError:
            raise
        except StepError as error:
            return (failed_result(task.trials[0], str(error)),)
        except BaseException as error:  # such as sys.exit
            if isinstance(error, KeyboardInterrupt) and multiprocessing.parent_process() is None:
                raise  # workers ignore Ctrl-C, so there the code has raised it
            if (reason := exhausted_resource(error)) is not None:
                raise ResourceExhausted(reason) from error
            return (failed_result(task.trials[0], located(error, task.code, _described(task.spec))),)

    def check_checkpoint(self, spec: Spec, dataset: Dataset, point: Point, partial: TrialResult) -> None:
        progress = Progress.from_bytes(partial.checkpoint or b"")
        if (progress.state.epoch, len(progress.last)) != (partial.epochs, dataset.folds):
            raise EngineError("not a checkpoint: it is that of another epoch or study")

    def is_whole(self, spec: Spec, dataset: Dataset, point: Point, weights: bytes) -> bool:
        try:
            return len(unpack_saved(weights)) == dataset.folds
        except EngineError:
            return False

    def final_scores(
        self, spec: Spec, dataset: Dataset, point: Point, weights: bytes, metrics: Mapping[str, float]
    ) -> dict[str, float]:
        reported = {name: value for name, value in metrics.items() if name.startswith("test/")}
        return reported | self.scoring(spec, dataset, point, weights)
