"""Training rows: sets of rows, row sampling, augmentation and scaling."""
