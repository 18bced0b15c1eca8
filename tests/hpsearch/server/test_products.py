"""The log, and commands that fail or run too long; the rest is in routes/test_products.py."""

import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpsearch.errors import DataError, ServerError
from hpsearch.server import products
from hpsearch.server.places import Places

ID = "0" * 16


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "root", 1 << 20)
    made.create_study(ID, "name: a", {})
    return made


def test_log(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    assert products.log(places, ID) == ""
    (places.study(ID) / "log").write_bytes(b"first\nl\xffast")
    assert products.log(places, ID) == "first\nl\ufffdast"
    monkeypatch.setattr(products, "SHOWN_LOG_BYTES", 3)
    assert products.log(places, ID) == "ast"


def test_commands(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    (places.study(ID) / "study.db").write_bytes(b"no database")
    with pytest.raises(DataError, match=r"study\.db: "):
        products.report(places, ID)
    monkeypatch.setattr(products, "COMMAND_SECONDS", 0.01)
    with pytest.raises(ServerError, match="has taken more than 0 seconds"):
        products.report(places, ID)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_a_small_file_that_expands(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that reads it ends when it has used its memory; the server tells so."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: np.zeros(10_000_000) for name in ("x", "y")})
    pq.write_table(table, tmp_path / "bomb", compression="zstd")
    content = (tmp_path / "bomb").read_bytes()
    assert len(content) < 1_000_000
    digest = hashlib.sha256(content).hexdigest()
    places.upload(digest).write_bytes(content)
    monkeypatch.setattr(products, "COMMAND_MEMORY", 300 << 20)
    with pytest.raises(DataError, match="out of memory"):
        products.study_file(places, "bomb.parquet", digest, "y")


def test_commands_end_with_the_server(places: Places) -> None:
    """Else the server would wait for them when it ends."""
    begun = time.monotonic()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(products._run, places.study(ID), "serve", "--port", "0")  # has no end
        while not products._COMMANDS:
            time.sleep(0.001)
        products.end_commands()
        with pytest.raises(DataError):
            waiting.result()
    assert time.monotonic() - begun < 20 and not products._COMMANDS
