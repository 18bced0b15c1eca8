"""Fixtures for the crash tests."""

from quick import migrations_read_once  # noqa: F401
