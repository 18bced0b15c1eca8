"""Neural networks in NumPy, trained in batches of equal shape; independent of studies.

network, hyperparameters, rows ─► state ─► train: an epoch ─► which trials continue ─► best weights
"""
