"""Importing this module loads what tasks need, for a fork server: its children have it at once."""

import contextlib

import hpsearch.training.trial  # noqa: F401
from engine.kernels.choice import is_compiled, load_kernel
from hpsearch.data.preprocessing import DTYPE

with contextlib.suppress(Exception):  # a worker reports what is wrong when it needs the kernel
    if is_compiled():
        load_kernel(DTYPE)
