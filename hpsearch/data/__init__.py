"""Data: a table becomes splits and prepared arrays."""
