"""Who is told of a study: a projection of its database, never the truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from hpsearch.record import Record
from hpsearch.spec import Spec


@final
@dataclass(frozen=True)
class Subject:
    """The study a tracker is told of.

    Attributes:
        identity: of this search; a study begun anew under the same name has another one.
        created: Unix time.
        facts: what else is worth a tag: versions, fingerprint, database.
    """

    spec: Spec
    identity: str
    created: float
    facts: Mapping[str, str]


class Tracker(Protocol):
    """Told of finished trials while others train. It is opened before anything is known of the study."""

    def begin(self, subject: Subject) -> None:
        """The study is known; what follows is about it."""
        ...

    def tell(self, record: Record) -> None:
        """A finished trial; told again after a resume, it adds nothing."""
        ...

    def finish(self, ranking: list[Record], model: Path | None) -> None:
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
class Silent:
    """Nobody is told."""

    def begin(self, subject: Subject) -> None:
        return

    def tell(self, record: Record) -> None:
        return

    def finish(self, ranking: list[Record], model: Path | None) -> None:
        return

    def close(self, seconds: float) -> str | None:
        return None
