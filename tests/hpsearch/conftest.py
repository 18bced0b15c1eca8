"""Fixtures for all tests of the package."""

import cases
import pytest
from fault_cases import VICTIMS, StudyCase, make_case
from quick import migrations_read_once  # noqa: F401


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> StudyCase:
    """A study with everything that the loop does: pruning, zooming, diverged trials and a confirming stage."""
    found = make_case(tmp_path_factory.mktemp("full"), cases.FULL)
    assert all(found.trials[place].epochs > 2 for place in VICTIMS), "too short for a checkpoint in between"
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> StudyCase:
    """A study without pruning."""
    return make_case(tmp_path_factory.mktemp("plain"), {})
