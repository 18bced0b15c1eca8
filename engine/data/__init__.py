"""Rows on their way into training: sets of rows, their order, augmentation and scaling."""
