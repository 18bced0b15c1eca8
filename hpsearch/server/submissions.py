"""Submitting a study: its file is checked as a whole before it is queued."""

from collections.abc import Mapping
from typing import NamedTuple

from hpsearch.config.load import load_spec
from hpsearch.config.spec import Spec
from hpsearch.core.files.temporary import private_folder
from hpsearch.errors import Mistake, SpecError
from hpsearch.server.places import Places, checked_name
from hpsearch.server.policy import Policy
from hpsearch.server.queue import Queue, Submission


class Submitted(NamedTuple):
    """A study as it was sent.

    Attributes:
        text: its file.
        files: name of a file as the study names it → digest of its upload.
        body: digest of the request.
    """

    text: str
    files: Mapping[str, str]
    priority: int
    body: str


def submit(
    queue: Queue, places: Places, policy: Policy, submitted: Submitted, owner: str, key: str | None
) -> tuple[Submission, list[str]]:
    """Queue a study; return its submission, and notices about words of other tools that were translated.

    Args:
        owner: name of the token.
        key: identifies the request, which may be repeated; None for a request of its own.

    Raises:
        SpecError: the study has mistakes, or uses something that is not allowed; the error lists all of them.
        ServerError: an upload is missing, or its name is not valid.
        KeyReused: another request has this key.
    """
    for name, digest in submitted.files.items():
        places.upload(checked_name(name) and digest)
    spec, notices = _checked(submitted.text)
    policy.check(spec, submitted.files)
    submission, new = queue.add(spec.name, owner, submitted.priority, submitted.files, submitted.body, key)
    if new:
        try:
            places.create_study(submission.id, submitted.text, submitted.files)
        except BaseException:
            places.delete_study(submission.id)
            queue.delete(submission.id)
            raise
        submission = queue.release(submission.id)
    return submission, notices


def _checked(text: str) -> tuple[Spec, list[str]]:
    with private_folder() as folder:
        file = folder / "study.yaml"
        file.write_text(text, "utf-8")
        try:
            return load_spec(file)
        except SpecError as error:
            raise SpecError([_without(f"{folder}/", mistake) for mistake in error.mistakes]) from None


def _without(folder: str, mistake: Mistake) -> Mistake:
    where, message = mistake.where.replace(folder, ""), mistake.message.replace(folder, "")
    return mistake._replace(where=where, message=message)
