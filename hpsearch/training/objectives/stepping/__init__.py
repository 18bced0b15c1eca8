"""Training step by step: what objectives have in common that train by other code than the engine."""
