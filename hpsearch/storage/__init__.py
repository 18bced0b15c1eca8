"""Storage: the study database."""
