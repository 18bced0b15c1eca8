"""Mounted file systems: which hold a path, and which are on a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpsearch.core.files import mounts
from hpsearch.core.files.mounts import is_mounted_file, mount_of

HEAD = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw"


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that takes the place of the system's list."""
    file = tmp_path / "mountinfo"
    monkeypatch.setattr(mounts, "MOUNTS", file)
    return file


@pytest.mark.parametrize(
    ("kind", "source", "network"),
    [
        ("nfs4", "server:/export", True),
        ("cifs", "//server/share", True),
        ("9p", "C:\\134", True),
        ("fuse.sshfs", "me@host:", True),
        ("fuse.unknown", "host:/path", True),
        ("fuse", "https://files.example/dav", True),
        ("fuse.gocryptfs", "/home/me/.cipher", False),
        ("fuseblk", "/dev/sdb1", False),
        ("fuse.mergerfs", "/disk/1:/disk/2", False),
        ("ext4", "/dev/sda1", False),
        ("btrfs", "/dev/sda1", False),
        ("overlay", "overlay", False),
        ("virtiofs", "home", False),
        ("tmpfs", "tmpfs", False),
    ],
)
def test_network_file_systems(listed: Path, kind: str, source: str, network: bool) -> None:
    listed.write_text(f"{HEAD}\n40 27 0:50 / /net/a\\040b rw shared:1 - {kind} {source} rw\n")
    mount = mount_of(Path("/net/a b/folder/s.db"))
    assert mount is not None and (mount.point, mount.kind) == (Path("/net/a b"), kind)
    assert mount.is_network == network


def test_the_innermost_and_latest_mount_holds_a_path(listed: Path) -> None:
    lines = [HEAD, "40 27 0:50 / /a rw - nfs x:/ rw", "41 40 0:51 / /a/b rw - ext4 /dev/b rw", "broken", ""]
    lines += ["42 27 0:52 / /c rw - ext4 /dev/c rw", "43 27 0:53 / /c rw - nfs4 y:/ rw"]
    listed.write_text("\n".join(lines))
    kinds = {path: getattr(mount_of(Path(path)), "kind", None) for path in ("/x", "/a/x", "/a/b/x", "/ab/x", "/c/x")}
    assert kinds == {"/x": "ext4", "/a/x": "nfs", "/a/b/x": "ext4", "/ab/x": "ext4", "/c/x": "nfs4"}


def test_a_system_without_a_list(listed: Path) -> None:
    assert mount_of(Path("/x")) is None and not is_mounted_file(listed.parent)


def test_links_are_followed(listed: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/net")
    listed.write_text(f"{HEAD}\n40 27 0:50 / /net rw - nfs x:/ rw\n")
    assert getattr(mount_of(tmp_path / "link" / "s.db"), "kind", None) == "nfs"


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="needs Linux")
def test_the_list_of_this_system(tmp_path: Path) -> None:
    mount = mount_of(tmp_path)
    assert mount is not None and mount.point.is_dir() and os.stat(mount.point).st_dev == tmp_path.stat().st_dev


def test_a_file_mounted_on_another(tmp_path: Path) -> None:
    """A bind mount of a file, in a namespace of its own; a bind mount of a folder gives its files no second name."""
    for name in ("a.db", "b.db"):
        (tmp_path / name).touch()
    for name in ("folder", "mounted"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder" / "a.db").touch()
    code = "import sys; from pathlib import Path; from hpsearch.core.files.mounts import *"
    code += "; print([is_mounted_file(Path(name)) for name in sys.argv[1:]])"
    script = f'mount --bind a.db b.db && mount --bind folder mounted && "{sys.executable}" -c "{code}" "$@"'
    names = ["a.db", "b.db", "folder/a.db", "mounted/a.db"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *names]
    try:
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if "not permitted" in ended.stderr or "denied" in ended.stderr:
        pytest.skip(f"may not mount: {ended.stderr.strip()}")
    assert (ended.returncode, ended.stdout.strip()) == (0, "[False, True, False, False]"), ended.stderr


@pytest.mark.parametrize(
    ("kind", "mounted", "system", "sound"),
    [
        ("nfs4", "rw", "rw,vers=4.2,local_lock=none,addr=10.0.0.1", True),
        ("nfs", "rw", "rw,vers=3,nolock", False),
        ("nfs", "rw", "rw,vers=3,local_lock=all", False),
        ("cifs", "rw", "rw,vers=3.0", True),
        ("cifs", "rw", "rw,nobrl", False),
        ("lustre", "rw,flock", "rw", True),
        ("lustre", "rw", "rw,flock", True),
        ("lustre", "rw", "rw", False),
        ("lustre", "rw,localflock", "rw", False),
        ("fuse.sshfs", "rw", "rw", False),
        ("9p", "rw", "rw", False),
    ],
)
def test_locks_that_all_machines_see(listed: Path, kind: str, mounted: str, system: str, sound: bool) -> None:
    listed.write_text(f"{HEAD}\n40 27 0:50 / /net {mounted} shared:1 - {kind} host:/x {system}\n")
    mount = mount_of(Path("/net/s.db"))
    assert mount is not None and mount.is_network and mount.has_shared_locks == sound
