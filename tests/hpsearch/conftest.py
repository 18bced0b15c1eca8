"""Fixtures for all tests of the package."""

import cases
import pytest
from fault_cases import VICTIMS, StudyCase, make_case
from quick import migrations_read_once  # noqa: F401

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import prepare
from hpsearch.search.earlier import reusable_trials
from hpsearch.storage.records import Trial


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> StudyCase:
    """Return a study with everything the loop does: pruning, zooming, diverged trials and a confirming stage."""
    found = make_case(tmp_path_factory.mktemp("full"), cases.FULL)
    assert all(found.trials[place].epochs > 2 for place in VICTIMS), "too short for a checkpoint in between"
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> StudyCase:
    """Return a study without pruning."""
    return make_case(tmp_path_factory.mktemp("plain"), {})


@pytest.fixture(scope="session")
def conditional_spec() -> Spec:
    """Return the spec of a study with conditional parameters, dropout, batch normalization and given points."""
    return cases.small(**cases.RICH)


@pytest.fixture(scope="session")
def conditional_reference(conditional_spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Trial], str]:
    """Return the trials and the table of that study, trained inline without interruption."""
    folder = tmp_path_factory.mktemp("conditional")
    dataset, _ = prepare(conditional_spec.data, conditional_spec.seed, folder)
    study = cases.run(conditional_spec, dataset, folder / "small.db")
    assert len(reusable_trials(study.space, study.boxes[1], study.trials[:1])) > 10, "TPE is still in its start-up"
    return cases.rows(study), cases.table(folder / "small.db")
