"""Tokens: who may do what. They are kept in a file that only its user can read."""

import hmac
import json
import os
import secrets
from pathlib import Path
from typing import Literal, NamedTuple, final, get_args

from hpsearch.core.atomic import write_atomic
from hpsearch.core.files.temporary import private_umask
from hpsearch.errors import ServerError

Right = Literal["read", "submit", "admin"]
RIGHTS: tuple[Right, ...] = get_args(Right)  # each includes those before it


class Identity(NamedTuple):
    """The bearer of a token.

    Attributes:
        name: of the token.
    """

    name: str
    right: Right

    def may(self, right: Right) -> bool:
        """Return whether the bearer has a right."""
        return RIGHTS.index(self.right) >= RIGHTS.index(right)


class Tokens(NamedTuple):
    """The tokens of a server.

    Attributes:
        known: name → (token, right).
    """

    known: dict[str, tuple[str, Right]]

    @classmethod
    def load(cls, file: Path) -> "Tokens":
        """Return the tokens of a file, which is created with one token of all rights if it does not exist.

        Raises:
            ServerError: the file cannot be read, or others than its user can read it.
        """
        if not file.exists():
            tokens = cls({"admin": (secrets.token_urlsafe(32), "admin")})
            tokens.save(file)
            return tokens
        try:
            if os.name == "posix" and file.stat().st_mode & 0o077:
                raise ServerError(f"{file}: others can read it; change that: chmod 600 {file}")
            content = json.loads(file.read_text("utf-8"))
            known = {str(name): (str(entry["token"]), entry["right"]) for name, entry in content.items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ServerError(f"{file}: cannot be read: {error}") from None
        if not all(right in RIGHTS and len(token) >= 20 for token, right in known.values()):
            raise ServerError(f"{file}: rights must be {', '.join(RIGHTS)}, and tokens have at least 20 characters")
        return cls(known)

    def save(self, file: Path) -> None:
        """Write the file."""
        content = {name: {"token": token, "right": right} for name, (token, right) in self.known.items()}
        with private_umask():
            write_atomic(file, json.dumps(content, indent=2) + "\n", replace=True)
        os.chmod(file, 0o600)

    def without(self, name: str) -> "Tokens":
        """Return these tokens without one.

        Raises:
            ServerError: there is none of this name, or no other one may do everything.
        """
        if name not in self.known:
            raise ServerError(f"token '{name}': there is none; the tokens are {', '.join(self.known)}")
        left = {other: entry for other, entry in self.known.items() if other != name}
        if not any(right == "admin" for _, right in left.values()):
            raise ServerError(f"token '{name}': is the only one with the right admin")
        return Tokens(left)

    def with_new(self, name: str, right: Right) -> "Tokens":
        """Return these tokens and a new one."""
        return Tokens({**self.known, name: (secrets.token_urlsafe(32), right)})

    def identity(self, token: str) -> Identity | None:
        """Return the bearer of a token; None for an unknown token. All tokens are compared, in constant time."""
        found = None
        for name, (known, right) in self.known.items():
            if hmac.compare_digest(known.encode(), token.encode("utf-8", "replace")):
                found = Identity(name, right)
        return found


@final
class TokenFile:
    """The tokens of a file, which is read again when it changes; one that cannot be read any more changes nothing.

    Raises:
        ServerError: the file cannot be read, or others than its user can read it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._tokens = Tokens.load(file)
        self._stamp = self._seen()
        self.mistake: str | None = None  # why the file was not read again

    @property
    def known(self) -> dict[str, tuple[str, Right]]:
        """Name → (token, right)."""
        return self._tokens.known

    def identity(self, token: str) -> Identity | None:
        """Return the bearer of a token; None for an unknown token."""
        stamp = self._seen()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._tokens, self.mistake = (Tokens.load(self._file) if stamp else self._tokens), None
            except ServerError as error:
                self.mistake = str(error)
        return self._tokens.identity(token)

    def may_still(self, identity: Identity) -> bool:
        """Return whether the token of a bearer still exists, with the same right."""
        return identity.name in self.known and self.known[identity.name][1] == identity.right

    def _seen(self) -> tuple[int, ...] | None:
        try:
            status = self._file.stat()
        except OSError:  # deleted
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
