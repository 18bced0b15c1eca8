"""Training: hyperparameters, state, the training loop, and stopping conditions."""
