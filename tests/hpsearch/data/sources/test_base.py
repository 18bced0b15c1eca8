"""Settings that all sources share."""

import pytest
from pydantic import ValidationError

from hpsearch.data.sources import Split
from hpsearch.data.sources.formula import FormulaSource


def test_image_shapes() -> None:
    made = FormulaSource.model_validate({"name": "moons", "image": [2, 1, 1]})
    assert made.image == (2, 1, 1)
    for image in ([1, 2], [1, 1, 1, 2], [0, 1, 2], [1.0, 1, 2], "x", 3):
        with pytest.raises(ValidationError):
            FormulaSource.model_validate({"name": "moons", "image": image})


def test_test_fraction_is_the_rest() -> None:
    """The test fraction is the rest; all three fractions are validated."""
    assert Split.model_validate({"train": 0.9, "val": 0.1}).test == 0
    assert Split.model_validate({"train": 0.5, "val": 0.2}).test == 0.3
    assert Split.model_validate({"train": 1 / 3, "val": 2 / 3}).test == 0
    assert Split.model_validate({}) == Split(train=0.6, val=0.2, test=0.2)
    for wrong in ({"train": 0.9, "val": 0.2}, {"train": 0.9}, {"train": 0.9, "val": 0.1, "test": 0.2}):
        with pytest.raises(ValidationError, match="add up to 1"):
            Split.model_validate(wrong)
