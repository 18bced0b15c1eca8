"""Configuration: a study file becomes a frozen spec, with all mistakes reported at once."""
