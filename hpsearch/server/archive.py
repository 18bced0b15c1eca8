"""Archiving: the folder of a study that has ended becomes one compressed file, and comes back from it.

After a kill at any point a study is either archived or not, and `finish_archiving` deletes what the other state needs.
"""

import json
import os
import threading
import time
import zipfile
from typing import Any

from hpsearch.core.atomic import atomic_file
from hpsearch.core.files.temporary import private_folder, private_umask
from hpsearch.errors import ServerError
from hpsearch.server.places import Places, TooLarge
from hpsearch.server.queue import Queue, Submission

_KEPT = ("study.yaml", "study.db", "study.db-wal", "log")  # the rest can be made again
_ONE = threading.Lock()  # one study is archived or restored at a time


def archive_study(queue: Queue, places: Places, id: str, content: bytes) -> Submission:
    """Archive a study that has ended; return its submission.

    Args:
        content: its state as JSON, which is shown while it is archived.

    Raises:
        ServerError: it waits or runs.
    """
    with _ONE:
        submission = queue.get(id)
        if submission.archived is not None:
            return submission
        if submission.state in ("queued", "running"):
            raise ServerError(f"study {id} is {submission.state}; it must have ended")
        folder, target = places.study(id), places.archive(id)
        with (
            private_umask(),
            atomic_file(target) as draft,
            zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name in _KEPT:
                if (folder / name).is_file():
                    archive.write(folder / name, name)
            archive.writestr("content.json", content)
        submission = queue.set_archived(id, time.time())
        if submission.archived is None:  # it was resumed meanwhile
            target.unlink()
            raise ServerError(f"study {id} is {submission.state}; it must have ended")
        places.delete_folder(id)
        return submission


def unarchive_study(queue: Queue, places: Places, id: str) -> Submission:
    """Bring back the folder of an archived study; return its submission.

    Raises:
        ServerError: it is not archived, or its archive or an upload is missing.
        TooLarge: there is no room for it.
    """
    with _ONE:
        submission = queue.get(id)
        if submission.archived is None:
            raise ServerError(f"study {id} is not archived")
        try:
            with private_folder(places.root) as folder, zipfile.ZipFile(places.archive(id)) as archive:
                entries = [entry for entry in archive.infolist() if entry.filename in _KEPT]
                if sum(entry.file_size for entry in entries) > places.left:
                    raise TooLarge(places.full)
                for entry in entries:
                    archive.extract(entry, folder)
                places.create_study(id, (folder / "study.yaml").read_text("utf-8"), submission.files)
                for entry in entries:
                    os.replace(folder / entry.filename, places.study(id) / entry.filename)
        except (OSError, zipfile.BadZipFile) as error:
            places.delete_folder(id)
            raise ServerError(f"study {id}: its archive cannot be read: {error}") from None
        submission = queue.set_archived(id, None)
        places.archive(id).unlink(missing_ok=True)
        return submission


def archived_content(places: Places, id: str) -> dict[str, Any]:
    """Return the state of an archived study as JSON, as it was when it was archived; empty if it cannot be read."""
    try:
        with zipfile.ZipFile(places.archive(id)) as archive:
            return dict(json.loads(archive.read("content.json")))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return {}


def finish_archiving(queue: Queue, places: Places) -> None:
    """Delete what a server has left that was killed while it archived or restored."""
    after = 0
    while page := queue.listed(after=after):
        for submission in page:
            archive = places.archive(submission.id)
            if submission.archived is None:
                archive.unlink(missing_ok=True)
            elif archive.is_file():
                places.delete_folder(submission.id)
        after = page[-1].number
