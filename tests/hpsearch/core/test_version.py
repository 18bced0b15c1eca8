"""Versions that determine a study's numbers."""

from importlib.metadata import version

from hpsearch.core.version import __version__, versions


def test_versions() -> None:
    assert versions() == f"hpsearch {__version__}, numpy {version('numpy')}, optuna {version('optuna')}"


def test_installed_version() -> None:
    """The package's metadata has the version of the code."""
    assert version("hpsearch") == __version__
