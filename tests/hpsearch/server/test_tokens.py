"""Tokens: made once, kept in a file for one user, with rights that include each other."""

import os
from pathlib import Path

import pytest

from hpsearch.errors import ServerError
from hpsearch.server.tokens import RIGHTS, Identity, TokenFile, Tokens


def test_the_first_token(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    tokens = Tokens.load(file)
    assert file.stat().st_mode & 0o077 == 0 and Tokens.load(file) == tokens
    token, right = tokens.known["admin"]
    assert right == "admin" and len(token) >= 40 and Tokens.load(tmp_path / "other.json") != tokens
    assert tokens.identity(token) == Identity("admin", "admin")
    assert tokens.identity(token[:-1]) is None and tokens.identity("") is None and tokens.identity("ü\ud800") is None


def test_rights() -> None:
    may = {right: [other for other in RIGHTS if Identity("a", right).may(other)] for right in RIGHTS}
    assert may == {"read": ["read"], "submit": ["read", "submit"], "admin": ["read", "submit", "admin"]}


def test_tokens_come_and_go(tmp_path: Path) -> None:
    tokens = Tokens.load(tmp_path / "tokens.json").with_new("ann", "submit")
    tokens.save(tmp_path / "tokens.json")
    assert Tokens.load(tmp_path / "tokens.json").identity(tokens.known["ann"][0]) == Identity("ann", "submit")
    assert "ann" not in tokens.without("ann").known
    with pytest.raises(ServerError, match="is the only one with the right admin"):
        tokens.without("admin")
    with pytest.raises(ServerError, match="there is none; the tokens are admin, ann"):
        tokens.without("bob")


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"a": 1}', '{"a": {"token": "short", "right": "read"}}'),
        *(
            '{"a": {"token": "a-token-of-many-characters"}}',
            '{"a": {"token": "a-token-of-many-characters", "right": "all"}}',
        ),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ServerError, match=r"tokens\.json: "):
        Tokens.load(file)


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_file_that_others_can_read(tmp_path: Path) -> None:
    Tokens.load(tmp_path / "tokens.json")
    (tmp_path / "tokens.json").chmod(0o644)
    with pytest.raises(ServerError, match="chmod 600"):
        Tokens.load(tmp_path / "tokens.json")


def test_a_file_that_changes(tmp_path: Path) -> None:
    """It is read again; while it cannot be read, the tokens are those before."""
    file = tmp_path / "tokens.json"
    tokens = TokenFile(file)
    known = Tokens(tokens.known)
    more = known.with_new("ann", "submit")
    ann = more.known["ann"][0]
    assert tokens.identity(ann) is None
    more.save(file)
    identity = tokens.identity(ann)
    assert identity == Identity("ann", "submit") and tokens.may_still(identity)
    file.write_text("{")
    assert tokens.identity(ann) == identity and "cannot be read" in (tokens.mistake or "")
    file.unlink()
    assert tokens.identity(ann) == identity
    known.save(file)
    assert tokens.identity(ann) is None and tokens.mistake is None and not tokens.may_still(identity)
    assert not tokens.may_still(Identity("admin", "read"))
