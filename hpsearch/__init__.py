"""Hyperparameter search and experiment tracking for small neural nets on an ordinary CPU.

study.yaml ─► spec ─► space ─► stages ─► study ─► trial ─► engine ─► trackers ─► report
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpsearch.api import Result, load_model, load_study, run
    from hpsearch.models.estimators import MLPClassifier, MLPRegressor
    from hpsearch.models.model import Model

__version__ = "0.5.0"
__all__ = ["MLPClassifier", "MLPRegressor", "Model", "Result", "__version__", "load_model", "load_study", "run"]

_HOMES = {
    **dict.fromkeys(("Result", "load_model", "load_study", "run"), "api"),
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), "estimators"),
    "Model": "models",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are asked for: `import hpsearch` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hpsearch' has no attribute '{name}'")
    return getattr(importlib.import_module(f"hpsearch.{_HOMES[name]}"), name)
