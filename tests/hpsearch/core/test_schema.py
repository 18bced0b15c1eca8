"""The base of a study file's parts: strict and frozen."""

from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hpsearch.core.schema import Listed, Name, Number, StrictModel


class Part(StrictModel):
    count: int = 1
    share: Number = 0.5
    title: str = "a"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"cuont": 2}, "cuont"),
        ({"count": "2"}, "count"),
        ({"count": 2.0}, "count"),
        ({"share": "0.5"}, "share"),
        ({"share": float("inf")}, "share"),
        ({"share": float("nan")}, "share"),
        ({"title": 3}, "title"),
    ],
)
def test_invalid_content(content: dict[str, Any], key: str) -> None:
    """Unknown keys, values of another type, and numbers that are not finite."""
    with pytest.raises(ValidationError) as caught:
        Part.model_validate(content)
    assert {error["loc"][0] for error in caught.value.errors()} == {key}


def test_parts_are_frozen() -> None:
    part = Part(count=2)
    with pytest.raises(ValidationError, match="frozen"):
        part.count = 3
    assert hash(part) == hash(Part(count=2))


def test_numbers_keep_their_type() -> None:
    assert [type(Part.model_validate({"share": value}).share) for value in (1, 1.0)] == [int, float]


def test_lists_become_tuples() -> None:
    adapter = TypeAdapter(Annotated[tuple[int, ...], Listed])
    assert adapter.validate_python([1, 2], strict=True) == (1, 2)
    with pytest.raises(ValidationError):
        adapter.validate_python("12", strict=True)


@pytest.mark.parametrize("name", ["a", "A.b-c_d 0", "0", "x" * 100])
def test_names(name: str) -> None:
    assert TypeAdapter(Name).validate_python(name) == name


@pytest.mark.parametrize("name", ["", " a", "-a", "a/b", "a:b", "é", "a\n", "x" * 101])
def test_invalid_names(name: str) -> None:
    """A name becomes part of files, seeds and labels."""
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)
