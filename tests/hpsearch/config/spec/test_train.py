"""The section `train` of the engine: checks."""

import pytest
from pydantic import ValidationError

from hpsearch.config.spec.train import Train


def test_epochs_are_a_multiple_of_the_interval_of_checks() -> None:
    assert Train(epochs=12, check_every=4).check_every == 4
    with pytest.raises(ValidationError, match="epochs must be a multiple of check_every, got 10 and 4"):
        Train(epochs=10, check_every=4)
