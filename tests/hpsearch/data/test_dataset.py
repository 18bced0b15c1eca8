"""Rows: split in proportion and complete, scaled by what the training rows say, known by their fingerprint."""

import hashlib
from pathlib import Path

import numpy as np
import paths
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.data.scaling import SCALERS, MinMax
from engine.losses import Logistic, SoftmaxCrossEntropy, SquaredError
from hpsearch.data import dataset as module
from hpsearch.data.dataset import Dataset, fingerprint, prepare
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.data.sources import Part, Source, Split, Table
from hpsearch.data.sources.formula import FormulaSource
from hpsearch.data.sources.npz import NpzSource
from hpsearch.data.sources.sklearn import SklearnSource
from hpsearch.data.splits import default_split, part_indices
from hpsearch.errors import DataError

PARTS: tuple[Part, ...] = ("train", "val", "test")
MNIST = paths.DATA / "mnist.npz"


def source(name: str, **settings: object) -> Source:
    return SklearnSource.model_validate({"name": name, **settings})


def table(labels: list[int]) -> Table:
    y = np.array(labels, np.int64)
    x = np.arange(len(y) * 2, dtype=np.float64).reshape(-1, 2)
    return Table(x, y, ("a", "b"), tuple(f"class {k}" for k in range(max(labels) + 1)))


def give(monkeypatch: pytest.MonkeyPatch, rows: Table) -> None:
    """Whatever the source, these are its rows."""
    monkeypatch.setattr(SklearnSource, "load", lambda self: rows)


def inputs(dataset: Dataset, part: Part) -> np.ndarray:
    rows = dataset.part(part)
    assert rows is not None
    return rows.x


FRACTIONS = st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(0, 8)).map(
    lambda f: Split(train=f[0] / sum(f), val=f[1] / sum(f), test=f[2] / sum(f))
)


@settings(max_examples=60)
@given(st.lists(st.integers(5, 60), min_size=2, max_size=4), FRACTIONS, st.integers(0, 2**64 - 1))
@example([5, 7, 7, 7], Split(train=7 / 15, val=1 / 15, test=7 / 15), 0)
def test_split(counts: list[int], fractions: Split, seed: int) -> None:
    """Every row in one part, parts of the size asked for to within a row, every class in proportion to less than two.

    Largest remainders alone may give a class fewer rows of one row more (Alabama's paradox, the example).
    """
    rows = table([k for k, count in enumerate(counts) for _ in range(count)])
    try:
        parts = part_indices(rows, fractions, seed)
    except DataError as error:
        assert "data.split" in str(error)
        return
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(rows.y)))
    for part in PARTS:
        share = getattr(fractions, part)
        assert abs(len(parts[part]) - share * len(rows.y)) <= 1
        for k, count in enumerate(counts):
            assert abs((rows.y[parts[part]] == k).sum() - share * count) < 2
    assert all((parts[p] == again).all() for p, again in part_indices(rows, fractions, seed).items())


@pytest.mark.parametrize(
    ("name", "fractions", "seed", "digest"),
    [
        ("digits", (0.6, 0.2, 0.2), 0, "f553788449e2bb7f"),
        ("digits", (0.7, 0.3, 0.0), 1, "8ed040c67f0f6def"),
        ("iris", (0.6, 0.2, 0.2), 0, "b7f9118aba1ddb93"),
        ("iris", (0.5, 0.3, 0.2), 2**63 + 5, "06141b304cf2fc9d"),
        ("diabetes", (0.98, 0.01, 0.01), 3, "39825599a262eb80"),
    ],
)
def test_split_stays_what_it_was(name: str, fractions: tuple[float, float, float], seed: int, digest: str) -> None:
    """As of 0161661: a split that changes makes every stored study another one."""
    parts = part_indices(source(name).load(), Split(**dict(zip(PARTS, fractions, strict=True))), seed)
    content = b"".join(parts[part].astype(np.int64).tobytes() + part.encode() for part in PARTS)
    assert hashlib.sha256(content).hexdigest()[:16] == digest


def test_split_by_size() -> None:
    for rows, fractions in {
        20_000: (0.6, 0.2, 0.2),
        20_001: (0.8, 0.1, 0.1),
        200_000: (0.8, 0.1, 0.1),
        200_001: (0.98, 0.01, 0.01),
    }.items():
        chosen = default_split(rows)
        assert (chosen.train, chosen.val, chosen.test) == fractions
    rows = table([0, 1] * 15_000)
    assert {p: len(r) for p, r in part_indices(rows, None, 1).items()} == {"train": 24_000, "val": 3000, "test": 3000}
    small, same = table([0, 1] * 50), Split()
    assert all(
        (a == b).all()
        for a, b in zip(part_indices(small, None, 4).values(), part_indices(small, same, 4).values(), strict=True)
    )


