"""Advice: what the trials of a study say about bias and variance, and what to change in its study file."""
