"""Retries, and error messages without passwords."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpsearch.core.text import masked
from hpsearch.storage.records import Baseline, Trial
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.base import StoreReplacedError
from hpsearch.tracking.sender import Message, RetryingSender, failure_reason
from tests.hpsearch.tracking.mlflow.mlflow_cases import STATES, STUDY

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("no route to http://me:hunter-22@host:5000/x", ""),
        ("no route to postgresql+psycopg://me:hunter-22@host/db?x=1", ""),
        ("('postgresql://me:hunt@r-hunter-22/3@host/db')", ""),
        ("token hunter-22 refused", "http://me:hunter-22@host"),
        ("p%40hunter-22 or p@hunter-22", "postgresql://me:p%40hunter-22@host/db"),
        ("connect host=h password=hunter-22 port=5", ""),
        ("https://hunter-22@host/x", ""),
        ("mysql://host/db?user=me&password=hunter-22&x=1", ""),
    ],
)
def test_passwords_are_masked(text: str, uri: str) -> None:
    assert "hunter" not in masked(text, uri) and "***" in masked(text, uri)
    assert "hunter" not in failure_reason(OSError(text), uri)


@pytest.mark.parametrize("text", ["http://host:5000/a", "/tmp/a@b:c", "me@host: no", "sqlite:////tmp/mlflow.db"])
def test_text_without_password_stays(text: str) -> None:
    assert masked(text, text) == text


class FailingTracker:
    """A tracker that fails for some trials, for a while or always."""

    def __init__(self, fails: Callable[[str, int], Exception | None]) -> None:
        self.fails, self.calls, self.log = fails, 0, list[str]()

    def __call__(self, uri: str) -> "FailingTracker":
        return self

    def _do(self, call: str) -> None:
        self.calls += 1
        error = self.fails(call, self.calls)
        if error is not None:
            raise error
        self.log.append(call)

    def start_study(self, study: StudyInfo) -> None:
        self._do("start")

    def log_trial(self, trial: Trial) -> None:
        self._do(trial.label)

    def finish_study(
        self,
        ranking: list[Trial],
        model: Path | None,
        baselines: Sequence[Baseline] = (),
        ensemble: Path | None = None,
    ) -> None:
        self._do("finish")

    def close(self, seconds: float) -> str | None:
        self._do("close")
        return None


def send_all(tracker: FailingTracker) -> RetryingSender:
    """Send a whole study."""
    sender = RetryingSender(tracker, "http://me:hunter-22@host")
    for message in [Message("start_study", (STUDY,)), *(Message("log_trial", (t,)) for t in STATES)]:
        sender.add(message)
        sender.send_next()
    sender.add(Message("finish_study", ([], None)))
    sender.flush()
    return sender


LABELS = [t.label for t in STATES]


@pytest.mark.parametrize(
    ("fails", "want", "finished"),
    [
        (lambda call, n: None, 5, True),
        (lambda call, n: OSError("no") if call == "coarse/1" else None, 4, True),
        (lambda call, n: OSError("no") if n < 7 else None, 5, True),
        (lambda call, n: OSError("no"), 0, False),
        (lambda call, n: StoreReplacedError("deleted") if n == 4 else None, 0, False),
        (lambda call, n: StoreReplacedError("deleted") if call == "close" else None, 0, False),
        (lambda call, n: OSError("no") if call == "close" else None, 5, True),
    ],
    ids=["never", "one trial", "a while", "always", "replaced", "replaced late", "close"],
)
def test_retries(fails: Any, want: int, finished: bool) -> None:
    """Each trial arrives once, the end after them, and the progress counts those that arrived."""
    tracker = FailingTracker(fails)
    sender = send_all(tracker)
    assert (sender.progress.trials, sender.progress.finished) == (want, finished)
    logged = [call for call in tracker.log if call in LABELS]
    assert len(logged) == len(set(logged)) and ("finish" in tracker.log[-2:]) >= finished
    assert want == 5 or sender.progress.reason
    assert want == 0 or len(logged) == want
