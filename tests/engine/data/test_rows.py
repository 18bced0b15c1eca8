"""Mini-batches: every row once per epoch with its target, in blocks that do not depend on other trials."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.row_sampling import Shuffle
from engine.data.rows import Batches, Rows, rows_adjacent


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 3), st.integers(1, 200))
@settings(deadline=None)
def test_every_row_once_with_its_target(count: int, batch: int, trials: int, block: int) -> None:
    batch = min(batch, count)
    numbers = np.arange(count, dtype=np.float32)
    rows = Rows(np.stack([numbers, -numbers], axis=1), numbers[:, None] * 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.data.rows.BLOCK", block)
        batches = Batches(rows, trials, batch, Shuffle())
    for _ in range(2):
        generators = [np.random.default_rng(seed) for seed in range(trials)]
        blocks = [[array.copy() for array in block] for block in batches.epoch(generators)]
        sizes = [n for x, _, _ in blocks for n in [x.shape[2]] * x.shape[1]]
        assert sizes == [batch] * (count // batch) + [count % batch] * (count % batch > 0)
        for k in range(trials):
            x = np.concatenate([x[k].reshape(-1, 2) for x, _, _ in blocks])
            y = np.concatenate([y[k].reshape(-1, 1) for _, y, _ in blocks])
            np.testing.assert_array_equal(x[:, 0], np.random.default_rng(k).permutation(count))
            np.testing.assert_array_equal(x[:, 1], -x[:, 0])
            np.testing.assert_array_equal(y[:, 0], 10 * x[:, 0])


@pytest.mark.parametrize("trials", [2, 16])
def test_blocks_are_the_same_in_any_batch(trials: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.rows.BLOCK", 100)
    rows = Rows(np.zeros((45, 5), np.float32), np.zeros((45, 3), np.float32))

    def cuts(count: int) -> list[tuple[int, ...]]:
        generators = [np.random.default_rng(0)] * count
        return [block.x.shape[1:] for block in Batches(rows, count, 8, Shuffle()).epoch(generators)]

    assert cuts(trials) == cuts(1) == [(2, 8, 5), (2, 8, 5), (1, 8, 5), (1, 5, 5)]


def test_rows_are_adjacent_in_memory() -> None:
    array = rows_adjacent((2, 7, 3), np.dtype(np.float32))
    assert array.shape == (2, 7, 3) and array.strides == (84, 4, 28)
