"""The log, and commands that fail or run too long; the rest is in routes/test_products.py."""

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
