"""Trainings before a study: a learning rate range test, and a check of what trains."""
