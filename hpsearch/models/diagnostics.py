"""What a champion does with its rows: seen once, when the study ends, so that a report needs the database alone."""

import json
import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from engine.analysis.diagnostics import Histogram, histograms, weight_statistics
from engine.data.rows import Rows
from engine.network import Network
from engine.types import EngineError, Floats
from hpsearch.config.instantiate import hyperparameters
from hpsearch.config.spec import Spec
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import DTYPE, Preprocessing
from hpsearch.training.network import build_network

CLASSES = 100  # beyond which a confusion matrix cannot be read
SHOWN = 1000  # rows of a scatter of predictions; all of them are in the histogram of residuals
DOTS = 600  # rows drawn over decision regions
GRID = 101  # points of a decision region's side
BATCH = 256  # rows of which activations and gradients are taken
BINS = 40
MARGIN = 0.08  # of the range of the rows, on each side of the regions


class Fit(NamedTuple):
    """What is predicted of the rows of one part.

    Attributes:
        rows: how many there are.
        confusion: `[true class][predicted class]`, counts; empty for a regression, and for very many classes.
        truth, predicted: of a regression, in the target's own units; of at most `SHOWN` rows, evenly taken.
        residuals, edges: histogram of predicted − true over all rows.
    """

    rows: int
    confusion: list[list[int]] = []  # noqa: RUF012 (read only, like the others)
    truth: list[float] = []  # noqa: RUF012
    predicted: list[float] = []  # noqa: RUF012
    residuals: list[int] = []  # noqa: RUF012
    edges: list[float] = []  # noqa: RUF012


class Regions(NamedTuple):
    """What is predicted where, of rows with two features, in their own units.

    Attributes:
        names: of the features, x before y.
        x, y: the grid's coordinates.
        said: `[y][x]`, the number of the class, or the value.
        sure: `[y][x]`, the probability of that class; empty for a regression.
        dots: training rows, `[x, y, class or value]`.
    """

    names: list[str]
    x: list[float]
    y: list[float]
    said: list[list[float]]
    sure: list[list[float]]
    dots: list[list[float]]


class Spread(NamedTuple):
    """How the numbers of one layer are spread: `engine.analysis.diagnostics.Histogram` of one trial."""

    layer: str
    counts: list[int]
    edges: list[float]
    mean: float
    deviation: float


class Weights(NamedTuple):
    """The weights of one layer: `engine.analysis.diagnostics.LayerWeights` of one trial."""

    layer: str
    total: float
    numbers: int
    little: int
    zero: int


class Diagnostics(NamedTuple):
    """A champion, seen from its rows. From a cross-validation, layers are those of the first fold's net.

    Attributes:
        val, test: None where there are no such rows. Of folds each net predicts its own val rows, and all of them the
            test rows together.
        regions: None unless rows are two numbers.
        activations, gradients: of a batch of training rows; empty where none can be taken.
    """

    val: Fit | None
    test: Fit | None
    regions: Regions | None
    activations: list[Spread]
    gradients: list[Spread]
    weights: list[Weights]

    def to_bytes(self) -> bytes:
        """Packed JSON: a few kB."""
        content: dict[str, Any] = {"weights": [w._asdict() for w in self.weights]}
        content |= {name: [s._asdict() for s in getattr(self, name)] for name in ("activations", "gradients")}
        content |= {name: part and part._asdict() for name, part in (("val", self.val), ("test", self.test))}
        content["regions"] = self.regions and self.regions._asdict()
        return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 6)

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Self | None:
        """What `to_bytes` wrote; None where there is nothing, or nothing that this version reads: it is made anew."""
        if data is None:
            return None
        try:
            content = json.loads(zlib.decompress(data))
            for part in filter(None, (content["val"], content["test"])):
                if any(len(row) != len(part["confusion"]) for row in part["confusion"]):
                    return None
            return cls(
                val=content["val"] and Fit(**content["val"]),
                test=content["test"] and Fit(**content["test"]),
                regions=content["regions"] and Regions(**content["regions"]),
                activations=[Spread(**s) for s in content["activations"]],
                gradients=[Spread(**s) for s in content["gradients"]],
                weights=[Weights(**w) for w in content["weights"]],
            )
        except (AttributeError, TypeError, KeyError, ValueError, zlib.error):
            return None


