"""Neural networks in NumPy, many of one shape at a time; knows nothing of studies.

network, hyperparameters, rows ─► state ─► train: an epoch ─► which trials continue ─► best weights
"""
