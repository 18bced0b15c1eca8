"""Table profiles: target, task, dropped columns and descriptions."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpsearch.data.profile import NONSTANDARD_NUMBERS, ColumnProfile, TableProfile, profile_table
from hpsearch.errors import DataError


def table(rows: int = 60, **columns: Any) -> pd.DataFrame:
    """Return a table with the features a and b, further columns, and the target y."""
    x = np.random.default_rng(2).normal(size=(rows, 2)).round(3)
    y = columns.pop("y", np.where(x.sum(axis=1) > 0, "up", "down"))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], **columns, "y": y})


def profile(folder: Path, data: pd.DataFrame, **options: Any) -> TableProfile:
    path = folder / "t.csv"
    data.to_csv(path, index=False)
    return profile_table(path, options.pop("target", "y"), **options)


def column(found: TableProfile, name: str) -> ColumnProfile:
    return next(c for c in found.columns if c.name == name)


def dropped(found: TableProfile) -> list[str]:
    names: list[str] = found.settings.get("drop", [])
    return names


@pytest.mark.parametrize("name", ["id", "ID", "customer_id", "userId", "PassengerId", "row"])
def test_identifiers_are_dropped(name: str, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).permutation(60) * 17 + 1000
    found = profile(tmp_path, table(**{name: numbers}))
    assert dropped(found) == [name] and column(found, name).drop_reason == "unique number in each row"


@pytest.mark.parametrize("name", ["price", "acid", "width", "paid"])
def test_unique_numbers_with_other_names_are_kept(name: str, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).permutation(60) * 17 + 1000
    assert dropped(profile(tmp_path, table(**{name: numbers}))) == []


def test_columns_equivalent_to_the_target(tmp_path: Path) -> None:
    """One exception, more categories than classes, or an unrelated order: not equivalent."""
    classes = [k % 3 == 0 for k in range(60)]
    nearly = ["a" if c else "b" for c in classes[:-1]] + ["a" if not classes[-1] else "b"]
    finer = [f"a{k % 2}" if c else "b" for k, c in enumerate(classes)]
    assert dropped(profile(tmp_path, table(nearly=nearly, finer=finer, y=classes))) == []
    values = np.random.default_rng(1).normal(size=60)
    found = profile(tmp_path, table(other=np.roll(values, 1), cubed=values**3, y=values))
    assert dropped(found) == ["cubed"] and found.settings["task"] == "regression"
    assert column(found, "cubed").drop_reason == "equivalent to the target"
    assert found.range == pytest.approx((values.min(), values.max()))


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([k % 2 for k in range(60)], "classification"),
        ([k % 7 + 1.0 for k in range(60)], "classification"),
        (["a", "b"] * 30, "classification"),
        ([True, False] * 30, "classification"),
        ([k % 50 for k in range(60)], "regression"),
        ([k / 7 for k in range(60)], "regression"),
        ([(k % 4) / 8 for k in range(60)], "regression"),
    ],
)
def test_the_task_is_derived_from_the_target(values: list[Any], task: str, tmp_path: Path) -> None:
    assert profile(tmp_path, table(y=values)).settings["task"] == task


def test_the_task_is_given(tmp_path: Path) -> None:
    found = profile(tmp_path, table(y=[k % 2 for k in range(60)]), task="regression")
    assert found.settings["task"] == "regression" and found.classes == {} and found.range == (0, 1)


def test_descriptions(tmp_path: Path) -> None:
    found = profile(
        tmp_path,
        table(
            rooms=[k % 4 for k in range(60)],
            zip_code=[1000 + k % 6 for k in range(60)],
            size=[None if k % 4 == 0 else k / 7 for k in range(60)],
            town=["Ulm", "Ulm", "Bern", "Linz", "Graz"] * 12,
            price=[f"{k % 10},5" for k in range(60)],
            tail=[float(np.exp(k / 4)) for k in range(60)],
        ),
    )
    described = {c.name: c.description for c in found.columns}
    assert described["rooms"] == "0 … 3, 4 distinct" and column(found, "rooms").maybe_codes
    assert column(found, "zip_code").categorical_reason == "codes, judging by the name"
    assert described["size"].endswith(", 25 % missing") and column(found, "size").has_missing
    assert described["town"] == "4 categories: Ulm, Bern, Linz, …" and column(found, "town").categories == 4
    assert described["price"].endswith(f"; {NONSTANDARD_NUMBERS}") and not column(found, "price").drop_reason
    assert column(found, "tail").long_tail and not column(found, "rooms").long_tail
    assert described["y"] == "the target" and [c.position for c in found.columns] == list(range(9))
    assert found.settings["categorical"] == ["zip_code"] and found.rows == 60 and found.test == 0


def test_class_counts(tmp_path: Path) -> None:
    found = profile(tmp_path, table(y=["rare"] * 6 + ["often"] * 54))
    assert list(found.classes.items()) == [("often", 54), ("rare", 6)] and found.rarest == 0.1


def test_columns_of_a_file_without_a_header_are_given_by_position(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    table(same=[7] * 60).to_csv(path, index=False, header=False)
    found = profile_table(path, "-1")
    assert (found.settings["target"], found.settings["drop"], found.settings["header"]) == (3, [2], False)


def test_times_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table(when=pd.date_range("2020", periods=60), kind=pd.Categorical(["1", "2"] * 30)).to_parquet(path)
    found = profile_table(path, "y")
    assert column(found, "when").drop_reason == "neither numbers nor text" and column(found, "kind").categories == 2
    assert found.settings["source"] == "parquet" and dropped(found) == ["when"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (None, "name the column to predict with --target; the columns are 'a', 'b', 'y'; perhaps --target 'y'"),
        ("z", "--target: there is no column 'z'; the columns are 'a', 'b', 'y'"),
        ("yy", "--target: there is no column 'yy'; did you mean 'y'?"),
        ("3", "--target: there are 3 columns, so a position is from 0 to 2"),
    ],
)
def test_invalid_targets(target: str | None, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        profile(tmp_path, table(), target=target)
    assert str(caught.value).endswith(words)
