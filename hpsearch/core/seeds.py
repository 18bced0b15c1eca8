"""All randomness, derived from the study's seed: what is drawn is fixed by names and numbers, never by time."""

import hashlib


def derive(seed: int, *words: str | int) -> int:
    """A 64-bit seed for what the words name, such as `derive(7, "coarse", 12, "train")`."""
    text = "/".join(map(str, (seed, *words)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