def fixed(rows: Table, share: Split | None = None, **parts: list[int]) -> Table:
    numbers = {part: np.array(parts[part], np.intp) for part in PARTS if part in parts}
    return Table(rows.x, rows.y, rows.features, rows.classes, numbers, share)


@settings(max_examples=60)
@given(
    st.lists(st.integers(5, 60), min_size=2, max_size=4),
    FRACTIONS,
    st.sets(st.sampled_from(PARTS), max_size=2),
    st.data(),
)
def test_split_beside_what_is_fixed(counts: list[int], fractions: Split, kept: set[Part], data: st.DataObject) -> None:
    """Fixed rows as they are, the others over the other parts by their fractions of what is left, every class too."""
    plain = table([k for k, count in enumerate(counts) for _ in range(count)])
    order = data.draw(st.permutations(range(len(plain.y))))
    rows = fixed(plain, fractions, **{p: order[4 * n : 4 * n + 4] for n, p in enumerate(sorted(kept))})
    seed = data.draw(st.integers(0, 2**64 - 1))
    try:
        parts = part_indices(rows, None, seed)
    except DataError as error:
        assert "leave none for" in str(error) or "in no part" in str(error)
        return
    assert list(parts) == list(PARTS)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(rows.y)))
    assert all(parts[p].tolist() == list(rows.parts[p]) for p in kept)
    left = np.array(order[4 * len(kept) :])
    whole = sum(getattr(fractions, p) for p in PARTS if p not in kept)
    for part in set(PARTS) - kept:
        share = getattr(fractions, part) / whole
        assert abs(len(parts[part]) - share * len(left)) <= 2
        for k in range(len(counts)):
            assert abs((rows.y[parts[part]] == k).sum() - share * (rows.y[left] == k).sum()) < 2
    assert all((parts[p] == again).all() for p, again in part_indices(rows, None, seed).items())


def test_split_of_a_source_with_test_rows() -> None:
    """By its own fractions, by the study file's, or by size, with test left out."""
    rows = table([0, 1] * 60)
    test = list(range(100, 120))
    for asked, own, train in (
        (None, Split(train=0.9, val=0.1, test=0.0), 90),
        (Split(train=0.7, val=0.3, test=0.0), Split(train=0.9, val=0.1, test=0.0), 70),
        (None, None, 75),
    ):
        parts = part_indices(fixed(rows, own, test=test), asked, 3)
        assert parts["test"].tolist() == test and len(parts["train"]) == train and len(parts["val"]) == 100 - train
        assert abs(np.diff(np.bincount(rows.y[parts["val"]]))) <= 1
    one, other = (part_indices(fixed(rows, test=test), None, seed)["train"] for seed in (1, 2))
    assert (np.sort(one) != np.sort(other)).any() and (np.diff(one) < 0).any()


def test_split_where_everything_is_fixed() -> None:
    """Nothing is drawn, and a row may be in two parts."""
    rows = fixed(table([0, 1] * 4), train=[5, 1, 0, 2], val=[3, 4, 6, 7], test=[3, 4, 6, 7])
    for seed in (1, 2):
        assert {p: n.tolist() for p, n in part_indices(rows, None, seed).items()} == {
            p: list(n) for p, n in rows.parts.items()
        }


@pytest.mark.parametrize(
    ("parts", "asked", "message"),
    [
        ({"test": [0, 1]}, (0.6, 0.2, 0.2), "has 2 test rows of its own, so test must be 0 or left out, got 0.2"),
        ({"train": [0, 1], "val": [2], "test": [3]}, (0.9, 0.1, 0), "are train, val and test; leave split out"),
        ({"train": [0, 1], "val": [2], "test": [3]}, None, "data: 4 of 8 rows are in no part"),
        ({"train": [0, 1], "val": [2]}, (0.9, 0.1, 0), "data: 5 of 8 rows are in no part"),
        ({"train": list(range(8))}, None, "data.split: 0 rows leave none for val"),
        ({"test": [0, 1], "val": []}, None, "leave none for val"),
        ({"test": list(range(7))}, None, "data.split: 1 rows leave none for val"),
    ],
)  # fmt: skip
def test_splits_that_cannot_be(parts: dict[str, list[int]], asked: tuple[float, ...] | None, message: str) -> None:
    rows = fixed(table([0, 1] * 4), **parts)
    with pytest.raises(DataError) as caught:
        part_indices(rows, Split(**dict(zip(PARTS, asked, strict=True))) if asked else None, 0)
    assert message in str(caught.value)


