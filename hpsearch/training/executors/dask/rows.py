"""The rows of a study, sent to each worker of a cluster once."""

import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from hpsearch.core.text import first_line
from hpsearch.data.dataset import Dataset
from hpsearch.training.executors.dask import remote

TRANSFER_BLOCK = 1 << 25  # bytes sent at a time
_PARTS = ("train", "val")  # test rows are scored by the coordinator


class RowsUnreadable(Exception):
    """The rows on this machine cannot be read; its cause is the error of the file."""


class WorkerDiskError(Exception):
    """The disk of a worker cannot hold the rows; the message says why."""


class RowFiles(NamedTuple):
    """The files that hold the rows of a dataset and of its variants.

    Attributes:
        folder: the folder of the dataset.
        names: of the files, relative to the folder.
        digest: identifies their contents.
    """

    folder: Path
    names: tuple[str, ...]
    digest: str

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Return the files of a dataset.

        Raises:
            RowsUnreadable: a file cannot be read.
        """
        folder = Path(dataset.folder)
        subfolders = sorted({Path(d.folder).relative_to(folder) for d in (dataset, *(v for _, v in dataset.variants))})
        names = tuple(str(s / f"{part}_{array}.npy") for s in subfolders for part in _PARTS for array in "xy")
        try:
            return cls(folder, names, remote.digest_of(folder, names))
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
        if await call(remote.has_rows, self.digest):
            return
        sender = uuid.uuid4().hex
        try:
            for name in self.names:
                for block in self._blocks(name):
                    await call(remote.store_block, self.digest, sender, name, block)
            await call(remote.complete_rows, self.digest, sender, self.names)
        except OSError as error:
            if error.errno is None or isinstance(error, ConnectionError | TimeoutError):
                raise
            await call(remote.discard_draft, self.digest, sender)
            raise WorkerDiskError(error.strerror) from None

    def _blocks(self, name: str) -> Iterator[bytes]:
        try:
            with (self.folder / name).open("rb") as file:
                while block := file.read(TRANSFER_BLOCK):
                    yield block
        except OSError as error:
            raise RowsUnreadable(first_line(error)) from error
