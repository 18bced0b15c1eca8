"""Settings that all sources share."""

from typing import Any

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


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({}, "at random: 0.6 train, 0.2 val, 0.2 test"),
        ({"folds": 5, "test": 0}, "at random: 5 folds"),
        ({"by": "date", "folds": 3}, "in the order of 'date': 3 sliding windows, 0.2 test"),
        ({"by": 0, "train": 0.7, "val": 0.3}, "in the order of '0': 0.7 train, 0.3 val"),
        ({"groups": "patient", "folds": 3}, "by groups of 'patient': 3 folds, 0.2 test"),
        ({"column": "part"}, "by column 'part'"),
        ({"file": "parts.txt"}, "by file parts.txt"),
    ],
)
def test_splits_in_words(split: dict[str, Any], words: str) -> None:
    assert Split.model_validate(split).described == words
