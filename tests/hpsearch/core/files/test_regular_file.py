"""Opening of regular files; whatever may have no end is refused without waiting for it."""

import errno
import os
import socket
from pathlib import Path

import pytest

from hpsearch.core.files.regular_file import open_regular


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"xy")
    (tmp_path / "link").symlink_to("a")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"xy"


def test_a_file_that_waits_for_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `/proc/kmsg`, which is no device for the system; other reads wait, but never return None."""
    (tmp_path / "a").write_bytes(b"xy")
    with open_regular(tmp_path / "a") as file:
        assert os.get_blocking(file.fileno())

    def unready(_number: int, _size: int) -> bytes:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "read", unready)
    with pytest.raises(OSError, match="unavailable"):
        open_regular(tmp_path / "a")


def test_pipes_devices_and_folders_are_refused(tmp_path: Path) -> None:
    """Opening a pipe that nothing is written to would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path / "pipe", "it is a pipe"),
        (Path("/dev/zero"), "it is a device"),
        (tmp_path, "it is a folder"),
    ):
        with pytest.raises(OSError, match="a regular file is needed") as caught:
            open_regular(path)
        assert words in str(caught.value.strerror)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(OSError):
            open_regular(tmp_path / "s")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
