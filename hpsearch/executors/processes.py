"""Training in a pool of processes, one BLAS thread each: two are up to 3 times slower on small nets."""

from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import final

from threadpoolctl import threadpool_limits

from hpsearch import children
from hpsearch.trial import Outcome, Task, advance


@final
class Processes:
    """A pool of workers.

    Args:
        scratch: a temporary folder that goes when the coordinator does.
    """

    def __init__(self, workers: int, scratch: str) -> None:
        self.workers = workers
        self._pool = ProcessPoolExecutor(workers, children.context(), _begin, (scratch,))
        with children.undisturbed():
            for _ in range(workers):
                self._pool.submit(_begun)  # so that they start while the coordinator imports and reads

    def submit(self, task: Task) -> Future[Outcome]:
        try:
            return self._pool.submit(advance, task)
        except (EOFError, ConnectionError) as error:  # the server that starts workers is gone
            raise BrokenProcessPool(f"workers cannot be started: {error}") from None

    def close(self) -> None:
        workers = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in workers:
            process.terminate()
        for process in workers:
            process.join()


def _begin(scratch: str) -> None:
    children.begin(scratch)
    threadpool_limits(1)


def _begun() -> None:
    return
