"""Elementary functions that LLVM vectorizes for float32; for float64 they are those of the C library.

Their errors are in units in the last place (ulp) of float32.
"""

import math

import numpy as np

from engine.kernels.jit import Number, by_dtype, power_of_two

_f = np.float32
_LOG2_E, _LN2_HIGH, _LN2_LOW = _f(1.44269504088896341), _f(0.693359375), _f(-2.12194440e-4)
_ROUND = _f(12582912.0)  # 1.5 · 2²³: adding and subtracting it rounds to a whole number


def exp(x: Number) -> Number:
    """Return e^x within 1 ulp, with x limited to −87…88 in float32. Cephes, expf."""
    raise NotImplementedError


def _exp32(x: Number) -> Number:
    x = _f(-87) if x < _f(-87) else x
    x = _f(88) if x > _f(88) else x
    n = (x * _LOG2_E + _ROUND) - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _f(1.9875691500e-4) * r + _f(1.3981999507e-3)
    p = p * r + _f(8.3334519073e-3)
    p = p * r + _f(4.1665795894e-2)
    p = p * r + _f(1.6666665459e-1)
    p = p * r + _f(5.0000001201e-1)
    return (p * (r * r) + r + _f(1)) * power_of_two(n)


def _exp64(x: Number) -> Number:
    return math.exp(x)


def tanh(x: Number) -> Number:
    """Return tanh x within 7 ulp: an odd polynomial of degree 13 over an even one of degree 6, as in Eigen."""
    raise NotImplementedError


def _tanh32(x: Number) -> Number:
    x = _f(-7.90531110763549805) if x < _f(-7.90531110763549805) else x
    x = _f(7.90531110763549805) if x > _f(7.90531110763549805) else x
    s = x * x
    p = _f(-2.76076847742355e-16) * s + _f(2.00018790482477e-13)
    p = p * s + _f(-8.60467152213735e-11)
    p = p * s + _f(5.12229709037114e-08)
    p = p * s + _f(1.48572235717979e-05)
    p = p * s + _f(6.37261928875436e-04)
    p = p * s + _f(4.89352455891786e-03)
    q = _f(1.19825839466702e-06) * s + _f(1.18534705686654e-04)
    q = q * s + _f(2.26843463243900e-03)
    q = q * s + _f(4.89352518554385e-03)
    return x * p / q


def _tanh64(x: Number) -> Number:
    return math.tanh(x)


def expm1(x: Number) -> Number:
    """Return e^x − 1 for x ≤ 0 within 6 ulp, as 2t / (1 − t) with t = tanh(x/2)."""
    raise NotImplementedError


def _expm1_32(x: Number) -> Number:
    t = tanh(x * _f(0.5))
    return (t + t) / (_f(1) - t)


def _expm1_64(x: Number) -> Number:
    return math.expm1(x)


def log1p(x: Number) -> Number:
    """Return ln(1 + x) for 0 ≤ x ≤ 1 within 2 ulp, as 2 artanh(s) with s = x / (2 + x) ≤ 1/3, by its series."""
    raise NotImplementedError


def _log1p_32(x: Number) -> Number:
    s = x / (x + _f(2))
    z = s * s
    p = _f(1 / 15) * z + _f(1 / 13)
    p = p * z + _f(1 / 11)
    p = p * z + _f(1 / 9)
    p = p * z + _f(1 / 7)
    p = p * z + _f(1 / 5)
    p = p * z + _f(1 / 3)
    return (s + s) * (p * z) + (s + s)


def _log1p_64(x: Number) -> Number:
    return math.log1p(x)


by_dtype(exp, _exp32, _exp64)
by_dtype(tanh, _tanh32, _tanh64)
by_dtype(expm1, _expm1_32, _expm1_64)
by_dtype(log1p, _log1p_32, _log1p_64)
