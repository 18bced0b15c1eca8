"""An empty study database, and trials to store in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpsearch.core.space import InternalValue, Range, Space, build_space
from hpsearch.storage.records import Trial
from hpsearch.storage.sqlite_file import url_of
from hpsearch.storage.study_db import StudyDatabase

SPACE: Space = build_space({"x": Range(min=0.0, max=1.0)})


def trial(number: int, x: InternalValue = 0.5, stage: str = "coarse") -> Trial:
    """Return a running trial at a point of `SPACE`."""
    return Trial(stage, number, {"x": x}, SPACE.point({"x": x}), "running")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def database(file: Path) -> Iterator[StudyDatabase]:
    """A database with a study that has no stage yet."""
    opened = StudyDatabase.open(url_of(str(file)), create=True)
    opened.begin("small", {"seed": 5}, "fingerprint", "test")
    yield opened
    opened.close()
