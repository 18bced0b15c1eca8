"""A journal returns what was added, in pages, from any place."""

from pathlib import Path

import pytest

from hpsearch.server.live import journal
from hpsearch.server.live.journal import Journal


def test_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PAGE_BYTES", 10)
    events = [bytes([65 + n]) * size for n, size in enumerate((4, 4, 30, 0, 5, 5, 1))]
    made = Journal(tmp_path)
    assert made.page(0) == (b"", 0)
    for text in events:
        made.append(text)
    assert len(made) == 7 and not list(tmp_path.iterdir())
    for start in range(8):
        after, found = start, b""
        while (page := made.page(after))[0]:
            assert len(page[0]) <= 10 or page[1] == after + 1
            found, after = found + page[0], page[1]
        assert found == b"".join(events[start:])
    assert made.page(99) == (b"", 99)
