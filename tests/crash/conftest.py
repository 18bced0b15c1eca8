"""The cases of the other tests."""

from quick import migrations_read_once  # noqa: F401