def test_no_test_rows_are_needed_beside_fixed_ones() -> None:
    rows = fixed(table([0, 1] * 4), Split(train=0.8, val=0.2, test=0.0), train=[0, 1, 2, 3, 4, 5], val=[6, 7])
    assert part_indices(rows, None, 0)["test"].tolist() == []


def test_split_by_hand() -> None:
    """60, 20 and 20 % of 50, 30 and 20 rows."""
    rows = table([0] * 50 + [1] * 30 + [2] * 20)
    parts = part_indices(rows, Split(train=0.6, val=0.2, test=0.2), 5)
    found = [np.bincount(rows.y[parts[p]]).tolist() for p in PARTS]
    assert found == [[30, 18, 12], [10, 6, 4], [10, 6, 4]]


def test_split_depends_on_the_seed_and_mixes_classes() -> None:
    rows = table([0] * 50 + [1] * 50)
    one, other = part_indices(rows, Split(), 1), part_indices(rows, Split(), 2)
    assert any((one[p] != other[p]).any() for p in PARTS)
    labels = rows.y[one["train"]]
    assert 10 < (labels[1:] != labels[:-1]).sum() < 50  # neither in blocks nor in turns


def test_split_of_a_regression() -> None:
    values = np.linspace(0, 1, 50)
    parts = part_indices(Table(values[:, None], values, ("x",), ()), Split(train=0.5, val=0.5, test=0.0), 3)
    assert [len(parts[p]) for p in PARTS] == [25, 25, 0]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(50))
    assert (np.diff(parts["train"]) < 0).any()


def test_split_that_leaves_a_part_empty() -> None:
    with pytest.raises(DataError, match="leave none for val"):
        part_indices(table([0, 1, 0]), Split(train=0.9, val=0.05, test=0.05), 0)


def test_scaling_is_of_the_training_rows(tmp_path: Path) -> None:
    """Mean 0 and deviation 1 there; val and test by the same numbers, so not exactly."""
    dataset, [[scaling]] = prepare(source("wine"), 1, tmp_path)
    train, val, test = (dataset.part(p) for p in PARTS)
    assert train is not None and val is not None and test is not None
    assert np.allclose(train.x.mean(axis=0), 0, atol=1e-5) and np.allclose(train.x.std(axis=0), 1, atol=1e-4)
    assert not np.allclose(val.x.mean(axis=0), 0, atol=1e-3)
    assert scaling.input_scaler is not None and scaling.target_scaler is None
    rows = source("wine").load()
    want = scaling.input_scaler.apply(rows.x).astype(np.float32)
    found = np.concatenate([train.x, val.x, test.x])
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, want.tolist()))


@pytest.mark.parametrize("scale", [*SCALERS, "none"])
def test_every_scaling(scale: str, tmp_path: Path) -> None:
    """By the training rows alone; each part is what the scaler gives of the source's rows."""
    dataset, [[scaling]] = prepare(source("wine", scale=scale), 1, tmp_path)
    rows = source("wine").load()
    parts = part_indices(rows, None, module.derive(1, "split"))
    fitted = SCALERS[scale].fit(rows.x[parts["train"]]) if scale != "none" else None
    for part in PARTS:
        raw = rows.x[parts[part]]
        want = fitted.apply(raw) if fitted else raw
        assert inputs(dataset, part).tobytes() == want.astype(np.float32).tobytes()
        assert inputs(dataset, part).tobytes() == scaling.inputs(raw, dataset.inputs).tobytes()


