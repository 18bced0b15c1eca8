"""Mounted file systems, as Linux lists them: network file systems, and files that are mounted under a second name."""

import os
import re
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = {  # file systems whose files several machines can open, by the name that Linux gives them
    *("nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "ncp", "9p", "afs", "coda", "davfs"),
    *("ceph", "glusterfs", "lustre", "beegfs", "gpfs", "panfs", "pvfs2", "orangefs", "gfs2", "ocfs2", "vmhgfs"),
    *("vboxsf", "prl_fs", "sshfs", "s3fs", "gcsfuse", "rclone", "juicefs", "mfs", "moosefs", "lizardfs", "goofys"),
    *("mount-s3", "mountpoint-s3", "blobfuse", "blobfuse2", "curlftpfs", "smbnetfs", "davfs2", "ceph-fuse", "afpfs"),
    *("vmhgfs-fuse", "seaweedfs", "cvmfs2", "xtreemfs", "httpdirfs", "hdfs", "fuse_dfs", "alluxio-fuse", "acfs"),
}
_SHARED_LOCKS = {  # network file systems whose locks all machines see, unless an option says otherwise
    *("nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "gpfs", "ceph", "gfs2", "ocfs2", "lustre"),
}
_REMOTE = re.compile(r"//|[^/\s]+@|[^/\s]{2,}:/|\w+://|\[[0-9a-f:]+\]:")  # `host:/path`, `//host/share`, `user@host`


class Mount(NamedTuple):
    """A mounted file system.

    Attributes:
        point: the folder or file that it is mounted on.
        kind: type of the file system: `ext4`, `nfs4`, `fuse.sshfs`.
        source: a device, or `host:/path`.
        options: options of the file system and of this mount, such as `rw`, `nolock` or `local_lock=none`.
    """

    point: Path
    kind: str
    source: str
    options: frozenset[str] = frozenset()

    @property
    def is_network(self) -> bool:
        """True for a network file system; FUSE, which may be either, is judged by its name and its source."""
        base, _, program = self.kind.partition(".")
        if base in ("fuse", "fuseblk"):
            return program in _NETWORK or bool(_REMOTE.match(self.source))
        return base in _NETWORK

    @property
    def has_shared_locks(self) -> bool:
        """True for a network file system whose locks exclude processes of other machines, as it is mounted."""
        if self.kind == "lustre":
            return "flock" in self.options
        local = {"nolock", "local_lock=all", "local_lock=posix", "nobrl", "localflock", "noflock"}
        return self.kind in _SHARED_LOCKS and not local & self.options


def mount_of(path: Path) -> Mount | None:
    """Return the file system that holds a path, which need not exist; None if the system does not list it."""
    try:
        path = Path(os.path.realpath(path))
        lines = MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except (OSError, ValueError):  # not Linux, or no file can have such a name
        return None
    mounts = [mount for mount in map(_parse, lines) if mount is not None and path.is_relative_to(mount.point)]
    # The innermost holds the path; of several at one point, the latest hides the others.
    return max(reversed(mounts), key=lambda mount: len(mount.point.parts), default=None)


def is_mounted_file(path: Path) -> bool:
    """Return whether a file is itself a mount point, so that it has another name elsewhere."""
    mount = mount_of(path)
    return mount is not None and mount.point == Path(os.path.realpath(path)) and path.is_file()


def _parse(line: str) -> Mount | None:
    """Parse a line: `36 35 98:0 /root /point options shared:1 - kind source options`."""
    fields, _, end = line.partition(" - ")
    before, after = fields.split(" "), end.split(" ")
    if len(before) < 5 or len(after) < 2:
        return None
    options = frozenset(",".join([*before[5:6], *after[2:3]]).split(","))
    return Mount(Path(_unescaped(before[4])), after[0], _unescaped(after[1]), options)


def _unescaped(text: str) -> str:
    r"""Return a field of the list without its escapes: `\040` is a space."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
