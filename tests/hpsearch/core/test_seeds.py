"""Seeds: derived from the study's seed and a path, the same on every machine."""

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from hpsearch.core.seeds import derive


def test_known_seeds() -> None:
    """A change of these numbers changes the table of every study. Values from version 0.5."""
    assert derive(7, "coarse", 12, "train") == 14977951513184328336
    assert derive(0) == 9523843951405948789
    assert derive(2**64, "β") == 7948848203501555092


@given(st.integers(0, 2**64), st.lists(st.text(max_size=5) | st.integers(), max_size=4))
def test_seeds_have_64_bits(seed: int, words: list[str | int]) -> None:
    assert 0 <= derive(seed, *words) < 2**64


def test_paths_have_different_seeds() -> None:
    paths = [(s, stage, n, use) for s in range(5) for stage in "ab" for n in range(50) for use in ("ask", "train")]
    assert len({derive(*path) for path in paths}) == len(paths)


def test_hash_seed_has_no_effect() -> None:
    code = "from hpsearch.core.seeds import derive; print(derive(7, 'coarse', 12, 'train'))"
    environment = {**os.environ, "PYTHONHASHSEED": "3", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(printed.stdout) == derive(7, "coarse", 12, "train")
