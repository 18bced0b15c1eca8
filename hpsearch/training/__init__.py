"""Training: a point and a seed become a result; executors decide where."""
