"""Preprocessing compared with scikit-learn's transformers, on real and on generated tables."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler
from table_cases import DATA, table

from engine.data.scaling import SCALERS
from hpsearch.data.frame import Column, Frame, frame_from_pandas
from hpsearch.data.preprocessing import Preprocessing, PreprocessingConfig, fit
from hpsearch.errors import DataError

RIVALS = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}
REAL: dict[str, dict[str, Any]] = {
    "adult": {"path": "adult-train.csv", "missing": ["?"]},
    "california": {"path": "california.csv", "target": "median_house_value"},
    "titanic": {"path": "titanic.csv", "target": "survived", "drop": ["alive"]},
    "german": {"path": "german.csv"},
}
RECIPES = {
    "indicator": PreprocessingConfig(),
    "median": PreprocessingConfig(impute="median", scale="minmax"),
    "most_frequent": PreprocessingConfig(impute="most_frequent", scale="robust"),
    "rare": PreprocessingConfig(impute="median", min_frequency=20),
    "few": PreprocessingConfig(impute="median", max_categories=4),
}


def fitted(frame: Frame, rows: Any, config: PreprocessingConfig, **others: Any) -> Preprocessing:
    y = np.arange(len(frame), dtype=np.float64)
    return fit(frame, y, tuple(frame.columns), {}, None, config, [np.asarray(rows)], regression=True, **others)[0]


def as_pandas(frame: Frame) -> pd.DataFrame:
    """Return a frame for scikit-learn: numbers, and categories as objects with None."""
    columns = {}
    for name, column in frame.columns.items():
        if column.categories is None:
            columns[name] = column.values
        else:
            columns[name] = np.array([*column.categories, None], object)[column.values]
    return pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})


def rival(
    data: pd.DataFrame, numbers: list[str], names: list[str], rows: Any, config: PreprocessingConfig
) -> np.ndarray:
    """Return all rows as scikit-learn transforms them after fitting on `rows`, with columns in our order."""
    indicator = config.impute == "indicator"
    strategy = "most_frequent" if config.impute == "most_frequent" else "median"
    imputer = SimpleImputer(strategy=strategy, keep_empty_features=True, add_indicator=False)
    steps = [("numbers", make_pipeline(imputer, RIVALS[config.scale]()), numbers)]
    train = data.iloc[rows]
    if indicator:
        flags = [name for name in numbers if train[name].isna().any()]
        steps.append(("flags", SimpleImputer(strategy="constant", fill_value=0.0), flags))
    for name in names:
        if indicator and train[name].isna().any():
            fill = SimpleImputer(strategy="constant", fill_value="\U0010ffff", missing_values=None)  # sorts last
        else:
            fill = SimpleImputer(strategy="most_frequent", missing_values=None)
        encoder = OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            sparse_output=False,
            min_frequency=config.min_frequency,
            max_categories=config.max_categories,
        )
        steps.append((f"name {name}", make_pipeline(fill, encoder), [name]))
    given = data.astype(dict.fromkeys(names, object))
    given[names] = given[names].where(given[names].notna(), None)
    transformer = ColumnTransformer(steps, sparse_threshold=0)
    transformer.fit(given.iloc[rows])
    out = transformer.transform(given)
    if indicator and flags:
        out[:, transformer.output_indices_["flags"]] = data[flags].isna()
    return np.asarray(out, np.float64)


@pytest.mark.parametrize("config", RECIPES)
@pytest.mark.parametrize("name", REAL)
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_real_tables_like_scikit_learn(name: str, config: str) -> None:
    """Fit on two thirds of the rows and transform all rows, so that some categories are unknown."""
    read = table("csv", **{**REAL[name], "path": str(DATA / REAL[name]["path"])})
    assert isinstance(read.x, Frame)
    frame = read.x.take(slice(0, 6000))
    rows = np.random.default_rng(1).permutation(len(frame))[: len(frame) * 2 // 3]
    ours = fitted(frame, rows, RECIPES[config])
    numbers = [n for n, c in frame.columns.items() if c.categories is None]
    names = [n for n, c in frame.columns.items() if c.categories is not None]
    theirs = rival(as_pandas(frame), numbers, names, rows, RECIPES[config])
    found = ours.inputs(frame, ())
    assert found.dtype == np.float32 and found.shape == theirs.shape == (len(frame), ours.width)
    np.testing.assert_allclose(found, theirs, rtol=2e-6, atol=2e-6)


def made(cells: list[tuple[float | None, str | None]]) -> Frame:
    return frame_from_pandas(
        pd.DataFrame(
            {
                "n": np.array([np.nan if n is None else n for n, _ in cells]),
                "w": pd.Series([w for _, w in cells], dtype=object),
            }
        )
    )


CELL = st.tuples(st.one_of(st.none(), st.integers(-5, 5).map(float)), st.sampled_from([None, "b", "a", "d", "c", "ä"]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(CELL, min_size=4, max_size=25),
    st.sampled_from(["indicator", "median", "most_frequent"]),
    st.integers(1, 4),
    st.integers(2, 5),
)
def test_generated_tables_like_scikit_learn(
    cells: list[tuple[float | None, str | None]], impute: str, rare: int, categories: int
) -> None:
    """Tables include ties, rare and unknown categories.

    scikit-learn counts imputed cells among rare categories and we do not, so the two are not combined.
    """
    cells = [(1.0, "a"), *cells]
    rows = np.arange(len(cells) * 2 // 3)
    if any(word is None for _, word in cells[: len(rows)]):
        rare, categories = 1, 100
    frame, config = made(cells), PreprocessingConfig(impute=impute, min_frequency=rare, max_categories=categories)
    ours = fitted(frame, rows, config)
    theirs = rival(as_pandas(frame), ["n"], ["w"], rows, config)
    np.testing.assert_allclose(ours.inputs(frame, ()), theirs, rtol=2e-6, atol=2e-6)
    assert ours.inputs(frame, ()).shape == (len(cells), ours.width)


# --- by hand


def names_of(values: list[str | None]) -> Frame:
    return frame_from_pandas(pd.DataFrame({"w": pd.Series(values, dtype=object)}))


def test_one_hot_encoding() -> None:
    """Missing cells have a column of their own; unknown categories are all zeros."""
    frame = names_of(["b", "a", None, "b", "new"])
    found = fitted(frame, [0, 1, 2, 3], PreprocessingConfig()).inputs(frame, ())
    assert found.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]]
    found = fitted(frame, [0, 1, 3], PreprocessingConfig()).inputs(frame, ())  # no gap in training: the most frequent
    assert found.tolist() == [[0, 1], [1, 0], [0, 1], [0, 1], [0, 0]]


def test_rare_categories_share_a_column() -> None:
    frame = names_of(["a"] * 3 + ["b"] * 3 + ["c", "d", None, "new"])
    found = fitted(frame, range(9), PreprocessingConfig(min_frequency=2)).inputs(frame, ())
    assert found[[0, 3, 6, 7, 8, 9]].tolist() == [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],  # a gap is not rare
        [0, 0, 1, 0],  # unknown is
    ]


def test_maximum_number_of_columns() -> None:
    values: list[str | None] = [f"w{k}" for k in range(10_000)] + ["often"] * 5
    frame = names_of(values)
    found = fitted(frame, range(len(values)), PreprocessingConfig(max_categories=50)).inputs(frame, ())
    assert found.shape == (10_005, 50) and (found.sum(axis=1) == 1).all()
    assert found[:, -1].sum() == 10_000 - 48 and (found[-5:] == found[-1]).all() and found[-1, -1] == 0


def test_numbers_are_scaled_and_imputed() -> None:
    frame = frame_from_pandas(pd.DataFrame({"n": [1.0, np.nan, 3.0, 8.0, np.nan], "m": [5.0, 5, 5, 5, 7]}))
    found = fitted(frame, [0, 1, 2, 3], PreprocessingConfig(scale="none"))
    assert found.inputs(frame, ()).tolist() == [[1, 5, 0], [3, 5, 1], [3, 5, 0], [8, 5, 0], [3, 7, 1]]
    assert found.inputs(frame, ()).dtype == np.float32
    unseen = fitted(frame, [0, 2, 3], PreprocessingConfig(scale="none"))  # no gap in training, so no column for it
    assert unseen.inputs(frame, ()).tolist() == [[1, 5], [3, 5], [3, 5], [8, 5], [3, 7]]
    constant = fitted(frame, [0, 1, 2, 3], PreprocessingConfig()).inputs(frame, ())
    assert (constant[:4, 1] == 0).all()


def test_empty_columns_are_zero() -> None:
    frame = frame_from_pandas(pd.DataFrame({"n": [np.nan, np.nan, 4.0], "m": [1.0, 2.0, 3.0]}))
    for impute in ("median", "most_frequent", "indicator"):
        found = fitted(frame, [0, 1], PreprocessingConfig(impute=impute)).inputs(frame, ())
        assert (found[:2, 0] == 0).all() and np.isfinite(found).all()


@pytest.mark.parametrize("scale", [*SCALERS, "none"])
def test_folds_have_the_same_columns(scale: str) -> None:
    """All folds have the same width; a fold with all categories equals one that is fitted alone."""
    generator = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "n": np.where(generator.random(60) < 0.2, np.nan, generator.normal(size=60)),
            "w": np.array(["p", "q", "r", None], object)[generator.integers(0, 4, 60)],
        }
    )
    data.loc[0, "w"] = "only here"
    frame = frame_from_pandas(data)
    folds = [np.arange(0, 40), np.arange(20, 60), np.arange(10, 50)]
    y = generator.normal(size=60)
    found = fit(frame, y, ("n", "w"), {}, None, PreprocessingConfig(scale=scale), folds, regression=True)
    assert len({p.width for p in found}) == 1
    for preprocessing, rows in zip(found[1:], folds[1:], strict=True):
        alone = fit(frame, y, ("n", "w"), {}, None, PreprocessingConfig(scale=scale), [rows], regression=True)[0]
        ours, theirs = preprocessing.inputs(frame, ()), alone.inputs(frame, ())
        place = 2 + sorted(["only here", "p", "q", "r"]).index("only here")
        assert (ours[:, place] == 0).all()  # unknown to these folds
        assert np.delete(ours, place, axis=1).tobytes() == theirs.tobytes()
        assert np.allclose(preprocessing.targets(y), (y - y[rows].mean()) / y[rows].std())
    assert found[0].inputs(frame, ())[0].sum() != found[1].inputs(frame, ())[0].sum()


def test_describe_and_restore(tmp_path: Path) -> None:
    """A round trip through JSON and a file of arrays gives the same bits."""
    frame = made([(1.0, "a"), (None, "b"), (2.5, None), (3.0, "a"), (None, "c")])
    for scale in (*SCALERS, "none"):
        ours = fitted(frame, [0, 1, 2, 3], PreprocessingConfig(scale=scale, min_frequency=2))
        content, arrays = ours.describe()
        np.savez(tmp_path / "arrays.npz", **arrays)
        with np.load(tmp_path / "arrays.npz", allow_pickle=False) as read:
            again = Preprocessing.restore(json.loads(json.dumps(content)), dict(read), ours.features, ours.input_format)
        assert again.inputs(frame, ()).tobytes() == ours.inputs(frame, ()).tobytes()
        assert again.describe()[0] == content and again.unit == ours.unit and again.tabular


def test_invalid_rows() -> None:
    frame = made([(1.0, "a"), (None, "b"), (2.5, None), (3.0, "a")])
    ours = fitted(frame, range(4), PreprocessingConfig())
    with pytest.raises(DataError, match=r"column 'n' must hold numbers, got 'x' in row 2"):
        ours.inputs(frame_from_pandas(pd.DataFrame({"n": ["1", "x"], "w": ["a", "b"]})), ())
    with pytest.raises(DataError, match=r"column 'n' must hold numbers within ±3.4e\+38, got inf in row 1"):
        ours.inputs(frame_from_pandas(pd.DataFrame({"n": [np.inf], "w": ["a"]})), ())
    with pytest.raises(DataError, match=r"there is no column 'w'; there is n, ww|did you mean 'ww'"):
        ours.inputs(frame_from_pandas(pd.DataFrame({"n": [1.0], "ww": ["a"]})), ())
    strict = replace(ours, fill_values=None)
    with pytest.raises(DataError, match=r"column 'n' must not have missing cells"):
        strict.inputs(frame, ())
    as_text = ours.inputs(
        frame_from_pandas(pd.DataFrame({"n": ["1.0", None, "2.5", "3"], "w": ["a", "b", None, "a"]})), ()
    )
    assert as_text.tobytes() == ours.inputs(frame, ()).tobytes()


def test_categories_that_are_numbers() -> None:
    """7, 7.0 and "7" are one category, in training and afterwards."""
    frame = frame_from_pandas(pd.DataFrame({"w": ["7", "x", "7", "8"]}))
    ours = fitted(frame, range(4), PreprocessingConfig())
    want = ours.inputs(frame.take(np.array([0, 3])), ())
    for values in ([7, 8], [7.0, 8.0], ["7 ", " 8"], pd.Categorical([7, 8])):
        assert ours.inputs(frame_from_pandas(pd.DataFrame({"w": values})), ()).tobytes() == want.tobytes()


def test_the_most_frequent_category_of_each_fold() -> None:
    """The category of a missing cell comes from each fold's training rows."""
    names = np.array([0] * 4 + [1] * 6 + [-1], np.int32)
    frame = Frame({"word": Column(names, ("a", "b"))})
    folds = [np.array([0, 1, 2, 3, 4, 5, 10]), np.array([0, 4, 5, 6, 7, 8, 9, 10])]
    made = fit(
        frame, np.zeros(11), ("word",), {}, None, PreprocessingConfig(impute="most_frequent"), folds, regression=False
    )
    rows = [fold.inputs(frame, (2,))[-1].tolist() for fold in made]
    assert rows == [[1.0, 0.0], [0.0, 1.0]]