def diagnose(spec: Spec, dataset: Dataset, folds: Sequence[Preprocessing], point: Point, weights: bytes) -> Diagnostics:
    """Of a finished trial.

    Args:
        dataset: as it is prepared at the point.
        folds: what was done to its rows, for each fold.
        weights: of its nets, one after the other, float32.
    """
    net, theta = build_network(spec, dataset, point), np.frombuffer(weights, DTYPE).reshape(dataset.folds, -1)
    val, test, train = (dataset.part(part) for part in ("val", "test", "train"))
    with threadpool_limits(1), np.errstate(all="ignore"):  # one thread, as in training: two give other bits
        activations, gradients = _spreads(spec, net, theta[:1], train, point)
        return Diagnostics(
            val=None if val is None else _fit(dataset, *_each(dataset, net, theta, val)),
            test=None if test is None else _fit(dataset, *_together(dataset, net, theta, test)),
            regions=None if train is None else _regions(dataset, net, theta, folds, train),
            activations=activations,
            gradients=gradients,
            weights=list(_weights(net, theta[:1])),
        )


def _said(net: Network, theta: Floats, rows: Rows) -> Floats:
    """`(folds, rows, outputs)`: probabilities, or values as the network learns them."""
    return net.predict(theta, rows.x.reshape(rows.sets, len(rows), *net.inputs))


def _each(dataset: Dataset, net: Network, theta: Floats, rows: Rows) -> tuple[Floats, Floats]:
    """True and predicted `(rows of all folds, outputs)`, each fold's net by itself; values in their own units."""
    said, truth = _said(net, theta, rows), rows.y.reshape(dataset.folds, len(rows), -1)
    if not dataset.classes:
        center, unit = _units(dataset)
        said, truth = said * unit + center, truth * unit + center
    return truth.reshape(-1, truth.shape[-1]), said.reshape(-1, said.shape[-1])


def _together(dataset: Dataset, net: Network, theta: Floats, rows: Rows) -> tuple[Floats, Floats]:
    """True and predicted `(rows, outputs)`, the mean of what each fold's net says."""
    said, truth = _said(net, theta, rows), rows.of(0).y
    if not dataset.classes:
        center, unit = _units(dataset)
        said, truth = said * unit + center, truth * unit[0] + center[0]
    return truth, said.mean(axis=0, dtype=np.float64)


def _units(dataset: Dataset) -> tuple[Floats, Floats]:
    """What 0 and a difference of 1 are in the target's own units, `(folds, 1, 1)` each."""
    center, unit = (np.array(numbers)[:, None, None] for numbers in zip(*dataset.units, strict=True))
    return center, unit


def _fit(dataset: Dataset, truth: Floats, said: Floats) -> Fit:
    rows = len(truth)
    if dataset.classes:
        count = len(dataset.classes)
        if count > CLASSES:
            return Fit(rows)
        table = np.zeros((count, count), np.int64)
        np.add.at(table, (_classes(truth), _classes(said)), 1)
        return Fit(rows, confusion=table.tolist())
    truth, said = truth[:, 0].astype(np.float64), said[:, 0].astype(np.float64)
    finite = np.isfinite(said)
    truth, said = truth[finite], said[finite]
    counts, edges = np.histogram(said - truth, BINS) if len(said) else (np.zeros(1, np.int64), np.array([0.0, 1.0]))
    some = _evenly(len(truth), SHOWN)
    return Fit(rows, [], _short(truth[some]), _short(said[some]), counts.tolist(), _short(edges))


def _classes(outputs: Floats) -> npt.NDArray[np.intp]:
    """`(rows, outputs)`, one of two classes or a column a class → their numbers."""
    return (outputs[:, 0] > 0.5).astype(np.intp) if outputs.shape[1] == 1 else outputs.argmax(axis=1)


