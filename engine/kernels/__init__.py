"""The compiled kernel: an epoch of one trial as one call, for the networks that it covers."""
