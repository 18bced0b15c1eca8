"""The tracker protocol, and the description of a study that a tracker receives.

A tracker shows what the study database contains. It is never the source of truth, and its failures never fail a trial.
"""

import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, final

from hpsearch.core.text import masked
from hpsearch.storage.database import display_name, file_of

if TYPE_CHECKING:
    from hpsearch.config.spec import Spec
    from hpsearch.data.dataset import Dataset
    from hpsearch.storage.records import Baseline, StoredStudy, Trial

GIT_TIMEOUT = 5.0  # seconds


@final
@dataclass(frozen=True)
class StudyInfo:
    """The study that a tracker shows.

    Attributes:
        identity: unique to this study; a new study of the same name has a different identity.
        created: Unix time.
        properties: versions, seed, data fingerprint and database, by name.
        data_size: numbers of rows, features and classes; empty if they are unknown.
        commit: the git commit checked out in the folder of the database; None if there is none.
        shared: a command must name the study, because its database holds others.
    """

    spec: "Spec"
    identity: str
    created: float
    properties: Mapping[str, str]
    data_size: Mapping[str, int] = field(default_factory=dict)
    commit: str | None = None
    shared: bool = False

    @classmethod
    def from_stored(
        cls,
        spec: "Spec",
        stored: "StoredStudy",
        url: str,
        version: str,
        dataset: "Dataset | None",
        *,
        shared: bool = False,
    ) -> Self:
        """Describe a stored study.

        Args:
            url: URL of its database.
            version: versions of hpsearch and of the packages that it trains with.
            dataset: its data, if available.
            shared: a command must name the study.
        """
        file, size = file_of(url), {}
        if dataset is not None:
            size = {"rows": sum(count for _, count in dataset.rows), "features": prod(dataset.inputs)}
            size |= {"classes": len(dataset.classes)} if dataset.classes else {}
        properties = {
            "version": f"{version}, python {platform.python_version()}",
            "data": stored.fingerprint,
            "database": display_name(url),
            "seed": str(spec.seed),
        }
        commit = git_commit(file.parent) if file else None
        return cls(spec, stored.identity, stored.created, properties, size, commit, shared)

    @property
    def data_name(self) -> str:
        """A short name of the data: the name of the dataset or file, or else the kind of source."""
        source = self.spec.data
        if source is None:
            return "none"
        settings = source.model_dump()
        keys = ("name", "path", "id")
        name = next((settings[key] for key in keys if settings.get(key) is not None), source.source)
        return masked(str(name)).replace("\\", "/").rstrip("/").rpartition("/")[2] or source.source


def git_commit(folder: Path) -> str | None:
    """Return the hash of the commit checked out in a folder; None without a repository or without git."""
    command = ("git", "-C", str(folder.absolute()), "rev-parse", "--verify", "--quiet", "HEAD")
    try:
        result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=GIT_TIMEOUT, text=True)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    text = result.stdout.strip()
    return text if re.fullmatch(r"[0-9a-f]{40,64}", text) else None


class StoreReplacedError(Exception):
    """Raised when the tracking store was deleted or replaced, so that earlier uploads are lost."""


class Tracker(Protocol):
    """A view of a study outside its database, updated while the study runs."""

    def start_study(self, study: StudyInfo) -> str | None:
        """Set the study that all later calls belong to; return a message for the user, if there is one."""
        ...

    def log_trial(self, trial: "Trial") -> None:
        """Add a finished trial. Adding it again, after a resume, changes nothing."""
        ...

    def finish_study(
        self,
        ranking: "list[Trial]",
        model: Path | None,
        baselines: "Sequence[Baseline]" = (),
        ensemble: Path | None = None,
    ) -> None:
        """Complete a finished study.

        Args:
            ranking: complete trials, best first; the first has the test scores.
            model: folder of the champion's model.
            baselines: simple models that were fitted to the same rows.
            ensemble: folder of the ensemble's model, if the study has one.
        """
        ...

    def close(self, seconds: float) -> str | None:
        """Upload the remaining data within `seconds`; return a message if data are missing, else None."""
        ...


@final
class NullTracker:
    """A tracker that does nothing."""

    note: str | None = None

    def start_study(self, study: StudyInfo) -> None:
        return

    def log_trial(self, trial: "Trial") -> None:
        return

    def finish_study(
        self,
        ranking: "list[Trial]",
        model: Path | None,
        baselines: "Sequence[Baseline]" = (),
        ensemble: Path | None = None,
    ) -> None:
        return

    def close(self, seconds: float) -> str | None:
        return None
