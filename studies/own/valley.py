"""A plain function to minimize: Branin's, whose three minima are 0.3979."""

import math


def branin(params):
    x, y = params["x"], params["y"]
    parabola = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return parabola**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10
