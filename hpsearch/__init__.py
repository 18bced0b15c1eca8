"""Hyperparameter search and experiment tracking for small neural nets on an ordinary CPU.

study.yaml ─► config ─► search ─► training ─► storage ─► tracking ─► report
"""

import importlib
from typing import TYPE_CHECKING, Any

from hpsearch.core.version import __version__

if TYPE_CHECKING:
    from hpsearch.api import StudyResult, load_model, load_study, run, tune
    from hpsearch.models.estimators import MLPClassifier, MLPRegressor
    from hpsearch.models.model import Model
    from hpsearch.server.client import connect

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "Model",
    "StudyResult",
    "__version__",
    "connect",
    "load_model",
    "load_study",
    "run",
    "tune",
]

_HOMES = {
    **dict.fromkeys(("StudyResult", "load_model", "load_study", "run", "tune"), "api"),
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), "models.estimators"),
    "Model": "models.model",
    "connect": "server.client",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are asked for: `import hpsearch` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hpsearch' has no attribute '{name}'")
    return getattr(importlib.import_module(f"hpsearch.{_HOMES[name]}"), name)
