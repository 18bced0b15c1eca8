"""The folders and files of a server: a root folder with uploads, and a folder for each study."""

import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import final

from hpsearch.core.files.temporary import private_umask
from hpsearch.errors import ServerError
from hpsearch.storage.sqlite_file import url_of

DIGEST = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"[\w][\w .()+,@=-]{0,199}")
RESERVED = ("study.yaml", "study.db", "log", "model", "report.html", "model.zip", "model.onnx")


class TooLarge(ServerError):
    """An upload that is larger than the server allows."""


@final
class Places:
    """The folders of a server, which belong to its user alone.

    Args:
        root: created if it does not exist.
        quota: bytes of uploads and studies, after which uploads are refused.
    """

    def __init__(self, root: Path, quota: int) -> None:
        self.root = root.resolve()
        self.quota = quota
        self._used = 0  # when last measured, and what has arrived since
        self._lock = threading.Lock()
        with private_umask():
            for folder in (self.root, self._data, self._studies, self._archives, self.root / "mlruns"):
                folder.mkdir(parents=True, exist_ok=True)
        self.measure()

    @property
    def queue(self) -> str:
        """URL of the default database of the queue."""
        return url_of(str(self.root / "server.db"))

    @property
    def tracking(self) -> str:
        """The default tracking URI of all studies."""
        return url_of(str(self.root / "mlruns" / "mlflow.db"))

    def study(self, id: str) -> Path:
        """Return the folder of a study.

        Raises:
            ServerError: the id is not one that the server makes.
        """
        if not _ID.fullmatch(id):
            raise ServerError(f"study '{id}': not found on this server")
        return self._studies / id

    def archive(self, id: str) -> Path:
        """Return the file of an archived study, which need not exist."""
        return self._archives / f"{self.study(id).name}.zip"

    def database(self, id: str) -> str:
        """Return the URL of the database of a study."""
        return url_of(str(self.study(id) / "study.db"))

    def upload(self, digest: str) -> Path:
        """Return the file of an upload, which need not exist.

        Raises:
            ServerError: the digest is not one of SHA-256, in hexadecimal digits.
        """
        if not DIGEST.fullmatch(digest):
            raise ServerError("an upload is named by the SHA-256 of its content, 64 hexadecimal digits")
        return self._data / digest

    async def store(self, digest: str, blocks: AsyncIterator[bytes], largest: int) -> int:
        """Store an upload, and return its size.

        Raises:
            ServerError: the content has another digest.
            TooLarge: it has more than `largest` bytes, or the disk quota is used up.
        """
        target, draft = self.upload(digest), self._data / f".{secrets.token_hex(8)}"
        size, hashed = 0, hashlib.sha256()
        try:
            with private_umask(), draft.open("xb") as file:
                async for block in blocks:
                    size += len(block)
                    self._add(len(block))
                    if size > largest:
                        raise TooLarge(f"an upload must have at most {largest:,} bytes")
                    if self.left < 0:
                        raise TooLarge(self.full)
                    hashed.update(block)
                    file.write(block)
            if hashed.hexdigest() != digest:
                raise ServerError(f"the content has another SHA-256: {hashed.hexdigest()}")
            os.replace(draft, target)
        except BaseException:
            self._add(-size)
            raise
        finally:
            draft.unlink(missing_ok=True)
        return size

    def create_study(self, id: str, text: str, files: Mapping[str, str]) -> None:
        """Make the folder of a study with its file and the uploads that it reads.

        Raises:
            ServerError: an upload does not exist.
        """
        folder = self.study(id)
        with private_umask():
            folder.mkdir(exist_ok=True)
            for name, digest in files.items():
                source = self.upload(checked_name(name) and digest)
                if not source.is_file():
                    raise ServerError(f"upload {digest}: not found; send it with PUT /api/v1/data/{digest}")
                (folder / name).unlink(missing_ok=True)
                os.link(source, folder / name)
            (folder / "study.yaml").write_text(text, "utf-8")

    def delete_study(self, id: str) -> None:
        """Delete the folder of a study, or its archive; uploads stay."""
        self.delete_folder(id)
        self.archive(id).unlink(missing_ok=True)

    def delete_folder(self, id: str) -> None:
        """Delete the folder of a study."""
        shutil.rmtree(self.study(id), ignore_errors=True)

    @property
    def left(self) -> int:
        """Bytes up to the disk quota, as far as known; negative if there are more."""
        return self.quota - self._used

    @property
    def full(self) -> str:
        """The message that the disk quota is used up."""
        return f"the disk quota of this server, {self.quota:,} bytes, is used up; delete or archive studies"

    def size(self, id: str) -> int:
        """Return the bytes of the folder of a study."""
        return sum(file.stat().st_size for file in self.study(id).glob("*") if file.is_file())

    def _add(self, size: int) -> None:
        with self._lock:
            self._used += size

    def measure(self) -> int:
        """Return the bytes of uploads and studies; an upload that studies read counts once."""
        sizes = {}
        for folder, _, files in os.walk(self.root):
            for name in files:
                try:
                    status = os.lstat(os.path.join(folder, name))
                except OSError:  # deleted meanwhile
                    continue
                sizes[status.st_dev, status.st_ino] = status.st_size
        used = sum(sizes.values())
        with self._lock:
            self._used = used
        return used

    @property
    def _archives(self) -> Path:
        return self.root / "archive"

    @property
    def _data(self) -> Path:
        return self.root / "data"

    @property
    def _studies(self) -> Path:
        return self.root / "studies"


def checked_name(name: str) -> str:
    """Return the name of a file in the folder of a study.

    Raises:
        ServerError: it is a path, a hidden file, or a file of the server.
    """
    if not _NAME.fullmatch(name) or name in RESERVED or name.startswith(("study.db", ".")):
        raise ServerError(f"file '{name}': must be a plain name of letters, digits, spaces and ._()+,@=-, not a path")
    return name
