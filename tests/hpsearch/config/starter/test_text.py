"""The text of a first study file: all names survive, and the header is short."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hpsearch.config import yaml_text
from hpsearch.config.starter.text import scalar
from hpsearch.data.text_files.csv_file import CsvFile, TextFormat
from hpsearch.errors import DataError, HpsearchError
from tests.hpsearch.config.starter.test_starter import HOSTILE, comments, prepared, source, table, written


def test_many_columns(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2000)).round(2)
    spec = written(tmp_path, pd.DataFrame(x, columns=[f"f{k}" for k in range(2000)]).assign(y=["a"] * 5 + ["b"] * 55))
    text = comments(tmp_path)
    assert "… and 1,971 more" in text and len(text.splitlines()) < 100
    assert source(spec).drop == ()


def test_only_text(tmp_path: Path) -> None:
    cells = {"a": list("pqr") * 20, "b": list("stuv") * 15, "y": ["yes", "no"] * 30}
    spec = written(tmp_path, pd.DataFrame(cells))
    assert prepared(spec, tmp_path).inputs == (7,)


@example("\ud800")
@given(st.text())
def test_any_text_survives(text: str) -> None:
    word = scalar(text)
    content: Any = yaml_text.YamlReader("", "").value(
        yaml_text.compose_yaml("", f"k: [{word}, x]\nm:\n  {word}: {word}  # c\n"), ()
    )
    assert content == {"k": [text, "x"], "m": {text: text}}
    assert word.isprintable()


def test_hostile_words_survive() -> None:
    for text in HOSTILE:
        test_any_text_survives.hypothesis.inner_test(text)  # type: ignore[attr-defined]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=12)),
        min_size=4,
        max_size=4,
        unique_by=str.strip,
    ),
    classes=st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=2, unique=True),
)
def test_hostile_names(names: list[str], classes: list[str], tmp_path: Path) -> None:
    """Columns and classes with any name are written and read unchanged, or refused in one line."""
    cells = pd.DataFrame(dict(enumerate([table()["a"], table()["b"], ["same"] * 60, classes * 30])))
    cells.columns = names
    path = tmp_path / "t.csv"
    cells.to_csv(path, index=False)
    try:
        spec = written(tmp_path, path, "-1")
    except HpsearchError as error:
        assert isinstance(error, DataError) and str(error).isprintable() == ("\n" not in str(error))
        return
    file = CsvFile(path, TextFormat(**{name: getattr(spec.data, name) for name in TextFormat._fields}), ())
    there: list[Any] = file.names if file.format.header else list(range(len(file.names)))
    assert source(spec).target == there[-1]
    assert set(source(spec).drop) <= set(there) and (there[2] in source(spec).drop or not file.format.header)
    if file.format.header:
        assert set(source(spec).load().classes) == {c.strip() for c in classes}
    document_text = comments(tmp_path)
    assert all(line.isprintable() for line in document_text.split("\n"))
