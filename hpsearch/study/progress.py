"""Progress reports of a running study, and the exception for a study that cannot continue."""

from typing import NamedTuple

from hpsearch.storage.records import Trial


class Halted(Exception):
    """Raised when a study cannot continue: workers do not start, rows cannot be read, or too many trials failed."""


class Progress(NamedTuple):
    """The progress of a study.

    Attributes:
        stage: name of the current stage.
        stage_number: its number, from 1.
        stages: number of stages.
        finished: finished trials of the whole study, including pruned, diverged and failed ones.
        pruned, diverged, failed, running: trials of the whole study in each state.
        total: planned trials of all stages.
        best: the best trial so far.
        news: trials that finished since the last report.
        notes: messages for the user, each reported once.
    """

    stage: str
    stage_number: int
    stages: int
    finished: int
    pruned: int
    diverged: int
    failed: int
    running: int
    total: int
    best: Trial | None
    news: tuple[Trial, ...]
    notes: tuple[str, ...] = ()
