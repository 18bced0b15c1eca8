"""Which study of a database a command means."""

import pytest

from hpsearch.errors import StorageError
from hpsearch.storage.access.names import chosen_study, command_arguments

URL = "sqlite:///studies.db"


def test_the_only_study_need_not_be_named() -> None:
    assert chosen_study(URL, ["small"], None) == "small"
    assert chosen_study(URL, [], None) == ""
    assert chosen_study(URL, ["a", "b"], "b") == "b"
    assert chosen_study(URL, ["a"], "new", create=True) == "new"


@pytest.mark.parametrize(
    ("names", "study", "said"),
    [
        (["small", "large"], None, "holds 2 studies; name one with --study: small, large"),
        ([f"s{n}" for n in range(200)], None, "s9 and 190 more"),
        (["small", "large"], "smal", "holds no study 'smal'; did you mean 'small'?"),
        (["small", "large"], "x", "holds no study 'x'; it holds small, large"),
        ([f"s{n}" for n in range(200)], "zebra", "s9 and 190 more"),
        ([], "small", "holds no study 'small'; it is empty"),
    ],
)
def test_a_study_that_is_not_clear(names: list[str], study: str | None, said: str) -> None:
    with pytest.raises(StorageError) as caught:
        chosen_study(URL, names, study)
    assert str(caught.value).startswith("studies.db: ") and said in str(caught.value)


def test_arguments_are_quoted() -> None:
    assert command_arguments("a b.db", None) == "'a b.db'"
    assert command_arguments("a.db", "my study") == "a.db --study 'my study'"
