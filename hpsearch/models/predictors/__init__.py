"""Predictors: the part of a model that computes; networks of the engine, or estimators."""
