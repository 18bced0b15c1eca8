"""Versions that determine a study's numbers."""

__version__ = "0.10.0"


def versions() -> str:
    """Return hpsearch, NumPy and Optuna with their versions: a study's trials depend on these."""
    from importlib.metadata import version

    return ", ".join([f"hpsearch {__version__}", *(f"{name} {version(name)}" for name in ("numpy", "optuna"))])
