"""Layers over images: convolutions, pooling, and the im2col windows they share."""
