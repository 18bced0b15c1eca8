"""Augmentations: compared with scipy.ndimage, with their probabilities, and equal alone and in a batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from engine_cases import F32, F64, bits, run, start, train
from scipy import ndimage

from engine.data.augmentation import AUGMENTATIONS, Augmentation, Flip, Noise, Rotate, Scale, Shift
from engine.data.rows import Rows
from engine.layers import BatchNorm, Dense, Flatten
from engine.losses import SoftmaxCrossEntropy
from engine.network import Network
from engine.training.hyperparameters import Hyperparameters
from engine.types import EngineError, Floats

pytestmark = pytest.mark.usefixtures("kernel")

ON_IMAGES = [Flip(), Flip(vertical=True), Rotate(30), Scale(0.7, 1.4), Shift(2)]
NET = Network((2, 5, 6), (BatchNorm(), Flatten(), Dense(3)), SoftmaxCrossEntropy())


def images(rows: int, dtype: np.dtype[Any] = F64, shape: Sequence[int] = (2, 5, 6)) -> Floats:
    return np.random.default_rng(3).standard_normal((rows, *shape)).astype(dtype)


def applied(augmentation: Augmentation, x: Floats, seed: int = 0) -> Floats:
    y = x.copy()
    augmentation.apply(y, np.random.default_rng(seed))
    return y


def by_scipy(x: Floats, matrices: Floats, shifts: Floats | None = None) -> Floats:
    """Return the images transformed one by one and channel by channel: M p + shift, from the center."""
    middle = (np.array(x.shape[2:]) - 1) / 2
    out = np.empty_like(x)
    for n, matrix in enumerate(matrices):
        offset = middle - matrix @ middle - (0 if shifts is None else shifts[n])
        for channel in range(x.shape[1]):
            out[n, channel] = ndimage.affine_transform(
                x[n, channel], matrix, offset, order=1, mode="grid-constant", cval=0.0
            )
    return out


@pytest.mark.parametrize("shape", [(2, 5, 6), (1, 8, 8), (3, 1, 4)])
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_rotations_like_scipy(dtype: np.dtype[Any], shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.augmentation.IMAGES", 7)
    x = images(20, dtype, shape)
    angles = np.deg2rad(np.random.default_rng(0).uniform(-70, 70, 20))
    cos, sin = np.cos(angles), np.sin(angles)
    turned = by_scipy(x.astype(F64), np.moveaxis(np.array([[cos, sin], [-sin, cos]]), -1, 0))
    got = applied(Rotate(70), x)
    assert got.dtype == dtype and angles.min() < -1 and angles.max() > 1
    np.testing.assert_allclose(got, turned, atol=1e-12 if dtype == F64 else 1e-5)


@pytest.mark.parametrize("shape", [(2, 5, 6), (1, 8, 8)])
def test_scales_like_scipy(shape: tuple[int, ...]) -> None:
    x = images(20, F64, shape)
    factors = np.random.default_rng(0).uniform(0.6, 1.7, 20)
    np.testing.assert_allclose(applied(Scale(0.6, 1.7), x), by_scipy(x, np.eye(2) / factors[:, None, None]), atol=1e-12)


@pytest.mark.parametrize("pixels", [0, 1, 3, 20])
def test_shifts_like_scipy(pixels: int) -> None:
    x = images(30)
    by = np.random.default_rng(0).integers(-pixels, pixels, (2, 30, 1), endpoint=True)[..., 0].T
    got = applied(Shift(pixels), x)
    np.testing.assert_allclose(got, by_scipy(x, np.broadcast_to(np.eye(2), (30, 2, 2)), by), atol=1e-12)
    if pixels == 1:
        for n, (down, right) in enumerate(by):
            np.testing.assert_array_equal(got[n], ndimage.shift(x[n], (0, down, right), order=0, cval=0))
        assert {tuple(b) for b in by} == {(d, r) for d in (-1, 0, 1) for r in (-1, 0, 1)}


def test_a_rotation_keeps_the_center_and_an_image_of_one_value_keeps_its_middle() -> None:
    x = images(10, F64, (1, 5, 5))
    np.testing.assert_allclose(applied(Rotate(180), x)[:, :, 2, 2], x[:, :, 2, 2], atol=1e-12)
    np.testing.assert_allclose(applied(Rotate(45), np.ones((10, 1, 9, 9)))[:, :, 3:6, 3:6], 1, atol=1e-12)


@pytest.mark.parametrize(("horizontal", "vertical"), [(True, False), (False, True), (True, True)])
def test_half_of_the_images_are_flipped(horizontal: bool, vertical: bool) -> None:
    x = images(4000)
    y = applied(Flip(horizontal, vertical), x)
    ways = [(h, v) for h in (False, True)[: horizontal + 1] for v in (False, True)[: vertical + 1]]
    counts = []
    for h, v in ways:
        expected = x[:, :, :: -1 if v else 1, :: -1 if h else 1]
        counts.append((y == expected).all(axis=(1, 2, 3)).sum())
    share = 1 / len(ways)
    assert sum(counts) == 4000
    assert all(abs(count - 4000 * share) <= 5 * np.sqrt(4000 * share * (1 - share)) for count in counts)


def test_noise_has_its_deviation() -> None:
    added = applied(Noise(0.3), images(500)) - images(500)
    assert abs(added.mean()) <= 5 * 0.3 / np.sqrt(added.size)
    assert abs(added.std() - 0.3) <= 5 * 0.3 / np.sqrt(2 * added.size)


@pytest.mark.parametrize("augmentation", [*ON_IMAGES, Noise()])
def test_in_place_in_any_memory_layout(augmentation: Augmentation) -> None:
    x = images(9, F32)
    expected = applied(augmentation, x)
    assert not np.array_equal(expected, x)
    for order in ((1, 2, 3, 0), (3, 2, 1, 0), (0, 2, 3, 1)):
        memory = np.ascontiguousarray(x.transpose(order))
        view = memory.transpose(np.argsort(order))
        augmentation.apply(view, np.random.default_rng(0))
        np.testing.assert_array_equal(view, expected)
    wider = np.zeros((18, 2, 5, 8), np.float32)
    wider[::2, :, :, 1:7] = x
    augmentation.apply(wider[::2, :, :, 1:7], np.random.default_rng(0))
    np.testing.assert_array_equal(wider[::2, :, :, 1:7], expected)
    assert not wider[1::2].any() and not wider[..., 0].any()


@pytest.mark.parametrize("augmentation", [*ON_IMAGES, Noise()])
def test_the_same_alone_and_in_a_batch(augmentation: Augmentation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks of whole batches and a smaller batch; the caller's rows are not changed."""
    monkeypatch.setattr("engine.data.rows.BLOCK", 1000)
    x = images(37, F32)
    rows = Rows(x.copy(), NET.loss.targets(np.arange(37) % 3, 3, F32))
    trials = [Hyperparameters(learning_rate=0.1 * (k + 1), batch_size=8, augment=(augmentation,)) for k in range(3)]
    together, bare = start(NET, trials), start(NET, trials)
    run(NET, trials, together, rows, 2)
    assert np.array_equal(rows.x, x)
    for k in range(3):
        alone = start(NET, trials).take(np.array([k]))
        run(NET, [trials[k]], alone, rows, 2)
        assert bits(alone, 0) == bits(together, k)
    run(NET, [Hyperparameters(learning_rate=0.1 * (k + 1), batch_size=8) for k in range(3)], bare, rows, 2)
    assert (bare.theta != together.theta).any(axis=1).all()


