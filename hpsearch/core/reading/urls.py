"""URLs of databases, as SQLAlchemy 2.1 reads them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa


def parse_database_url(text: str) -> "sa.URL":
    """Parse a URL; PostgreSQL's driver is psycopg unless the URL names another, also for SQLAlchemy 2.0.

    Raises:
        sqlalchemy.exc.ArgumentError: the text is not a URL.
        ValueError: the port is not a number.
    """
    import sqlalchemy as sa

    url = sa.make_url(text)
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
