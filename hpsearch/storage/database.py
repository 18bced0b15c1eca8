"""Databases in general: URLs, engines, and errors translated into messages that say what to do."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hpsearch.core.files.file_lock import FileId
from hpsearch.core.reading.references import check_no_secret, expand_url, is_reference
from hpsearch.core.resources import check_open_files
from hpsearch.core.text import redacted, without_secrets
from hpsearch.errors import StorageError
from hpsearch.storage.sqlite_file import connect_existing, real_path, sqlite_problem, url_of

_TIMED_DRIVERS = ("psycopg", "psycopg2", "mysqldb", "pymysql")  # whose connections take `connect_timeout`
CONNECT_TIMEOUT = 10  # seconds to wait for a server; `?connect_timeout=…` in the URL sets another


def file_of(url: str) -> Path | None:
    """Return the file of a SQLite URL; None for a server or an in-memory database.

    Raises:
        StorageError: the text is not a URL.
    """
    if is_reference(url):
        parsed = connection_url(url)
    else:
        try:
            parsed = sa.make_url(url)
            if parsed.get_backend_name() != "sqlite":
                url.encode()
        except (SQLAlchemyError, ValueError):  # ValueError: the port is not a number, or the URL is not valid Unicode
            raise StorageError(f"'{url}' is not a database URL; write sqlite:///FILE, for example") from None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def connection_url(url: str) -> sa.URL:
    """Return the URL to connect to, with the values of its references.

    Raises:
        StorageError: an environment variable is not set, or the URL is invalid.
    """
    try:
        return expand_url(url).url
    except ValueError as error:
        raise StorageError(f"{redacted(url)}: {error}") from None


def named_url(database: str) -> str:
    """Return the URL of a database that a user names by file or URL.

    Raises:
        StorageError: the URL contains a password, or the path a question mark.
    """
    url = url_of(database)
    if file_of(url) is None:
        try:
            check_no_secret(url, "a command or a program")
        except ValueError as error:
            raise StorageError(f"{redacted(url)}: {error}") from None
    return url


def display_name(url: str) -> str:
    """Return a database as messages name it: its file, or its URL without the password.

    `${NAME}` in the URL is kept, so that a command in a message can be copied.
    """
    if is_reference(url) or (path := file_of(url)) is None:
        return redacted(url)
    return str(path)


@contextlib.contextmanager
def translate_errors(url: str) -> Iterator[None]:
    """Translate the errors of a database, its driver and Optuna.

    Raises:
        StorageError: replaces each of them.
        OSError: SQLite could not open a file because this process has too many open files.
    """
    try:
        yield
    except (SQLAlchemyError, ImportError, UnicodeError) as error:  # UnicodeError: an invalid host name
        raise StorageError(f"{display_name(url)}: {_without_password(_reason(error), url)}") from error
    except Exception as error:
        if type(error).__module__.startswith("optuna."):  # its StorageInternalError wraps a database error
            raise StorageError(f"{display_name(url)}: {_reason(error.__cause__ or error)}") from error
        raise


def _without_password(text: str, url: str) -> str:
    """Mask all text between user name and host: the message of a driver may hold a part of the password."""
    with contextlib.suppress(ValueError):
        text = without_secrets(text, expand_url(url).secrets)
    secret = url.rpartition("@")[0].partition("://")[2].partition(":")[2]
    for part in sorted({secret, *re.split(r"[:@/]", secret)}, key=len, reverse=True):
        if len(part) > 2:
            text = text.replace(part, "***")
    return text


def _reason(error: BaseException) -> str:
    original = error.orig if isinstance(error, DBAPIError) and error.orig else error
    lines = str(original).splitlines() or [type(original).__name__]
    text = lines[-1].removeprefix("- ") if lines[0].endswith(":") else lines[0]  # of a host with several addresses
    if isinstance(original, ImportError) and original.name == "psycopg":
        return f"{text}; install it: pip install 'hpsearch[postgres]'"
    if "unable to open" in text:
        check_open_files()  # otherwise the message would advise to check the folder
    if text.startswith("permission denied"):  # of PostgreSQL
        return f"{text}; the user needs the rights to create tables, and to read and write them"
    problem = sqlite_problem(text)
    return "; ".join(problem) if problem else text


def engine_options(url: str) -> dict[str, Any]:
    """Return the arguments of `create_engine` for a URL.

    They say how to connect to an existing SQLite file or, for a server, set a time limit, and check a connection of the
    pool before it is used.
    """
    path = file_of(url)
    if path is not None:
        return {"creator": lambda: connect_existing(path)}
    options: dict[str, Any] = {"pool_pre_ping": True}
    parsed = connection_url(url)
    if "connect_timeout" not in parsed.query and parsed.get_driver_name() in _TIMED_DRIVERS:
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT}
    return options


def connect_engine(url: str, **options: Any) -> sa.Engine:
    """Return an engine for a URL.

    Args:
        options: of `create_engine`, in place of `engine_options`.

    Raises:
        StorageError: an environment variable is not set, or the URL is invalid.
        SQLAlchemyError: the driver is unknown.
        ImportError: the driver is not installed.
    """
    return sa.create_engine(connection_url(url), **(options or engine_options(url)))


def check_separate(url: str, tracking_uri: str) -> None:
    """Check that a study and MLflow have databases of their own.

    In one SQLite file, each would wait for the other's lock. On a server, Optuna and MLflow would share the table
    `alembic_version`.

    Raises:
        StorageError: both have the same database.
    """
    if "://" not in tracking_uri or tracking_uri.startswith(("http://", "https://", "file://")):
        return
    if _identity(url) == _identity(tracking_uri):
        raise StorageError(
            f"{display_name(url)}: cannot hold both the study and MLflow's runs; name two databases with --storage and"
            " --tracking-uri"
        )


def _identity(url: str) -> object:
    """Return what is the same for all URLs of a database."""
    path = file_of(url)
    if path is not None:
        file = real_path(path)
        return FileId.of(file) or file
    parsed = connection_url(url)
    return parsed.get_backend_name(), parsed.host, parsed.port, parsed.database, parsed.query.get("host")


def forked_url(url: str, name: str) -> str:
    """Return the URL of a fork: `<name>.db` in the folder of the database that is forked, or the same server."""
    path = file_of(url)
    return url if path is None else url_of(str(path.with_name(f"{name}.db")))
