"""References to environment variables in URLs of databases (read by the SQL source: tests/hpsearch/data/sources)."""

import pytest

from hpsearch.core.reading.references import check_no_secret, expand_url, is_reference
from hpsearch.core.text import redacted

URL = "postgresql://me:${SECRET_OF_TEST}@host/db"


def test_a_reference_is_replaced_and_its_value_is_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_TEST", "a@b/c:d%20")
    expanded = expand_url(URL)
    assert expanded.url.password == "a@b/c:d%20" and expanded.url.host == "host" and expanded.reference is None
    assert expanded.secrets == ["a@b/c:d%20"]
    monkeypatch.setenv("SECRET_OF_TEST", "postgresql://you:hunter@there:5/x")
    whole = expand_url("${SECRET_OF_TEST}")
    assert whole.url.host == "there" and whole.reference == "${SECRET_OF_TEST}" and "hunter" in whole.secrets
    assert is_reference("${A}") and not is_reference(URL)


@pytest.mark.parametrize("url", [URL, "${SECRET_OF_TEST}", "postgresql://host/db?password=${SECRET_OF_TEST}"])
def test_a_reference_is_shown_as_it_is(url: str) -> None:
    """So that a printed command can be copied; a password beside it is masked."""
    check_no_secret(url, "a file")
    assert redacted(f"hpsearch resume '{url}'") == f"hpsearch resume '{url}'"
    with pytest.raises(ValueError, match="SECRET_OF_TEST is not set"):
        expand_url(url)


@pytest.mark.parametrize("text", ["postgresql://me:${A}b@host/db", "postgresql://me:${A}@x@host/db", "?password=${A}x"])
def test_what_only_begins_like_a_reference_is_masked(text: str) -> None:
    assert "***" in redacted(text) and "${A}" not in redacted(text)
