"""Models: the best model, saved, loaded, predicting, exported."""
