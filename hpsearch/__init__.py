"""Hyperparameter search and experiment tracking for small neural nets on an ordinary CPU.

study.yaml ─► spec ─► space ─► stages ─► study ─► trial ─► engine ─► trackers ─► report
"""

__version__ = "0.3.0"
