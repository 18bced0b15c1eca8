"""The baselines of a study: fitted in a child process when its trials have ended, and stored one by one."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

from hpsearch.core.processes import kill_process, process_context, starting_children
from hpsearch.core.text import first_line
from hpsearch.errors import DataError, Interrupted
from hpsearch.storage.records import Baseline, Trial
from hpsearch.study.context import StudyContext
from hpsearch.study.dispatcher import COLLECT_TIMEOUT
from hpsearch.training.baselines import BASELINES, BaselineResult, BaselineTask, fitted_rows, send_baselines

FIT_SECONDS = 1800.0  # after which a baseline is given up; the limits on work let it end long before


def missing_baselines(context: StudyContext, champion: Trial | None) -> list[BaselineTask]:
    """Return the baselines of a study that are not stored, or for other preprocessing than the champion's."""
    if champion is None or not context.spec.baselines:
        return []
    dataset, stored = context.dataset.at(champion.point), context.storage.baselines.load()
    valid = {name for name, baseline in stored.items() if baseline.variant == dataset.number}
    return [BaselineTask(name, context.spec, dataset) for name in BASELINES if name not in valid]


def reduced_rows(tasks: Sequence[BaselineTask]) -> Iterator[str]:
    """Yield a message for each baseline that is fitted to a part of the training rows."""
    for task in tasks:
        rows = dict(task.dataset.rows)["train"]
        try:
            fitted = fitted_rows(task.name, task.dataset)
        except DataError:  # becomes the baseline's result
            continue
        if fitted < rows:
            yield f"baseline {task.name}: fitted to {fitted:,} of {rows:,} training rows, to limit the time"


def store_baselines(context: StudyContext, tasks: Sequence[BaselineTask], scratch: str) -> None:
    """Fit baselines and store them. One that fails is stored with the reason.

    Args:
        scratch: the coordinator's temporary folder.

    Raises:
        Interrupted: `stop` returned True; baselines that are stored are not fitted again.
    """
    waiting = list(tasks)
    while waiting:
        with _fitting(waiting, scratch) as results:
            while waiting:
                name, number = waiting[0].name, waiting[0].dataset.number
                result, failure = _next_result(context, results)
                if result is None:
                    result = BaselineResult(name, 0, {}, failure)
                context.storage.baselines.save(
                    Baseline(name, number, result.rows, result.scores, result.error, result.seconds, time.time())
                )
                waiting.pop(0)
                if failure is not None:  # another process fits the others
                    break


@contextlib.contextmanager
def _fitting(tasks: Sequence[BaselineTask], scratch: str) -> Iterator[Connection | str]:
    """Start a child process that fits baselines; yield the pipe with its results, or why it cannot be started."""
    context = process_context()
    results, sender = context.Pipe(duplex=False)
    process = context.Process(target=send_baselines, args=(tasks, scratch, sender), name="baselines", daemon=True)
    with results:
        try:
            with sender, starting_children():  # closed on this side, so that the pipe ends with the process
                process.start()
        except (EOFError, OSError, MemoryError) as error:
            yield f"its process cannot be started: {first_line(error)}"
            return
        try:
            yield results
        finally:
            if process.pid is not None and process.is_alive():
                kill_process(process.pid)
            process.join()


def _next_result(context: StudyContext, results: Connection | str) -> tuple[BaselineResult | None, str | None]:
    """Wait for the next result; return it, or the reason why there is none.

    Raises:
        Interrupted: `stop` returned True.
    """
    if isinstance(results, str):
        return None, results
    end = time.monotonic() + FIT_SECONDS
    while time.monotonic() < end:
        if context.stop():
            raise Interrupted
        context.storage.lease.heartbeat()
        try:
            if results.poll(COLLECT_TIMEOUT):
                return results.recv(), None
        except (EOFError, OSError):
            return None, "its process ended, as when memory runs out"
    return None, f"it took longer than {FIT_SECONDS:.0f} s"
