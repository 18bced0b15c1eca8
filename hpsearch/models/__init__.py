"""Models: the best model is built, saved, loaded and exported, and makes predictions."""
