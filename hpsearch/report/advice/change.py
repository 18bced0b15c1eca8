"""A piece of advice, and the changes of the study file that it proposes."""

from typing import Any, NamedTuple

from hpsearch.core.text import format_yaml


class ProposedChange(NamedTuple):
    """A change of the study file.

    Attributes:
        key: dotted path: `train.epochs`, `parameters.learning_rate`.
        new: the value to write, as in YAML.
        old: the value now; None if the key is absent.
        parameter: the searched parameter that moves, else None.
        direction: +1 if its values become larger, −1 if they become smaller, 0 for neither.
        certain: a follow-up study can make the change; else a person must decide.
    """

    key: str
    new: Any
    old: Any = None
    parameter: str | None = None
    direction: int = 0
    certain: bool = True

    def __str__(self) -> str:
        before = "" if self.old is None else f"{format_yaml(self.old)} → "
        return f"{self.key}: {before}{format_yaml(self.new)}"


class Advice(NamedTuple):
    """A piece of advice.

    Attributes:
        topic: its kind: `epochs`, `range`, `units`, ….
        evidence: a sentence with the numbers from which it follows, without a period.
        changes: what to change; none if there is nothing to change in the study file.
    """

    topic: str
    evidence: str
    changes: tuple[ProposedChange, ...] = ()

    def __str__(self) -> str:
        changes = "; ".join(map(str, self.changes))
        return f"{self.evidence}. Change {changes}" if changes else f"{self.evidence}."
