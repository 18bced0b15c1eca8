"""Fixtures for all tests of the package."""

from quick import migrations_read_once  # noqa: F401
