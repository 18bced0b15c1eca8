"""URLs of databases with `${NAME}` in place of the user, the password or the whole URL.

The environment variable is read only when a connection is made, so that no password is stored or printed.
"""

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from hpsearch.core.reading.urls import parse_database_url

if TYPE_CHECKING:
    import sqlalchemy as sa

_REFERENCE = re.compile(r"\$\{(\w+)\}")
_SECRET = re.compile(
    r"pass|pwd|secret|token|api_?key|odbc_connect", re.IGNORECASE
)  # options of a URL whose values are secret


class ExpandedUrl(NamedTuple):
    """A URL whose references were replaced.

    Attributes:
        secrets: its parts that are never printed.
        reference: the reference that stands for the whole URL, as messages name it; None for another URL.
    """

    url: "sa.URL"
    secrets: list[str]
    reference: str | None


def is_reference(text: str) -> bool:
    """Return whether a text is `${NAME}`."""
    return _REFERENCE.fullmatch(text) is not None


def check_no_secret(url: str, place: str) -> None:
    """Check that a URL contains no password, and that its references stand for nothing that is printed.

    Args:
        place: what a password must not be written into.

    Raises:
        ValueError: it contains a password, or a reference in another place, or it is not a URL. The message does not
            quote it.
    """
    if is_reference(url):
        return
    parsed = _parsed(url)
    for part, text in _public_parts(parsed):
        if name := _REFERENCE.search(text):
            raise ValueError(
                f"{name[0]} must stand for the user, the password or the whole URL, so that no variable is sent"
                f" elsewhere or printed; got it in the {part}"
            )
    if not all(map(is_reference, _secrets(parsed))):
        raise ValueError(
            f"a password must not be written into {place}: write ${{NAME}} instead, with the URL in single quotes,"
            " and set the environment variable NAME"
        )


def expand_url(url: str) -> ExpandedUrl:
    """Return a URL with the values of its references.

    Raises:
        ValueError: an environment variable is not set, or the URL is invalid; the message does not quote it.
    """
    if is_reference(url):
        expanded = _parsed(_expanded(url))
        parts = [str(part) for part in (expanded.username, expanded.host, expanded.port, expanded.database) if part]
        return ExpandedUrl(expanded, [*_secrets(expanded), *parts], url)
    parsed = _parsed(url)
    user, password = (value and _expanded(str(value)) for value in (parsed.username, parsed.password))
    query = {key: _expanded_option(key, value) for key, value in parsed.query.items()}
    expanded = parsed.set(username=user, password=password, query=query)
    logins = [user or "", *(value for key, v in query.items() if _holds_login(key) for value in _listed(v))]
    return ExpandedUrl(expanded, [*_secrets(expanded), *(value for value in logins if value not in url)], None)


def _parsed(url: str) -> "sa.URL":
    """Parse a database URL.

    Raises:
        ValueError: the URL is invalid; the message does not quote it, because it may contain a password.
    """
    import sqlalchemy as sa

    try:
        return parse_database_url(url)
    except (sa.exc.SQLAlchemyError, ValueError):  # ValueError: the port is not a number
        raise ValueError("must be a database URL, such as sqlite:///FILE or postgresql://HOST/DATABASE") from None


def _secrets(url: "sa.URL") -> list[str]:
    """Return the secret parts of a URL."""
    secrets = [] if url.password is None else [str(url.password)]
    for key, value in url.query.items():
        if _SECRET.search(key):
            secrets += _listed(value)
    return [secret for secret in secrets if secret]


def _public_parts(url: "sa.URL") -> Iterator[tuple[str, str]]:
    """Yield name and text of each part of a URL that holds neither a user nor a secret."""
    yield "type of the database", url.drivername
    yield "host", url.host or ""
    yield "name of the database", url.database or ""
    for key, value in url.query.items():
        yield "name of an option", key
        if not _holds_login(key):
            yield f"option {key}", " ".join(_listed(value))


def _holds_login(option: str) -> bool:
    """Return whether an option of a URL holds a user or a secret."""
    return option.lower() in ("user", "username", "uid") or _SECRET.search(option) is not None


def _listed(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _expanded_option(key: str, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if not _holds_login(key):
        return value
    return _expanded(value) if isinstance(value, str) else tuple(map(_expanded, value))


def _expanded(text: str) -> str:
    """Replace each `${NAME}` by an environment variable.

    Raises:
        ValueError: a variable is not set.
    """

    def value(name: "re.Match[str]") -> str:
        if name[1] not in os.environ:
            raise ValueError(f"the environment variable {name[1]} is not set")
        return os.environ[name[1]]

    return _REFERENCE.sub(value, text)
