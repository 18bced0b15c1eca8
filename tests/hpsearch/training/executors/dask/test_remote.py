"""The functions that workers run, called in this process."""

import errno
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpsearch.training.executors.dask import remote
from hpsearch.training.executors.dask.remote import Machine

HERE = Machine("a", "1.0", "2.1", "3.11.7", ("openblas Haswell",), "numba 0.66")


def test_this_machine() -> None:
    machine = remote.describe()
    assert machine.refusal(machine) is None and machine.difference(machine) is None
    assert machine.kernels and all(machine[:5])


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (HERE._replace(hpsearch="0.9"), r"has hpsearch 0\.9, this machine 1\.0; install there: .*hpsearch==1\.0"),
        (HERE._replace(numpy="2.2"), r"has numpy 2\.2, this machine 2\.1; install there: pip install numpy==2\.1"),
        (HERE._replace(python="3.12.1"), r"has Python 3\.12\.1"),
        (HERE._replace(compiler=""), r"has no Numba"),
    ],
)
def test_machines_that_cannot_train(other: Machine, text: str) -> None:
    assert re.search(text, HERE.refusal(other) or "")


def test_machines_that_can_train() -> None:
    other = HERE._replace(host="b", python="3.11.9", kernels=("openblas Zen",))
    assert HERE.refusal(other) is None
    assert HERE.difference(other) == "BLAS is openblas Zen, on this machine openblas Haswell"
    other = HERE._replace(compiler="numba 0.61")
    assert HERE.refusal(other) is None
    assert HERE.difference(other) == "the compiler is numba 0.61, on this machine numba 0.66"
    here = HERE._replace(compiler="")
    assert here.refusal(other) is None and here.difference(other) is None


def test_rows_that_arrive_damaged(tmp_path: Path) -> None:
    """They are not put into their place, and nothing is left of them."""
    worker: Any = SimpleNamespace(local_directory=str(tmp_path))
    remote.store_block("0" * 32, "sender", "a.npy", b"rows", worker)
    with pytest.raises(OSError) as caught:
        remote.complete_rows("0" * 32, "sender", ["a.npy"], worker)
    assert caught.value.errno == errno.EIO and not remote.has_rows("0" * 32, worker) and not list(tmp_path.iterdir())


def test_two_senders(tmp_path: Path) -> None:
    """Both may send the same rows at the same time; a discarded draft leaves those of the other."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.npy").write_bytes(b"rows")
    digest = remote.digest_of({"a.npy": tmp_path / "here" / "a.npy"})
    worker: Any = SimpleNamespace(local_directory=str(tmp_path / "there"))
    for sender in "abc":
        remote.store_block(digest, sender, "a.npy", b"ro", worker)
    remote.discard_draft(digest, "c", worker)
    for sender in "ab":
        remote.store_block(digest, sender, "a.npy", b"ws", worker)
    for sender in "ab":
        remote.complete_rows(digest, sender, ["a.npy"], worker)
        assert remote.has_rows(digest, worker)
    assert [p.name for p in (tmp_path / "there").iterdir()] == [f"hpsearch-{digest}"]


def test_digest(tmp_path: Path) -> None:
    """It depends on names, contents, and where one file ends and the next begins."""
    digests = set()
    for a, b in ((b"x", b"yz"), (b"xy", b"z"), (b"x", b"yy")):
        (tmp_path / "a").write_bytes(a)
        (tmp_path / "b").write_bytes(b)
        digests |= {remote.digest_of({name: tmp_path / name for name in names}) for names in ("ab", "ba")}
    assert len(digests) == 6
