"""The files of the rows, and their way to a worker, here a folder."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cases
import numpy as np
import pytest

from hpsearch.config.references import preprocessing_values
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.training.executors.dask import remote, rows
from hpsearch.training.executors.dask.rows import RowFiles, RowsUnreadable, WorkerDiskError


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Return a dataset with variants."""
    spec = cases.small(**{"data.scale": "scaling", "parameters.scaling": {"values": ["standard", "minmax"]}})
    (tmp_path / "here").mkdir()
    return prepare(spec.data, spec.seed, tmp_path / "here", preprocessing_values(spec))[0]


def worker(folder: Path) -> Callable[..., Awaitable[Any]]:
    stand_in = SimpleNamespace(local_directory=str(folder))

    async def call(function: Callable[..., Any], *args: Any) -> Any:
        return function(*args, stand_in)

    return call


def test_rows_arrive(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks, once; the variants too, and without test rows."""
    monkeypatch.setattr(rows, "TRANSFER_BLOCK", 1000)
    files = RowFiles.of(dataset)
    asyncio.run(files.send(worker(tmp_path / "there")))
    moved = dataset.moved(str(tmp_path / "there" / f"hpsearch-{files.digest}"))
    variants = [(dataset, moved), *((a, b) for (_, a), (_, b) in zip(dataset.variants, moved.variants, strict=True))]
    assert len(variants) == 3
    for here, there in variants:
        for part in ("train", "val"):
            ours, theirs = here.part(part), there.part(part)  # type: ignore[arg-type]
            assert ours is not None and theirs is not None
            assert np.array_equal(ours.x, theirs.x) and np.array_equal(ours.y, theirs.y)
        with pytest.raises(FileNotFoundError):
            there.part("test")
    monkeypatch.setattr(remote, "store_block", None)  # not called again
    asyncio.run(files.send(worker(tmp_path / "there")))


def test_rows_that_cannot_be_read(dataset: Dataset, tmp_path: Path) -> None:
    files = RowFiles.of(dataset)
    (tmp_path / "here" / "train_x.npy").unlink()
    with pytest.raises(RowsUnreadable) as caught:
        asyncio.run(files.send(worker(tmp_path / "there")))
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(RowsUnreadable):
        RowFiles.of(dataset)


def test_the_disk_of_a_worker_is_full(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left there."""

    def full(digest: str, sender: str, name: str, *rest: Any) -> None:
        if name == "train_y.npy":
            raise OSError(errno.ENOSPC, "No space left on device")
        store(digest, sender, name, *rest)

    store = remote.store_block
    monkeypatch.setattr(remote, "store_block", full)
    with pytest.raises(WorkerDiskError, match="No space left on device"):
        asyncio.run(RowFiles.of(dataset).send(worker(tmp_path / "there")))
    assert not list((tmp_path / "there").iterdir())
