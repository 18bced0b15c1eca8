"""Training: points and seeds become results; executors decide where."""
