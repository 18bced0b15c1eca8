"""Quantiles and probabilities of Student's t distribution, without SciPy, which takes half a second to import."""

import math

STEPS = 100  # of the bisection, which ends earlier where two floats are neighbors


def two_sided_quantile(probability: float, degrees: int) -> float:
    """Return t with P(|T| ≤ t) = probability.

    Args:
        degrees: degrees of freedom, at least 1.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if _within(middle, degrees) < probability else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def two_sided_p_value(t: float, degrees: int) -> float:
    """Return P(|T| ≥ |t|).

    Args:
        degrees: degrees of freedom, at least 1.
    """
    return max(0.0, 1 - _within(math.atan(abs(t) / math.sqrt(degrees)), degrees))


def _within(angle: float, degrees: int) -> float:
    """Return P(|T| ≤ t) for t = √ν tan θ: Abramowitz and Stegun, 26.7.3 for odd ν and 26.7.4 for even ν."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = cosine if odd else 1.0, 0.0
    for k in range(1 + odd, degrees, 2):  # cos θ + 2/3 cos³ θ + …, or 1 + 1/2 cos² θ + …; the last power is ν − 2
        total += term
        term *= k / (k + 1) * cosine**2
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
