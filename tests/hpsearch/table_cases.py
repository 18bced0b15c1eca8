"""One table in several formats, for tests of table sources."""

import gzip
import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import paths
import pytest

from hpsearch.data.frame import Column, Frame
from hpsearch.data.sources import SOURCES, Table
from hpsearch.errors import DataError

DATA = paths.DATA
KINDS = ("csv", "parquet", "sql")  # formats of `written`


def people(rows: int = 60, seed: int = 3) -> pd.DataFrame:
    """Return a table with numbers of all magnitudes, missing cells, text with commas and quotes, and two classes."""
    generator = np.random.default_rng(seed)
    size = generator.normal(size=rows) * 10.0 ** generator.integers(-9, 9, rows)
    size[generator.random(rows) < 0.2] = np.nan
    words = np.array(["tall", "short, thin", 'say "hi"', "two\nlines", "ünï"], object)[generator.integers(0, 5, rows)]
    words[generator.random(rows) < 0.1] = None
    return pd.DataFrame(
        {
            "size": size,
            "word": words,
            "count": generator.integers(0, 1000, rows),
            "income": np.array(["<=50K", ">50K"], object)[np.arange(rows) % 2],
        }
    )


def written(folder: Path, kind: str, data: pd.DataFrame, name: str = "people") -> dict[str, Any]:
    """Write a table to a file and return the settings of its source."""
    path = folder / f"{name}.{kind}"
    match kind:
        case "csv":
            data.to_csv(path, index=False)
        case "parquet":
            data.to_parquet(path)
        case _:
            with closing(sqlite3.connect(path)) as connection:
                data.to_sql(name, connection, index=False)
            return {"source": "sql", "url": f"sqlite:///{path}", "query": f"SELECT * FROM {name} ORDER BY rowid"}
    return {"source": kind, "path": str(path)}


def table(source: str, **settings: Any) -> Table:
    """Read a table."""
    return SOURCES[source].model_validate({"target": -1, **settings}).load()


def column(read: Table, name: str) -> Column:
    assert isinstance(read.x, Frame)
    return read.x.columns[name]


def cells(read: Table, name: str) -> list[Any]:
    """Return the cells of a column: numbers or text, None where missing."""
    found = column(read, name)
    if found.categories is None:
        return [None if np.isnan(value) else value for value in found.values.tolist()]
    return [None if code < 0 else found.categories[code] for code in found.values.tolist()]


def targets(read: Table) -> list[Any]:
    """Return the targets, classes by name."""
    return [read.classes[int(y)] for y in read.y] if read.classes else read.y.tolist()


def refusal(source: str, **settings: Any) -> str:
    """Return the error message of a source that cannot be read, which must be one line."""
    with pytest.raises(DataError) as caught:
        table(source, **settings)
    message = str(caught.value)
    assert message.startswith("data: ") and "\n" not in message
    return message


# --- responses of openml.org

ARFF = """@relation small
@attribute who {a,b,c}
@attribute code {1,2,3}
@attribute size numeric
@attribute number numeric
@attribute class {7,8}
@data
"""
ROWS = [f"{'abc'[k % 3]},{k % 3 + 1},{'?' if k == 4 else k / 2},{k},{7 + k % 2}" for k in range(12)]


def answers(number: int = 77, *, targets: tuple[str, ...] = ("class",), status: str = "active") -> dict[str, bytes]:
    """Return path → response for a data set of five columns, of which `number` is an identifier."""
    arff = (ARFF + "\n".join(ROWS) + "\n").encode()
    kinds = {"who": "nominal", "code": "nominal", "size": "numeric", "number": "numeric", "class": "nominal"}
    features = [
        {
            "index": str(place),
            "name": name,
            "data_type": kind,
            "is_target": str(name in targets).lower(),
            "is_ignore": "false",
            "is_row_identifier": str(name == "number").lower(),
            "number_of_missing_values": str(int(name == "size")),
        }
        for place, (name, kind) in enumerate(kinds.items())
    ]
    description = {
        "id": str(number),
        "name": "small",
        "version": "1",
        "description": "made for a test",
        "format": "ARFF",
        "status": status,
        "file_id": f"{number}/small.arff",  # scikit-learn before 1.7 makes the URL from it
        "url": f"https://api.openml.org/data/v1/download/{number}/small.arff",
        "md5_checksum": hashlib.md5(arff, usedforsecurity=False).hexdigest(),
    }
    api = "api/v1/json/data"
    return {
        f"{api}/{number}": json.dumps({"data_set_description": description}).encode(),
        f"{api}/features/{number}": json.dumps({"data_features": {"feature": features}}).encode(),
        f"{api}/qualities/{number}": json.dumps(
            {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(len(ROWS))}]}}
        ).encode(),
        f"data/v1/download/{number}/small.arff": arff,
    }


def cached(folder: Path, **settings: Any) -> dict[str, Any]:
    """Fill a folder as scikit-learn does after a download, and return the settings of the source."""
    for path, content in answers(**settings).items():
        place = folder / "openml" / "openml.org" / f"{path}.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(gzip.compress(content))
    return {"id": settings.get("number", 77), "cache": str(folder)}
