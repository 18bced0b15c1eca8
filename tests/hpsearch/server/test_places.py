"""The folders of a server: uploads by their content, names that stay in their folder, the quota."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hpsearch.errors import ServerError
from hpsearch.server.places import Places, TooLarge, checked_name

DIGEST = hashlib.sha256(b"rows").hexdigest()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "root", 1000)


def store(places: Places, digest: str, *blocks: bytes, largest: int = 100) -> int:
    async def sent() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block

    return asyncio.run(places.store(digest, sent(), largest))


def test_uploads(places: Places) -> None:
    assert store(places, DIGEST, b"ro", b"ws") == 4 and places.upload(DIGEST).read_bytes() == b"rows"
    assert places.root.stat().st_mode & 0o077 == 0 == places.upload(DIGEST).stat().st_mode & 0o077


@pytest.mark.parametrize(
    ("digest", "blocks", "largest", "error", "text"),
    [
        ("0" * 64, [b"rows"], 100, ServerError, f"another SHA-256: {DIGEST}"),
        (DIGEST, [b"rows"], 3, TooLarge, "at most 3 bytes"),
        (DIGEST, [b"rows" * 300], 10_000, TooLarge, "quota of this server, 1,000 bytes, is used up"),
        ("../" + DIGEST[3:], [b"rows"], 100, ServerError, "64 hexadecimal digits"),
    ],
)
def test_refused_uploads(
    places: Places, digest: str, blocks: list[bytes], largest: int, error: type[Exception], text: str
) -> None:
    """Nothing is left of them."""
    with pytest.raises(error, match=text):
        store(places, digest, *blocks, largest=largest)
    assert list((places.root / "data").iterdir()) == []


@pytest.mark.parametrize("name", ["table.csv", "my table (1).csv", "ä.parquet", "a-b_c+d=e@f,g.csv.gz"])
def test_names(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../a", "a/b", "/etc/passwd", "a\\b", "a\0b", ".hidden", "-rf", "a" * 300, "a\nb", " a"),
        *("study.yaml", "study.db", "study.db-wal", "log", "model", "report.html"),
    ],
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ServerError, match="must be a plain name"):
        checked_name(name)


@pytest.mark.parametrize("id", ["", "..", "../../etc", "0" * 15, "0" * 16 + "/..", "G" * 16])
def test_ids_that_are_refused(places: Places, id: str) -> None:
    with pytest.raises(ServerError, match="not found on this server"):
        places.study(id)


def test_studies(places: Places) -> None:
    """A study has its uploads beside it, which take no more space."""
    store(places, DIGEST, b"rows")
    before, id = places.measure(), "0" * 16
    places.create_study(id, "name: a", {"table.csv": DIGEST})
    assert (places.study(id) / "table.csv").read_bytes() == b"rows" and places.measure() == before + 7
    assert (places.study(id) / "study.yaml").read_text() == "name: a" and places.database(id).endswith(f"{id}/study.db")
    with pytest.raises(ServerError, match=r"upload 1+: not found; send it with PUT"):
        places.create_study(id, "", {"table.csv": "1" * 64})
    places.delete_study(id)
    assert not places.study(id).exists() and places.upload(DIGEST).exists()
