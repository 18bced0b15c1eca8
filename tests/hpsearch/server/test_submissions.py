"""Submitting: nothing is left of a study that is refused."""

from pathlib import Path

import pytest

from hpsearch.errors import ServerError, SpecError
from hpsearch.server.places import Places
from hpsearch.server.policy import Policy
from hpsearch.server.queue import Queue
from hpsearch.server.submissions import Submitted, submit
from tests.hpsearch.server.conftest import study_text


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "root", 1 << 20)


def test_submitted(places: Places) -> None:
    queue = Queue(places.queue)
    submission, notices = submit(queue, places, Policy(), Submitted(study_text(), {}, 2, "body"), "ann", None)
    assert (submission.name, submission.state, submission.priority, notices) == ("small", "queued", 2, [])
    assert (places.study(submission.id) / "study.yaml").read_text() == study_text()


@pytest.mark.parametrize(
    ("text", "files", "error"),
    [
        ("name: a", {}, SpecError),
        (study_text(), {"a.csv": "0" * 64}, ServerError),
        (study_text(), {"a": "0"}, ServerError),
    ],
)
def test_refused(places: Places, text: str, files: dict[str, str], error: type[Exception]) -> None:
    queue = Queue(places.queue)
    with pytest.raises(error) as caught:
        submit(queue, places, Policy(), Submitted(text, files, 0, "body"), "ann", None)
    assert queue.listed() == [] == queue.held() and list((places.root / "studies").iterdir()) == []
    assert "/tmp" not in str(caught.value)
