"""Private temporary folders: removed at the end, or after a kill; nothing else is ever removed."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hpsearch.core.files import temporary
from hpsearch.core.files.temporary import OWNER, PREFIX, folder_for_sockets, private_folder, remove_abandoned


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temporary, "_SHORT", ())
    return tmp_path


def abandoned(place: Path) -> Path:
    """Return a folder of an ended process, with content."""
    folder = place / f"{PREFIX}left"
    folder.mkdir(mode=0o700)
    (folder / OWNER).touch()
    (folder / "deep").mkdir()
    (folder / "deep" / "rows.npy").write_bytes(b"rows")
    return folder


def test_private_and_removed_at_the_end(place: Path) -> None:
    with private_folder() as folder:
        assert folder.parent == place and folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()
        assert remove_abandoned() == 0 and folder.exists()
    assert list(place.iterdir()) == []


def test_a_killed_process_leaves_a_folder_that_is_removed(place: Path) -> None:
    code = "import os, signal; from hpsearch.core.files.temporary import *; x = private_folder(); print(x.__enter__())"
    command = [sys.executable, "-c", f"{code}; os.sys.stdout.flush(); os.kill(0, signal.SIGKILL)"]
    environment = {**os.environ, "TMPDIR": str(place)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, start_new_session=True)
    assert ended.returncode == -signal.SIGKILL and Path(ended.stdout.strip()).is_dir()
    assert remove_abandoned() == 1
    assert list(place.iterdir()) == []


def test_only_abandoned_folders_are_removed(place: Path) -> None:
    (place / f"{PREFIX}another-program").mkdir(mode=0o700)
    (place / f"{PREFIX}file").touch()
    shared = place / f"{PREFIX}shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / OWNER).touch()
    kept = place / "kept"
    kept.mkdir(mode=0o700)
    (kept / OWNER).touch()
    (place / f"{PREFIX}link").symlink_to(kept)
    linked = place / f"{PREFIX}linked"
    linked.mkdir(mode=0o700)
    (linked / OWNER).symlink_to(kept / OWNER)
    before = sorted(place.rglob("*"))
    assert remove_abandoned() == 0 and sorted(place.rglob("*")) == before
    abandoned(place)
    assert remove_abandoned() == 1 and sorted(place.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_folders_of_other_users_are_left_alone(place: Path) -> None:
    folder = abandoned(place)
    os.chown(folder, 65534, -1)
    assert remove_abandoned() == 0 and folder.exists()


def test_without_locks_nothing_is_removed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a folder in use nor one without an owner can be recognized."""
    folder = abandoned(place)

    def missing(_number: int, _operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with private_folder():
        assert remove_abandoned() == 0
    assert list(place.iterdir()) == [folder]


def test_sockets_need_a_short_path(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder for temporary files has a long path, theirs is elsewhere, and cleared too."""
    long, short = tmp_path / "longer", tmp_path / "s"
    for folder in (long, short):
        folder.mkdir()
    monkeypatch.setattr(temporary, "LONGEST_FOR_SOCKETS", len(str(short)))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert folder_for_sockets() is None
    monkeypatch.setattr(temporary, "_SHORT", (tmp_path / "n", short))
    assert folder_for_sockets() == short
    with private_folder(short) as folder:
        assert folder.parent == short
    for folder in (long, short):
        abandoned(folder)
    assert remove_abandoned() == 2 and list(short.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    assert folder_for_sockets() == short
