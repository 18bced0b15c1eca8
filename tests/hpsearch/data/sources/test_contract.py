"""Contract of every registered source."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import table_cases

from hpsearch.data.dataset import fingerprint
from hpsearch.data.frame import Column, Frame
from hpsearch.data.sources import SOURCES, Table

F64 = np.dtype(np.float64)


EXAMPLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "sklearn": lambda folder: {"name": "iris"},
    "formula": lambda folder: {"name": "arc"},
    "npz": lambda folder: {"path": written(folder, x=np.eye(4, 3, dtype=np.uint8), y=np.array([0, 1, 1, 0]))},
    "parquet": lambda folder: {**table_cases.written(folder, "parquet", table_cases.people()), "target": "income"},
    "sql": lambda folder: {**table_cases.written(folder, "sql", table_cases.people()), "target": "income"},
    "openml": table_cases.cached,
    "csv": lambda folder: {"path": text(folder, "a,b,c\n1,x,no\n,y,yes\n3,,no\n"), "target": "c"},
}


def written(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "rows.npz", **arrays)
    return str(folder / "rows.npz")


def text(folder: Path, content: str) -> str:
    (folder / "rows.csv").write_text(content, "utf-8")
    return str(folder / "rows.csv")


@pytest.mark.parametrize("name", SOURCES)
def test_contract(name: str, tmp_path: Path) -> None:
    """Each registered source returns valid rows, survives JSON and reads the same rows again."""
    made = SOURCES[name].model_validate(EXAMPLES[name](tmp_path))
    assert made.source == name and type(made).model_validate(made.model_dump(mode="json")) == made
    assert made.split is None and made.image is None and made.scale == made.target_scale == "standard"
    rows, again = made.load(), made.load()
    check_contract(rows)
    assert fingerprint(rows) == fingerprint(again)


def columns(rows: Table) -> list[Column]:
    assert isinstance(rows.x, Frame)
    return list(rows.x.columns.values())


def check_contract(rows: Table) -> None:
    if isinstance(rows.x, Frame):
        assert rows.features == tuple(rows.x.columns) and rows.y.shape == (len(rows.x),)
        assert all(
            len(c.values) == len(rows.x) and (c.values.dtype == F64) == (c.categories is None) for c in columns(rows)
        )
    else:
        assert rows.x.dtype in (np.float32, F64) and rows.x.ndim == 2 and rows.y.shape == (len(rows.x),)
        assert len(rows.features) == rows.x.shape[1] == len(set(rows.features))
    assert rows.y.dtype == (np.int64 if rows.classes else np.float64)
    if rows.classes:
        assert set(np.unique(rows.y).tolist()) == set(range(len(rows.classes)))
    for numbers in rows.parts.values():
        assert numbers.dtype == np.intp and len(np.unique(numbers)) == len(numbers) > 0
        assert numbers.min() >= 0 and numbers.max() < len(rows.x)