def test_the_network_sees_augmented_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch, each image with new draws: the running means of batch norm differ."""
    monkeypatch.setattr("engine.data.rows.BLOCK", 1000)
    net = Network((1, 3, 3), (BatchNorm(momentum=1.0), Flatten(), Dense(2)), SoftmaxCrossEntropy())
    rows = Rows(np.ones((37, 1, 3, 3), np.float32), net.loss.targets(np.arange(37) % 2, 2, F32))
    trials = [Hyperparameters(batch_size=8, augment=(Shift(2),))]
    state, means = start(net, trials), set()
    for epoch in train(net, trials, state, rows):
        means.add(float(state.theta[0, 2]))
        if epoch.number == 5:
            break
    assert len(means) > 1 and max(means) < 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Noise(-1), "noise: sigma must be at least 0, got -1"),
        (lambda: Flip(False, False), "flip: horizontal or vertical must be true, got neither"),
        (lambda: Rotate(-1), "rotate: degrees must be at least 0, got -1"),
        (lambda: Scale(1.1, 0.9), "scale: must have 0 < low ≤ high, both finite, got low=1.1, high=0.9"),
        (lambda: Scale(0, 0.9), "scale: must have 0 < low ≤ high, both finite, got low=0, high=0.9"),
        (lambda: Shift(-1), "shift: pixels must be at least 0, got -1"),
    ],
)
def test_invalid_settings(make: Any, message: str) -> None:
    with pytest.raises(EngineError, match=f"^{message}$"):
        make()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_images_only(name: str) -> None:
    AUGMENTATIONS[name]().check((2, 5, 6))
    if name == "noise":
        AUGMENTATIONS[name]().check((5,))
        return
    with pytest.raises(EngineError, match=rf"^{name}: rows must be \(channels, height, width\), got \(5,\)$"):
        AUGMENTATIONS[name]().check((5,))
    net = Network((5,), (Dense(3),), SoftmaxCrossEntropy())
    trials = [Hyperparameters(augment=(AUGMENTATIONS[name](),))]
    rows = Rows(np.zeros((4, 5), F32), np.eye(4, 3, dtype=F32))
    with pytest.raises(EngineError, match=rf"^{name}: rows must be \(channels, height, width\), got \(5,\)$"):
        next(train(net, trials, start(net, trials), rows))
