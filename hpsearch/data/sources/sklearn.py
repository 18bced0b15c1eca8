"""Data sets bundled with scikit-learn."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from pydantic import Field

from hpsearch.data.sources.base import Source, Table

_SIZES = (
    *("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity"),
    *("concave points", "symmetry", "fractal dimension"),
)
_FEATURES = {  # data set → names of its columns, as scikit-learn has them
    "digits": tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
    "iris": ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
    "wine": (
        *("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids"),
        *("nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines"),
        "proline",
    ),
    "breast_cancer": tuple(text.format(size) for text in ("mean {}", "{} error", "worst {}") for size in _SIZES),
}
_FILES = {"digits": "digits.csv.gz", "iris": "iris.csv", "wine": "wine_data.csv", "breast_cancer": "breast_cancer.csv"}


@final
class SklearnSource(Source):
    """`{source: sklearn, name: digits}`."""

    source: Literal["sklearn"] = Field("sklearn", description="Source.")
    name: Literal["digits", "iris", "wine", "breast_cancer", "diabetes"] = Field(description="Data set.")

    def load(self) -> Table:
        file = _bundled_file(self.name)
        return _load_by_sklearn(self.name) if file is None else _read(self.name, file)


def _bundled_file(name: str) -> Path | None:
    """Return the file of a data set in scikit-learn's folder; None for one whose columns scikit-learn computes."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None or name not in _FILES:
        return None
    file = Path(spec.origin).parent / "datasets" / "data" / _FILES[name]
    return file if file.is_file() else None


def _read(name: str, file: Path) -> Table:
    """Read a file of numbers with the class in the last column, without importing scikit-learn, which takes 0.9 s."""
    features = _FEATURES[name]
    if name == "digits":  # the only file without a header
        rows, classes = np.loadtxt(file, delimiter=","), tuple(map(str, range(10)))
    else:
        with file.open(encoding="utf-8") as lines:
            classes = tuple(next(lines).strip().split(",")[2:])
        rows = np.loadtxt(file, delimiter=",", skiprows=1)
    return Table(x=rows[:, :-1].copy(), y=rows[:, -1].astype(np.int64), features=features, classes=classes)


def _load_by_sklearn(name: str) -> Table:
    from sklearn import datasets

    bunch: Any = getattr(datasets, f"load_{name}")()
    classes = tuple(str(name) for name in bunch.get("target_names", ()))
    return Table(
        x=np.asarray(bunch.data, np.float64),
        y=np.asarray(bunch.target, np.int64) if classes else np.asarray(bunch.target, np.float64),
        features=tuple(str(name) for name in bunch.feature_names),
        classes=classes,
    )
