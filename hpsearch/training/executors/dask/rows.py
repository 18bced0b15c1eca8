"""The rows and the training code of a study, sent to each worker of a cluster once."""

import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from hpsearch.core.text import first_line
from hpsearch.data.dataset import Dataset
from hpsearch.training.executors.dask import remote
from hpsearch.training.executors.dask.remote import CODE_FOLDER
from hpsearch.training.task import NO_CODE, TrainingCode

TRANSFER_BLOCK = 1 << 25  # bytes sent at a time


class RowsUnreadable(Exception):
    """The rows on this machine cannot be read; its cause is the error of the file."""


class WorkerDiskError(Exception):
    """The disk of a worker cannot hold the rows; the message says why."""


class RowFiles(NamedTuple):
    """The files that hold the rows of a dataset and of its variants, and those of the training code.

    Attributes:
        files: name in the folder of a worker → path.
        digest: identifies their contents; empty if there are none.
    """

    files: Mapping[str, Path]
    digest: str

    @classmethod
    def of(cls, dataset: Dataset, code: TrainingCode = NO_CODE) -> Self:
        """Return the files of a dataset, and of code inside the folder of the study file.

        Raises:
            RowsUnreadable: a file cannot be read.
        """
        folder = Path(dataset.folder)
        subfolders = sorted({Path(d.folder).relative_to(folder) for d in (dataset, *(v for _, v in dataset.variants))})
        # The coordinator scores the test rows, but training code receives them.
        parts = [part for part, rows in dataset.rows if rows and (part != "test" or code.files)]
        names = [str(s / f"{part}_{array}.npy") for s in subfolders for part in parts for array in "xy"]
        files = {name: folder / name for name in names}
        files |= {str(Path(CODE_FOLDER, n)): code.path(n) for n, _ in code.files if not Path(n).is_absolute()}
        try:
            return cls(files, remote.digest_of(files) if files else "")
        except OSError as error:
            raise RowsUnreadable(first_line(error)) from error

    async def send(self, call: Callable[..., Awaitable[Any]]) -> None:
        """Send the files to a worker that does not have them.

        Args:
            call: calls a function with arguments on the worker.

        Raises:
            RowsUnreadable: a file cannot be read.
            WorkerDiskError: the disk of the worker is full, for example.
            OSError: the connection to the worker has ended.
        """
        if not self.files or await call(remote.has_rows, self.digest):
            return
        sender = uuid.uuid4().hex
        try:
            for name in self.files:
                for block in self._blocks(name):
                    await call(remote.store_block, self.digest, sender, name, block)
            await call(remote.complete_rows, self.digest, sender, tuple(self.files))
        except OSError as error:
            if error.errno is None or isinstance(error, ConnectionError | TimeoutError):
                raise
            await call(remote.discard_draft, self.digest, sender)
            raise WorkerDiskError(error.strerror) from None

    def _blocks(self, name: str) -> Iterator[bytes]:
        try:
            with self.files[name].open("rb") as file:
                while block := file.read(TRANSFER_BLOCK):
                    yield block
        except OSError as error:
            raise RowsUnreadable(first_line(error)) from error
