"""Checks of prepared rows: parts of different distributions, repeated rows, and columns that give the target away."""
