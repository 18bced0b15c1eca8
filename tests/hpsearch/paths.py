"""Paths that tests share."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
STUDIES = REPOSITORY / "studies"
DATA = REPOSITORY.parent / "shared" / "data"  # real data sets; tests skip where they are absent
