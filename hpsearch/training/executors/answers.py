"""Answers of workers: the outcome of a task or its exception, as bytes that the coordinator can always read."""

import traceback
from multiprocessing.reduction import ForkingPickler

from hpsearch.core.resources import ResourceExhausted, exhausted_resource
from hpsearch.core.text import first_line
from hpsearch.training.task import Outcome, Task, TaskFunction


def answer(run_task: TaskFunction, message: "bytes | Task") -> memoryview:
    """Run a task, pickled or not, and return the pickled pair of its outcome and its exception.

    An exception that cannot be pickled or unpickled becomes a `RuntimeError` with its first line.
    """
    try:
        task = ForkingPickler.loads(message) if isinstance(message, bytes) else message
        return ForkingPickler.dumps((run_task(task), None))
    except Exception as error:
        error.add_note("".join(traceback.format_exception(error)))
        try:
            pickled = ForkingPickler.dumps((None, error))
            ForkingPickler.loads(pickled)
        except Exception:
            pickled = ForkingPickler.dumps((None, RuntimeError(first_line(error))))
        return pickled


def outcome_of(message: bytes) -> Outcome:
    """Return the outcome of an answer.

    Raises:
        Exception: that of the task; `RuntimeError` or `ResourceExhausted` if the answer cannot be unpickled.
    """
    try:
        outcome, error = ForkingPickler.loads(message)
    except Exception as reason:
        shortage = exhausted_resource(reason)
        raise ResourceExhausted(shortage) if shortage else RuntimeError(first_line(reason)) from None
    if error is not None:
        raise error
    return outcome  # type: ignore[no-any-return]
