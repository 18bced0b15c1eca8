"""Training: `advance` trains a task's trials and is pure, so the same task always has the same outcome."""

import dataclasses

from engine.kernels.choice import KernelUnavailable
from hpsearch.core.resources import ResourceExhausted, exhausted_resource
from hpsearch.core.text import first_line
from hpsearch.errors import TrainingCodeError
from hpsearch.training.objectives import objective_of
from hpsearch.training.task import Outcome, Task, failed_result


def advance(task: Task) -> Outcome:
    """Train a task's trials up to its epoch or its time limit. An error in training becomes a failed result.

    Raises:
        ResourceExhausted: the machine has run out of memory, for example.
        OSError: the rows cannot be read.
        KernelUnavailable: the compiled kernel cannot be loaded.
        TrainingCodeError: the training code has changed, or cannot be imported.
            No trial caused any of them, so they are not stored as a result.
    """
    try:
        return objective_of(task.spec).advance(task)
    except (KernelUnavailable, TrainingCodeError):
        raise
    except Exception as error:
        if (reason := exhausted_resource(error)) is not None:
            raise ResourceExhausted(reason) from error
        if isinstance(error, OSError):
            raise
        if len(task.trials) > 1:  # train each alone, so that only the trial at fault fails
            return tuple(r for t in task.trials for r in advance(dataclasses.replace(task, trials=(t,))))
        return tuple(failed_result(t, first_line(error)) for t in task.trials)
