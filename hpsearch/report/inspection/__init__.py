"""Inspection before training: the network of a study at its first weights, and what its rows say."""
