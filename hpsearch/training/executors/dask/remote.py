"""The worker side of a Dask cluster: a description of the machine, its copy of the rows, and tasks."""

import contextlib
import errno
import hashlib
import os
import platform
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from hpsearch.core.version import __version__
from hpsearch.training.executors.answers import answer
from hpsearch.training.executors.limits import NO_LIMITS, WATCH_SECONDS, TaskLimits
from hpsearch.training.objectives.code import changed_files
from hpsearch.training.task import NO_CODE

if TYPE_CHECKING:
    from distributed import Worker


class Machine(NamedTuple):
    """The properties of a worker, or of the coordinator, that the numbers of a trial depend on.

    Attributes:
        kernels: the BLAS libraries with their kernels for this CPU, such as `openblas Haswell`.
        compiler: the packages that the compiled kernel comes from, with their versions; empty without Numba.
    """

    host: str
    hpsearch: str
    numpy: str
    python: str
    kernels: tuple[str, ...]
    compiler: str

    def refusal(self, other: "Machine") -> str | None:
        """Return why another machine cannot train for this one, with what to do; None if it can."""
        for name in ("hpsearch", "numpy"):
            here, there = getattr(self, name), getattr(other, name)
            if here != there:
                return f"has {name} {there}, this machine {here}; install there: pip install {name}=={here}"
        if self.python.split(".")[:2] != other.python.split(".")[:2]:
            return f"has Python {other.python}, this machine {self.python}; use the same minor version"
        if self.compiler and not other.compiler:
            return "has no Numba, which this machine has; install there: pip install 'hpsearch[fast]'"
        return None

    def difference(self, other: "Machine") -> str | None:
        """Return how another machine computes differently; None if results are the same to the bit."""
        for name in ("kernels", "compiler") if self.compiler else ("kernels",):
            here, there = getattr(self, name), getattr(other, name)
            if here != there:
                here, there = (value if isinstance(value, str) else ", ".join(value) for value in (here, there))
                return f"{'BLAS' if name == 'kernels' else 'the compiler'} is {there}, on this machine {here}"
        return None


EXIT_LIMIT = 76  # exit code of a worker whose task exceeds a limit
CODE_FOLDER = "code"  # of the training code, in the folder of the rows


@final
@dataclass(frozen=True)
class RemoteTask:
    """A task on its way to a worker, as one opaque object, because Dask looks into arguments of other types.

    Attributes:
        content: the pickled pair of task function and task.
        rows: digest of the rows that the task reads; empty for a task without rows.
    """

    content: bytes
    rows: str


class RowsMissing(Exception):
    """The worker has no copy of the rows, or has lost it."""


def describe() -> Machine:
    """Return the properties of this machine."""
    kernels = sorted(
        {
            f"{pool['internal_api']} {pool.get('architecture') or ''}".strip()
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        }
    )
    versions = __version__, np.__version__, platform.python_version()
    compiler = ""
    with contextlib.suppress(PackageNotFoundError):
        compiler = ", ".join(f"{name} {version(name)}" for name in ("numba", "llvmlite", "scipy"))
    return Machine(platform.node(), *versions, tuple(kernels), compiler)


def has_rows(digest: str, dask_worker: "Worker") -> bool:
    """Return whether this worker has a complete copy of the rows."""
    return _folder(dask_worker, digest).is_dir()


def store_block(digest: str, sender: str, name: str, block: bytes, dask_worker: "Worker") -> None:
    """Append a block to a file of the draft that a sender writes."""
    path = _draft(dask_worker, digest, sender) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(block)


def complete_rows(digest: str, sender: str, names: Sequence[str], dask_worker: "Worker") -> None:
    """Put the draft of a sender into its place.

    Raises:
        OSError: the files differ from those that were sent.
    """
    draft, folder = _draft(dask_worker, digest, sender), _folder(dask_worker, digest)
    if digest_of({name: draft / name for name in names}) != digest:
        shutil.rmtree(draft, ignore_errors=True)
        raise OSError(errno.EIO, "the rows have arrived damaged")
    try:
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another sender was faster
            raise
        shutil.rmtree(draft, ignore_errors=True)


def discard_draft(digest: str, sender: str, dask_worker: "Worker") -> None:
    """Remove what a sender has written."""
    shutil.rmtree(_draft(dask_worker, digest, sender), ignore_errors=True)


def run_remote(remote_task: RemoteTask) -> bytes:
    """Run a task with one BLAS thread; return its answer.

    Raises:
        RowsMissing: this worker has no copy of the rows.
    """
    from distributed import get_worker

    threadpool_limits(1)  # for good: tasks in other threads of this process must not end the limit
    run_task, task = ForkingPickler.loads(remote_task.content)
    if remote_task.rows:
        folder = _folder(get_worker(), remote_task.rows)
        if not folder.is_dir():
            raise RowsMissing(str(folder))
        task = _with_code(replace(task, dataset=task.dataset.moved(str(folder))), folder)
    with _ending_at_limits(task):
        return bytes(answer(run_task, task))


@contextlib.contextmanager
def _ending_at_limits(task: Any) -> Iterator[None]:
    """End this process when a task exceeds its limits, because a thread cannot be ended; it counts as a death."""
    limits = TaskLimits.of(task)
    if limits == NO_LIMITS:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(WATCH_SECONDS):
            if limits.exceeded(os.getpid()) is not None:
                os._exit(EXIT_LIMIT)

    threading.Thread(target=watch, name="limits", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _with_code(task: Any, folder: Path) -> Any:
    """Return a task whose code is found on this machine: where it was, or in the copy that was sent."""
    code = getattr(task, "code", NO_CODE)
    if not code.files or not changed_files(code):
        return task
    return replace(task, code=code._replace(folder=str(folder / CODE_FOLDER)))


def digest_of(files: Mapping[str, Path]) -> str:
    """Return a digest of files and their names.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(f"{name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:32]


def _folder(worker: "Worker", digest: str) -> Path:
    return Path(worker.local_directory) / f"hpsearch-{digest}"


def _draft(worker: "Worker", digest: str, sender: str) -> Path:
    return Path(worker.local_directory) / f"hpsearch-{digest}.{sender}"
