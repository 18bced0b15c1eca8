"""Loads the compiled kernel when this module is imported, if it is compiled: for a fork server, whose children have it."""

import contextlib

import numpy as np

from engine.kernels.choice import is_compiled, load_kernel

with contextlib.suppress(Exception):  # a child reports what is wrong when it needs the kernel
    if is_compiled():
        load_kernel(np.dtype(np.float32))
