"""Layers over images: convolutions and pooling, with shared im2col windows."""