def pictures(count: int, channels: int, constant: bool = False) -> Table:
    """Images `(count, channels, 2, 3)` as rows, every channel with a range of its own."""
    generator = np.random.default_rng(3)
    x = generator.uniform(0, 1, (count, channels, 2, 3)) * (10.0 ** np.arange(channels))[:, None, None]
    x[:, :, 0, 0] = 0  # a pixel that is never lit
    if constant:
        x[:, 0] = 7.0
    return Table(x.reshape(count, -1), np.arange(count) % 2, tuple(f"p{k}" for k in range(channels * 6)), ("a", "b"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [*SCALERS, "none"])
def test_images_are_scaled_by_channel(
    scale: str, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pixels of a channel as one column; in the shape of images."""
    table = pictures(40, channels)
    give(monkeypatch, table)
    monkeypatch.setattr(module, "BLOCK_SIZE", 7 * channels * 6)
    dataset, [[scaling]] = prepare(source("iris", scale=scale, image=[channels, 2, 3]), 1, tmp_path)
    assert dataset.inputs == (channels, 2, 3)
    parts = part_indices(table, None, module.derive(1, "split"))
    images = table.x.reshape(-1, channels, 2, 3)
    for part in PARTS:
        found = inputs(dataset, part)
        assert found.shape == (len(parts[part]), channels, 2, 3) and found.dtype == np.float32
        for c in range(channels):
            want = images[parts[part], c]
            if scale != "none":
                fitted = SCALERS[scale].fit(images[parts["train"], c].reshape(-1, 1))
                want = fitted.apply(want.reshape(-1, 1)).reshape(want.shape)
            assert np.allclose(found[:, c], want, rtol=1e-6, atol=1e-6)
        assert scaling.inputs(table.x[parts[part]], dataset.inputs).tobytes() == found.tobytes()
    if scale == "standard":
        assert np.allclose(inputs(dataset, "train").mean(axis=(0, 2, 3)), 0, atol=1e-6)
    if scale == "minmax":
        assert inputs(dataset, "train").max() == 1


@pytest.mark.parametrize("scale", SCALERS)
def test_a_constant_channel(scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, pictures(40, 2, constant=True))
    dataset, _ = prepare(source("iris", scale=scale, image=[2, 2, 3]), 1, tmp_path)
    found = inputs(dataset, "train")
    assert (found[:, 0] == 0).all() and np.ptp(found[:, 1]) > 0.9


@pytest.mark.parametrize("scale", SCALERS)
def test_a_constant_column(scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table([0, 1] * 20)
    rows.x[:, 1] = 4.2
    give(monkeypatch, rows)
    dataset, _ = prepare(source("iris", scale=scale), 1, tmp_path)
    assert all(np.abs(inputs(dataset, p)[:, 1]).max() < 1e-12 for p in PARTS)


def test_image_of_another_size(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepare(source("digits", image=[1, 8, 9]), 1, tmp_path)
    assert str(caught.value) == "data.image: [1, 8, 9] needs 72 features per row, the rows of sklearn have 64"


def test_written_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are those of `np.save`, whatever the size of a block."""
    files: list[dict[str, bytes]] = []
    for block in (module.BLOCK_SIZE, 64 * 7, 1):
        monkeypatch.setattr(module, "BLOCK_SIZE", block)
        prepare(source("digits"), 1, tmp_path)
        files.append({p.name: p.read_bytes() for p in tmp_path.iterdir()})
    assert files[0] == files[1] == files[2] and len(files[0]) == 6
    np.save(tmp_path / "again.npy", np.load(tmp_path / "val_x.npy", allow_pickle=False), allow_pickle=False)
    assert (tmp_path / "again.npy").read_bytes() == files[0]["val_x.npy"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float32_rows(dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table([0, 1] * 20)
    give(monkeypatch, Table(rows.x.astype(dtype), rows.y, rows.features, rows.classes))
    dataset, [[scaling]] = prepare(source("iris", scale="minmax"), 1, tmp_path)
    assert isinstance(scaling.input_scaler, MinMax) and scaling.input_scaler.minimum.dtype == np.float64
    assert inputs(dataset, "train").dtype == np.float32 and inputs(dataset, "train").max() == 1


@pytest.mark.parametrize("target_scale", ["standard", "none"])
def test_targets(target_scale: str, tmp_path: Path) -> None:
    made = FormulaSource.model_validate({"name": "curve", "target_scale": target_scale})
    dataset, [[scaling]] = prepare(made, 1, tmp_path)
    train, test = dataset.part("train"), dataset.part("test")
    assert train is not None and test is not None
    assert dataset.rows == (("train", 900), ("val", 100), ("test", 200))
    if target_scale == "none":
        assert scaling.target_scaler is None and test.y[0, 0] == np.float32(-0.29)
    else:
        assert scaling.target_scaler is not None and np.isclose(train.y.std(), 1, atol=1e-4)
        assert np.isclose(scaling.target_scaler.invert(test.y.astype(np.float64))[0, 0], -0.29, atol=1e-6)


def test_scaled_targets_are_of_a_regression(tmp_path: Path) -> None:
    """Classes stay what they are."""
    assert prepare(source("iris", target_scale="standard"), 1, tmp_path)[1][0][0].target_scaler is None


def test_overfit_val_is_test(tmp_path: Path) -> None:
    dataset, _ = prepare(FormulaSource(name="overfit"), 1, tmp_path)
    assert dataset.rows == (("train", 25), ("val", 100), ("test", 100))
    assert (inputs(dataset, "val") == inputs(dataset, "test")).all()
    assert (np.diff(inputs(dataset, "train")[:, 0]) > 0).all()  # in their own order


@pytest.mark.parametrize(
    ("name", "rows"), [("arc", (360, 40, 100)), ("bank", (900, 100, 500)), ("moons", (600, 200, 200))]
)
def test_formulas_without_a_word_about_the_split(name: str, rows: tuple[int, ...], tmp_path: Path) -> None:
    dataset, _ = prepare(FormulaSource.model_validate({"name": name, "scale": "minmax"}), 1, tmp_path)
    assert dataset.rows == tuple(zip(PARTS, rows, strict=True)) and dataset.inputs == (2,)
    assert inputs(dataset, "train").min() == 0 and inputs(dataset, "train").max() == 1


@pytest.mark.skipif(not MNIST.exists(), reason=f"needs {MNIST}")
def test_mnist(tmp_path: Path) -> None:
    """Images over 255 by min-max; the test rows are the file's own, val is a ninth of the others."""
    names = {"x": "Xtr", "y": "ytr", "test_x": "Xte", "test_y": "yte"}
    made = NpzSource.model_validate({"path": str(MNIST), **names, "image": [1, 28, 28], "scale": "minmax"})
    dataset, [[scaling]] = prepare(made, 1, tmp_path)
    assert dataset.inputs == (1, 28, 28) and dataset.outputs == 10
    assert dataset.rows == (("train", 53_333), ("val", 6_667), ("test", 10_000))
    assert isinstance(scaling.input_scaler, MinMax) and (scaling.input_scaler.minimum, scaling.input_scaler.width) == (
        0,
        255,
    )
    with np.load(MNIST, allow_pickle=False) as file:
        raw, labels = file["Xte"], file["yte"]
    found = dataset.part("test")
    assert found is not None and (found.x.reshape(-1, 784) == (raw / 255).astype(np.float32)).all()
    assert (found.y.argmax(axis=1) == labels).all()
    module._mapped.cache_clear()


def test_unscaled(tmp_path: Path) -> None:
    dataset, [[scaling]] = prepare(source("iris", scale="none"), 1, tmp_path)
    assert scaling.input_scaler is None
    parts = [dataset.part(p) for p in PARTS]
    found = np.concatenate([rows.x for rows in parts if rows])
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, source("iris").load().x.astype(np.float32).tolist()))


@pytest.mark.parametrize(
    ("name", "features", "outputs", "loss", "rows"),
    [
        ("digits", 64, 10, SoftmaxCrossEntropy(), 1797),
        ("iris", 4, 3, SoftmaxCrossEntropy(), 150),
        ("wine", 13, 3, SoftmaxCrossEntropy(), 178),
        ("breast_cancer", 30, 1, Logistic(), 569),
        ("diabetes", 10, 1, SquaredError(), 442),
    ],
)
def test_bundled_data(name: str, features: int, outputs: int, loss: object, rows: int, tmp_path: Path) -> None:
    dataset, [[scaling]] = prepare(source(name), 1, tmp_path)
    assert (dataset.inputs, dataset.outputs, dataset.loss) == ((features,), outputs, loss)
    assert sum(dict(dataset.rows).values()) == rows
    assert len(dataset.classes) == {"diabetes": 0, "breast_cancer": 2, "digits": 10}.get(name, 3)
    for part in PARTS:
        found = dataset.part(part)
        assert found is not None and found.x.shape == (dict(dataset.rows)[part], features)
        assert found.x.dtype == found.y.dtype == np.float32
        assert found.y.shape == (len(found.x), outputs)
    if name == "diabetes":  # targets are scaled, so that losses do not depend on their unit
        train = dataset.part("train")
        assert train is not None and scaling.target_scaler is not None
        assert np.isclose(train.y.mean(), 0, atol=1e-5) and np.isclose(train.y.std(), 1, atol=1e-4)
        y = source("diabetes").load().y
        parts = part_indices(source("diabetes").load(), Split(), 0)
        assert np.allclose(
            scaling.target_scaler.invert(scaling.target_scaler.apply(y[parts["val"]][:, None]))[:, 0], y[parts["val"]]
        )


def test_no_test_rows(tmp_path: Path) -> None:
    dataset, _ = prepare(source("iris", split={"train": 0.5, "val": 0.5, "test": 0.0}), 1, tmp_path)
    assert dataset.part("test") is None


@pytest.mark.parametrize("where", ["x", "y", "dtype", "shape", "fixed", "another part", "another row"])
def test_fingerprint(where: str) -> None:
    """Of every value, and of how they are laid out."""
    one, other = table([0, 1, 1]), table([0, 1, 1])
    assert fingerprint(one) == fingerprint(other)
    if where == "x":
        other.x[2, 1] = np.nextafter(other.x[2, 1], 9)
    elif where == "y":
        other.y[1] = 0
    elif where == "fixed":
        other = fixed(other, test=[1])
    elif where == "another part":
        one, other = fixed(one, test=[1]), fixed(other, val=[1])
    elif where == "another row":
        one, other = fixed(one, test=[1]), fixed(other, test=[2])
    elif where == "dtype":
        other = Table(other.x, other.y.astype(np.float64), other.features, other.classes)
    else:
        other = Table(other.x.reshape(2, 3), other.y, other.features, other.classes)
    assert fingerprint(one) != fingerprint(other)


def test_fingerprint_does_not_depend_on_seed_or_memory(tmp_path: Path) -> None:
    assert prepare(source("iris"), 1, tmp_path)[0].fingerprint == prepare(source("iris"), 2, tmp_path)[0].fingerprint
    rows = table([0, 1, 1])
    turned = Table(np.asfortranarray(rows.x), rows.y, rows.features, rows.classes)
    assert fingerprint(rows) == fingerprint(turned)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_numbers_that_are_none(value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The column by its name, and how many rows; 1e39 is infinite in float32."""
    rows = table([0, 1] * 20)
    rows.x[[3, 8, 39], 1] = value
    give(monkeypatch, rows)
    with pytest.raises(DataError) as caught:
        prepare(source("iris"), 1, tmp_path)
    assert str(caught.value) == "data: sklearn: NaN or infinite values in column 'b' (3 of 40 rows)"


def test_many_columns_with_such_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((10, 8))
    x[0, 1:] = np.nan
    x[1, 2] = np.inf
    give(monkeypatch, Table(x, np.arange(10) % 2, tuple("abcdefgh"), ("no", "yes")))
    with pytest.raises(DataError) as caught:
        prepare(source("iris"), 1, tmp_path)
    assert "columns 'b' (1 of 10 rows), 'c' (2 of 10 rows), 'd'" in str(caught.value)
    assert str(caught.value).endswith("'f' (1 of 10 rows) and 2 more")


def test_targets_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.linspace(0, 1, 20)
    y[4] = np.nan
    give(monkeypatch, Table(np.zeros((20, 1)), y, ("x",), ()))
    with pytest.raises(DataError, match=r"column 'the target' \(1 of 20 rows\)"):
        prepare(source("iris"), 1, tmp_path)


@pytest.mark.parametrize("label", [0, 1])
def test_a_single_class(label: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table([0, 1] * 20)
    give(monkeypatch, Table(rows.x, np.full(40, label), rows.features, ("no", "yes")))
    with pytest.raises(DataError) as caught:
        prepare(source("iris"), 1, tmp_path)
    word = ("no", "yes")[label]
    want = f"data: sklearn: the target must have at least two classes, got '{word}' in all 40 rows"
    assert str(caught.value) == want


def test_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, Table(np.zeros((0, 2)), np.zeros(0, np.int64), ("a", "b"), ("no", "yes")))
    with pytest.raises(DataError, match=r"must be rows and features, got an array of shape \(0, 2\)"):
        prepare(source("iris"), 1, tmp_path)


def test_unscaled_rows_are_shaped_too() -> None:
    assert Preprocessing(None, None).inputs(np.zeros((4, 6)), (1, 2, 3)).shape == (4, 1, 2, 3)
    assert Preprocessing(None, None).inputs(np.zeros((4, 6)), (6,)).dtype == np.float32
