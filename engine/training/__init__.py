"""Training: hyperparameters and state, one epoch after another, and conditions that end a trial."""
