"""Seeds: every random number follows from the study's seed and a path of names and numbers."""

import hashlib

SEEDS = 2**64  # number of different seeds


def derive(seed: int, *words: str | int) -> int:
    """Return a 64-bit seed for a path such as `derive(7, "coarse", 12, "train")`: BLAKE2b of the joined words."""
    text = "/".join(map(str, (seed, *words)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
