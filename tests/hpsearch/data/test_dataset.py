"""Prepared datasets: scaling fitted on the training rows, fingerprints, and rows that cannot be learned from."""

from pathlib import Path

import cases
import numpy as np
import paths
import pytest
from fold_cases import FOLDS, prepared

from engine.data.scaling import SCALERS, MinMax
from engine.losses import Logistic, SoftmaxCrossEntropy, SquaredError
from hpsearch.data import dataset as module
from hpsearch.data.dataset import Dataset, fingerprint, prepare
from hpsearch.data.preprocessing import Preprocessing
from hpsearch.data.sources import Part, Source, Split, Table
from hpsearch.data.sources.formula import FormulaSource
from hpsearch.data.sources.npz import NpzSource
from hpsearch.data.sources.sklearn import SklearnSource
from hpsearch.data.splits import part_indices
from hpsearch.errors import DataError
from tests.hpsearch.data.test_splits import with_parts

PARTS: tuple[Part, ...] = ("train", "val", "test")
MNIST = paths.DATA / "mnist.npz"


def source(name: str, **settings: object) -> Source:
    return SklearnSource.model_validate({"name": name, **settings})


def table(labels: list[int]) -> Table:
    y = np.array(labels, np.int64)
    x = np.arange(len(y) * 2, dtype=np.float64).reshape(-1, 2)
    return Table(x, y, ("a", "b"), tuple(f"class {k}" for k in range(max(labels) + 1)))


def patch_rows(monkeypatch: pytest.MonkeyPatch, rows: Table) -> None:
    """Make the scikit-learn source return these rows."""
    monkeypatch.setattr(SklearnSource, "load", lambda self: rows)


def inputs(dataset: Dataset, part: Part) -> np.ndarray:
    rows = dataset.part(part)
    assert rows is not None
    return rows.x


def test_scaling_is_fitted_on_the_training_rows(tmp_path: Path) -> None:
    """The training rows get mean 0 and deviation 1; the other parts are scaled by the same numbers."""
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
    """The scaler is fitted on the training rows and applied to every part."""
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
    """Return flattened images `(count, channels, 2, 3)` whose channels have different ranges."""
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
    """The pixels of a channel are scaled as one column, and rows keep the shape of images."""
    table = pictures(40, channels)
    patch_rows(monkeypatch, table)
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
    patch_rows(monkeypatch, pictures(40, 2, constant=True))
    dataset, _ = prepare(source("iris", scale=scale, image=[2, 2, 3]), 1, tmp_path)
    found = inputs(dataset, "train")
    assert (found[:, 0] == 0).all() and np.ptp(found[:, 1]) > 0.9