def _regions(
    dataset: Dataset, net: Network, theta: Floats, folds: Sequence[Preprocessing], train: Rows
) -> Regions | None:
    """Over the range of the training rows and a little beyond, in their own units."""
    first = folds[0] if folds else Preprocessing(None, None)
    names = list(first.numeric or first.features) or ["x", "y"]
    if net.inputs != (2,) or len(names) != 2:  # a column of names is no coordinate
        return None
    own = train.of(0)
    raw = (
        own.x.astype(np.float64) if first.input_scaler is None else first.input_scaler.invert(own.x.astype(np.float64))
    )
    low, high = raw.min(axis=0), raw.max(axis=0)
    room = np.where(high > low, MARGIN * (high - low), 0.5)
    lines = np.linspace(low - room, high + room, GRID)  # (grid, 2)
    grid = np.stack([side.ravel() for side in np.meshgrid(lines[:, 0], lines[:, 1])], axis=1)
    each = [
        (grid if fold.input_scaler is None else fold.input_scaler.apply(grid)).astype(DTYPE)
        for fold in folds or [first]
    ]
    stacked = Rows(np.concatenate(each), np.zeros((len(grid) * len(each), 1)), len(each))
    _, said = _together(dataset, net, theta, stacked)
    values = _classes(said) if dataset.classes else said[:, 0]
    winner = said.max(axis=1) if said.shape[1] > 1 else np.maximum(said[:, 0], 1 - said[:, 0])
    some = _evenly(len(own), DOTS)
    of_dots = _classes(own.y[some]) if dataset.classes else own.y[some, 0] * dataset.units[0][1] + dataset.units[0][0]
    return Regions(
        names=names,
        x=_short(lines[:, 0]),
        y=_short(lines[:, 1]),
        said=[_short(row) for row in values.reshape(GRID, GRID)],
        sure=[[round(float(v), 3) for v in row] for row in winner.reshape(GRID, GRID)] if dataset.classes else [],
        dots=[_short(row) for row in np.column_stack([raw[some], of_dots])],
    )


def _spreads(
    spec: Spec, net: Network, theta: Floats, train: Rows | None, point: Point
) -> tuple[list[Spread], list[Spread]]:
    """Activations and gradients of a batch of the rows that the first fold learned from."""
    if train is None:
        return [], []
    own = train.of(0)
    some = _evenly(len(own), BATCH)
    try:
        found = histograms(net, theta, Rows(own.x[some], own.y[some]), hyperparameters(spec.train, point), BINS)
    except EngineError:  # fewer rows than batch norm takes
        return [], []
    return [_spread(net, h) for h in found.activations], [_spread(net, h) for h in found.gradients]


def _spread(net: Network, h: Histogram) -> Spread:
    mean, deviation = (float(v) if math.isfinite(v) else 0.0 for v in (h.mean[0], h.deviation[0]))
    return Spread(_named(net, h.layer), h.counts[0].tolist(), _short(h.edges[0]), mean, deviation)


def _weights(net: Network, theta: Floats) -> Iterator[Weights]:
    if net.regularized.any():
        for w in weight_statistics(net, theta).layers:
            total = float(w.total[0])
            yield Weights(_named(net, w.layer), total, w.count, int(w.little[0]), int(w.zero[0]))


def _named(net: Network, layer: int) -> str:
    """`3 Dense → 10`: its number from 1, what it is, the shape that it puts out."""
    shape = "×".join(map(str, net.shapes[layer]))
    return f"{layer} {type(net.layers[layer - 1]).__name__} → {shape}"


def _evenly(count: int, most: int) -> npt.NDArray[np.intp]:
    """The places of at most so many of them, evenly taken, each once."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def _short(values: npt.NDArray[Any]) -> list[float]:
    """Six digits of what they differ by, which is more than a picture shows; nine of numbers that are all the same."""
    apart = float(np.ptp(values)) if len(values) else 0.0
    if not 0 < apart < math.inf:
        return [float(f"{float(v):.9g}") for v in values]
    digits = 6 - math.floor(math.log10(apart))
    return [round(float(v), digits) for v in values]
