"""Who is told of a study: a projection of its database, never the truth."""

import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Protocol, Self, final

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.storage.database import display_name, file_of
from hpsearch.storage.records import StoredStudy, Trial

GIT = 5.0  # seconds that git may take


@final
@dataclass(frozen=True)
class StudyInfo:
    """The study a tracker is told of.

    Attributes:
        identity: of this search; a study begun anew under the same name has another one.
        created: Unix time.
        facts: what else is worth a tag: versions, fingerprint, database.
        known: how many rows, features and classes the data have, as far as somebody knows.
        commit: of the git repository that the database is in, beside the study file; None when there is none.
    """

    spec: Spec
    identity: str
    created: float
    facts: Mapping[str, str]
    known: Mapping[str, int] = field(default_factory=dict)
    commit: str | None = None

    @classmethod
    def of(cls, spec: Spec, stored: StoredStudy, url: str, version: str, dataset: Dataset | None) -> Self:
        """What is told of a stored study.

        Args:
            url: of its database.
            version: of what it trains with.
            dataset: its data, if they are at hand.
        """
        file, known = file_of(url), {}
        if dataset is not None:
            known = {"rows": sum(count for _, count in dataset.rows), "features": prod(dataset.inputs)}
            known |= {"classes": len(dataset.classes)} if dataset.classes else {}
        facts = {
            "version": f"{version}, python {platform.python_version()}",
            "data": stored.fingerprint,
            "database": display_name(url),
            "seed": str(spec.seed),
        }
        return cls(spec, stored.identity, stored.created, facts, known, commit_of(file.parent) if file else None)


def commit_of(folder: Path) -> str | None:
    """What is checked out of the git repository that a folder is in; None without one, or without git."""
    command = ("git", "-C", str(folder.absolute()), "rev-parse", "--verify", "--quiet", "HEAD")
    try:
        found = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=GIT, text=True)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    text = found.stdout.strip()
    return text if re.fullmatch(r"[0-9a-f]{40,64}", text) else None


class StoreReplacedError(Exception):
    """What was sent before is gone as well."""


class Tracker(Protocol):
    """Told of finished trials while others train. It is opened before anything is known of the study."""

    def begin(self, subject: StudyInfo) -> None:
        """The study is known; what follows is about it."""
        ...

    def tell(self, record: Trial) -> None:
        """A finished trial; told again after a resume, it adds nothing."""
        ...

    def finish(self, ranking: list[Trial], model: Path | None) -> None:
        """The study is done.

        Args:
            ranking: complete trials, best first; the first holds the test scores.
            model: folder of the champion's model.
        """
        ...

    def close(self, seconds: float) -> str | None:
        """Sends what is left, for at most so long; says what could not be sent, if anything."""
        ...


@final
class NullTracker:
    """Nobody is told."""

    def begin(self, subject: StudyInfo) -> None:
        return

    def tell(self, record: Trial) -> None:
        return

    def finish(self, ranking: list[Trial], model: Path | None) -> None:
        return

    def close(self, seconds: float) -> str | None:
        return None