@pytest.mark.parametrize("scale", SCALERS)
def test_a_constant_column(scale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table([0, 1] * 20)
    rows.x[:, 1] = 4.2
    patch_rows(monkeypatch, rows)
    dataset, _ = prepare(source("iris", scale=scale), 1, tmp_path)
    assert all(np.abs(inputs(dataset, p)[:, 1]).max() < 1e-12 for p in PARTS)


def test_images_of_another_size(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepare(source("digits", image=[1, 8, 9]), 1, tmp_path)
    assert str(caught.value) == "data.image: [1, 8, 9] needs 72 features per row, the rows of sklearn have 64"


def test_rows_are_written_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files equal those of `np.save` for every block size."""
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
    patch_rows(monkeypatch, Table(rows.x.astype(dtype), rows.y, rows.features, rows.classes))
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


def test_only_regression_targets_are_scaled(tmp_path: Path) -> None:
    """Class targets are not scaled."""
    assert prepare(source("iris", target_scale="standard"), 1, tmp_path)[1][0][0].target_scaler is None


def test_validation_rows_of_overfit_are_its_test_rows(tmp_path: Path) -> None:
    dataset, _ = prepare(FormulaSource(name="overfit"), 1, tmp_path)
    assert dataset.rows == (("train", 25), ("val", 100), ("test", 100))
    assert (inputs(dataset, "val") == inputs(dataset, "test")).all()
    assert (np.diff(inputs(dataset, "train")[:, 0]) > 0).all()  # in their own order


@pytest.mark.parametrize(
    ("name", "rows"), [("arc", (360, 40, 100)), ("bank", (900, 100, 500)), ("moons", (600, 200, 200))]
)
def test_default_split_of_formulas(name: str, rows: tuple[int, ...], tmp_path: Path) -> None:
    dataset, _ = prepare(FormulaSource.model_validate({"name": name, "scale": "minmax"}), 1, tmp_path)
    assert dataset.rows == tuple(zip(PARTS, rows, strict=True)) and dataset.inputs == (2,)
    assert inputs(dataset, "train").min() == 0 and inputs(dataset, "train").max() == 1


@pytest.mark.skipif(not MNIST.exists(), reason=f"needs {MNIST}")
def test_mnist(tmp_path: Path) -> None:
    """Min-max scaling divides pixels by 255; the file has its own test rows, and val is a ninth of the others."""
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


def test_rows_without_scaling(tmp_path: Path) -> None:
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
    """The fingerprint depends on every value and on the layout of the rows."""
    one, other = table([0, 1, 1]), table([0, 1, 1])
    assert fingerprint(one) == fingerprint(other)
    if where == "x":
        other.x[2, 1] = np.nextafter(other.x[2, 1], 9)
    elif where == "y":
        other.y[1] = 0
    elif where == "fixed":
        other = with_parts(other, test=[1])
    elif where == "another part":
        one, other = with_parts(one, test=[1]), with_parts(other, val=[1])
    elif where == "another row":
        one, other = with_parts(one, test=[1]), with_parts(other, test=[2])
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
def test_invalid_numbers(value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the column's name and the number of rows; 1e39 is infinite in float32."""
    rows = table([0, 1] * 20)
    rows.x[[3, 8, 39], 1] = value
    patch_rows(monkeypatch, rows)
    with pytest.raises(DataError) as caught:
        prepare(source("iris"), 1, tmp_path)
    assert str(caught.value) == "data: sklearn: NaN or infinite values in column 'b' (3 of 40 rows)"


def test_many_columns_with_invalid_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((10, 8))
    x[0, 1:] = np.nan
    x[1, 2] = np.inf
    patch_rows(monkeypatch, Table(x, np.arange(10) % 2, tuple("abcdefgh"), ("no", "yes")))
    with pytest.raises(DataError) as caught:
        prepare(source("iris"), 1, tmp_path)
    assert "columns 'b' (1 of 10 rows), 'c' (2 of 10 rows), 'd'" in str(caught.value)
    assert str(caught.value).endswith("'f' (1 of 10 rows) and 2 more")


def test_invalid_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.linspace(0, 1, 20)
    y[4] = np.nan
    patch_rows(monkeypatch, Table(np.zeros((20, 1)), y, ("x",), ()))
    with pytest.raises(DataError, match=r"column 'the target' \(1 of 20 rows\)"):
        prepare(source("iris"), 1, tmp_path)


@pytest.mark.parametrize("label", [0, 1])
def test_a_single_class(label: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table([0, 1] * 20)
    patch_rows(monkeypatch, Table(rows.x, np.full(40, label), rows.features, ("no", "yes")))
    with pytest.raises(DataError) as caught:
        prepare(source("iris"), 1, tmp_path)
    word = ("no", "yes")[label]
    want = f"data: sklearn: the target must have at least two classes, got '{word}' in all 40 rows"
    assert str(caught.value) == want


def test_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch_rows(monkeypatch, Table(np.zeros((0, 2)), np.zeros(0, np.int64), ("a", "b"), ("no", "yes")))
    with pytest.raises(DataError, match=r"must be rows and features, got an array of shape \(0, 2\)"):
        prepare(source("iris"), 1, tmp_path)


def test_unscaled_rows_are_reshaped() -> None:
    assert Preprocessing(None, None).inputs(np.zeros((4, 6)), (1, 2, 3)).shape == (4, 1, 2, 3)
    assert Preprocessing(None, None).inputs(np.zeros((4, 6)), (6,)).dtype == np.float32


def test_folds_fit_their_own_rows(tmp_path: Path) -> None:
    """Each fold's preprocessing is fitted on its training rows, and its validation rows are the others."""
    spec = cases.small(**FOLDS)
    dataset, [folds] = prepared(spec, tmp_path)
    table = spec.data.load()
    train, val, test = (dataset.part(part) for part in ("train", "val", "test"))
    assert train is not None and val is not None and test is not None and len(folds) == dataset.folds == 3
    seen = []
    for number, fold in enumerate(folds):
        raw = fold.input_scaler.invert(train.of(number).x.astype(np.float64))  # type: ignore[union-attr]
        np.testing.assert_allclose(raw.mean(axis=0), fold.input_scaler.mean, rtol=1e-5)  # type: ignore[union-attr]
        own = fold.input_scaler.invert(val.of(number).x.astype(np.float64)).round(4)  # type: ignore[union-attr]
        seen += [tuple(row) for row in own]
        assert not {tuple(row) for row in raw.round(4)} & {tuple(row) for row in own}
        again = fold.input_scaler.invert(test.of(number).x.astype(np.float64))  # type: ignore[union-attr]
        assert {tuple(row) for row in again.round(3)} <= {tuple(row) for row in np.asarray(table.x).round(3)}
    assert len({tuple(f.input_scaler.mean) for f in folds}) == 3  # type: ignore[union-attr]
    assert len(seen) == 3 * len(val) and len(train) + len(val) + len(test) == len(table.y)
