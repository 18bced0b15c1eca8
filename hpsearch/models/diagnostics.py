"""Diagnostics of the champion, computed once when a study ends, so that a report needs only the database."""

import contextlib
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from engine.analysis.diagnostics import ZERO, Histogram, histograms, weight_statistics
from engine.analysis.units import count_units, gradient_sizes
from engine.data.rows import Rows
from engine.network import Network
from engine.types import EngineError, Floats
from hpsearch.config.instantiate import hyperparameters
from hpsearch.config.spec import Spec
from hpsearch.core.bounded import decode_mapping, unpack_stream
from hpsearch.core.space import Point
from hpsearch.data.checks.facts import RowFacts, row_facts
from hpsearch.data.dataset import Dataset
from hpsearch.data.preprocessing import DTYPE, Preprocessing
from hpsearch.data.sources.base import PART_NAMES, Part
from hpsearch.models.evidence import Evidence, LayerEvidence, PartError
from hpsearch.models.predictors.base import Predictor
from hpsearch.models.predictors.network import NetworkPredictor

MAX_CLASSES = 100  # of a confusion matrix
SCATTER_ROWS = 1000  # maximum number of rows in the scatter plot of predictions; the histogram has all of them
REGION_ROWS = 600  # maximum number of training rows drawn over decision regions
GRID_POINTS = 101  # along each side of the decision regions
GRID_MARGIN = 0.08  # on each side, as a fraction of the range of the training rows
BATCH_ROWS = 256  # maximum number of rows for histograms of activations and gradients
BINS = 40
SCORED_PARTS: tuple[Part, ...] = (*PART_NAMES, "train_dev")


class PartPredictions(NamedTuple):
    """Predictions of the rows of one part, val or test.

    Attributes:
        rows: number of rows.
        confusion: counts, `[true class][predicted class]`; empty for a regression or more than `MAX_CLASSES` classes.
        targets, predicted: of a regression, in the units of the target; at most `SCATTER_ROWS` rows, evenly spaced.
        residuals, edges: histogram of predicted − target over all rows.
    """

    rows: int
    confusion: list[list[int]] = []  # noqa: RUF012 (defaults are never changed)
    targets: list[float] = []  # noqa: RUF012
    predicted: list[float] = []  # noqa: RUF012
    residuals: list[int] = []  # noqa: RUF012
    edges: list[float] = []  # noqa: RUF012


class DecisionRegions(NamedTuple):
    """Predictions over a grid of two numeric features, in the units of the features.

    Attributes:
        features: names of the features of the x axis and the y axis.
        x, y: coordinates of the grid.
        predicted: `[y][x]`, index of the predicted class, or predicted value.
        probability: `[y][x]`, probability of the predicted class; empty for a regression.
        training_rows: `[x, y, class or value]` for each row; at most `REGION_ROWS`, evenly spaced.
    """

    features: list[str]
    x: list[float]
    y: list[float]
    predicted: list[list[float]]
    probability: list[list[float]]
    training_rows: list[list[float]]


class LayerHistogram(NamedTuple):
    """An `engine.analysis.diagnostics.Histogram` of one trial."""

    layer: str
    counts: list[int]
    edges: list[float]
    mean: float
    deviation: float


class LayerWeights(NamedTuple):
    """An `engine.analysis.diagnostics.LayerWeights` of one trial; `size` is its count."""

    layer: str
    total: float
    size: int
    little: int
    zero: int


class Diagnostics(NamedTuple):
    """Predictions of the champion and statistics of its layers; in a cross-validation, layers of the first fold.

    Attributes:
        val, test: None without such rows. In a cross-validation, each fold's network predicts the validation rows of
            its fold, and the mean of all networks predicts the test rows.
        regions: None unless the inputs are two numeric features.
        activations, gradients: for a batch of training rows; empty if the batch is too small for batch norm.
        evidence: what advice follows from; None in databases of earlier versions.
    """

    val: PartPredictions | None
    test: PartPredictions | None
    regions: DecisionRegions | None
    activations: list[LayerHistogram]
    gradients: list[LayerHistogram]
    weights: list[LayerWeights]
    evidence: Evidence | None = None

    def to_bytes(self) -> bytes:
        """Return compressed JSON, a few kB."""
        content: dict[str, Any] = {"weights": [w._asdict() for w in self.weights]}
        content |= {name: [h._asdict() for h in getattr(self, name)] for name in ("activations", "gradients")}
        content |= {name: part and part._asdict() for name, part in (("val", self.val), ("test", self.test))}
        content["regions"] = self.regions and self.regions._asdict()
        content["evidence"] = self.evidence and _as_mapping(self.evidence)
        return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 6)

    @classmethod
    def from_bytes(cls, data: bytes | None) -> Self | None:
        """Return the diagnostics from the output of `to_bytes`; None if `data` is None or cannot be read."""
        if data is None:
            return None
        from pydantic import TypeAdapter

        try:
            content = decode_mapping(unpack_stream(data))
            read: Self = TypeAdapter(cls).validate_python(content)
        except ValueError:
            return None
        return read if read._is_consistent() else None

    def _is_consistent(self) -> bool:
        """Return whether the lists that belong together have matching lengths."""
        parts = [part for part in (self.val, self.test) if part is not None]
        counts = [(part.residuals, part.edges) for part in parts if part.edges or part.residuals]
        counts += [(layer.counts, layer.edges) for layer in (*self.activations, *self.gradients)]
        tables = [part.confusion for part in parts if part.confusion]
        if (r := self.regions) is not None:
            grids = [r.predicted, *([r.probability] if r.probability else [])]
            if len(r.features) != 2 or not all(len(g) == len(r.y) > 0 for g in grids) or not r.x:
                return False
            if any(len(row) != len(r.x) for g in grids for row in g) or any(len(row) != 3 for row in r.training_rows):
                return False
        return (
            all(len(edges) == len(values) + 1 >= 2 for values, edges in counts)
            and all(len(part.targets) == len(part.predicted) for part in parts)
            and all(len(row) == len(table) for table in tables for row in table)
        )


def diagnose(
    spec: Spec, dataset: Dataset, folds: Sequence[Preprocessing], point: Point, predictor: Predictor
) -> Diagnostics:
    """Return the diagnostics of a finished trial.

    Args:
        dataset: the variant for the point.
        folds: the preprocessing of each fold.
        predictor: what the trial has trained; only networks have layers.
    """
    of_engine = predictor if isinstance(predictor, NetworkPredictor) else None
    val, test, train = (dataset.part(part) for part in ("val", "test", "train"))
    with (
        threadpool_limits(1),
        np.errstate(all="ignore"),
    ):  # one thread, as in training: more threads may change the last bits
        activations, gradients = ([], []) if of_engine is None else _layer_histograms(spec, of_engine, train, point)
        return Diagnostics(
            val=None if val is None else _part(dataset, *_by_fold(dataset, predictor, val)),
            test=None if test is None else _part(dataset, *_mean_of_folds(dataset, predictor, test)),
            regions=None if train is None else _regions(dataset, predictor, folds, train),
            activations=activations,
            gradients=gradients,
            weights=[] if of_engine is None else list(_weights(of_engine.network, of_engine.theta[:1])),
            evidence=_evidence(spec, dataset, predictor, folds, point),
        )


def _by_fold(dataset: Dataset, predictor: Predictor, rows: Rows) -> tuple[Floats, Floats]:
    """Return targets and predictions, `(rows of all folds, outputs)`, of each fold alone."""
    predicted, targets = predictor.part_outputs(rows), rows.y.reshape(dataset.folds, len(rows), -1)
    if not dataset.classes:
        center, unit = _units(dataset)
        predicted, targets = predicted * unit + center, targets * unit + center
    return targets.reshape(-1, targets.shape[-1]), predicted.reshape(-1, predicted.shape[-1])


def _mean_of_folds(dataset: Dataset, predictor: Predictor, rows: Rows) -> tuple[Floats, Floats]:
    """Return targets and predictions, `(rows, outputs)`, predicted by the mean of all folds."""
    predicted, targets = predictor.part_outputs(rows), rows.of(0).y
    if not dataset.classes:
        center, unit = _units(dataset)
        predicted, targets = predicted * unit + center, targets * unit[0] + center[0]
    return targets, predicted.mean(axis=0, dtype=np.float64)


def _units(dataset: Dataset) -> tuple[Floats, Floats]:
    """Return center and unit of the standardized targets, `(folds, 1, 1)` each."""
    center, unit = (np.array(values)[:, None, None] for values in zip(*dataset.units, strict=True))
    return center, unit


def _part(dataset: Dataset, targets: Floats, predicted: Floats) -> PartPredictions:
    """Return the summary of targets and predictions, `(rows, outputs)` each."""
    rows = len(targets)
    if dataset.classes:
        count = len(dataset.classes)
        if count > MAX_CLASSES:
            return PartPredictions(rows)
        table = np.zeros((count, count), np.int64)
        np.add.at(table, (_class_indices(targets), _class_indices(predicted)), 1)
        return PartPredictions(rows, confusion=table.tolist())
    y, p = targets[:, 0].astype(np.float64), predicted[:, 0].astype(np.float64)
    finite = np.isfinite(p)
    y, p = y[finite], p[finite]
    counts, edges = np.histogram(p - y, BINS) if len(p) else (np.zeros(1, np.int64), np.array([0.0, 1.0]))
    sample = _evenly_spaced(len(y), SCATTER_ROWS)
    return PartPredictions(rows, [], rounded(y[sample]), rounded(p[sample]), counts.tolist(), rounded(edges))


def _class_indices(outputs: Floats) -> npt.NDArray[np.intp]:
    """Return the class of each row from `(rows, outputs)`: one output for two classes, else one for each class."""
    return (outputs[:, 0] > 0.5).astype(np.intp) if outputs.shape[1] == 1 else outputs.argmax(axis=1)


def _regions(
    dataset: Dataset, predictor: Predictor, folds: Sequence[Preprocessing], train: Rows
) -> DecisionRegions | None:
    """Return the regions over the range of the training rows plus a margin; None without two numeric features."""
    first = folds[0] if folds else Preprocessing(None, None)
    names = list(first.numeric or first.features) or ["x", "y"]
    if predictor.inputs != (2,) or len(names) != 2:  # else a categorical column
        return None
    first_fold = train.of(0)
    raw: Floats = first_fold.x.astype(np.float64)
    raw = raw if first.input_scaler is None else first.input_scaler.invert(raw)
    low, high = raw.min(axis=0), raw.max(axis=0)
    margin = np.where(high > low, GRID_MARGIN * (high - low), 0.5)
    lines = np.linspace(low - margin, high + margin, GRID_POINTS)  # (points, 2)
    grid = np.stack([side.ravel() for side in np.meshgrid(lines[:, 0], lines[:, 1])], axis=1)
    scalers = [fold.input_scaler for fold in folds or [first]]
    scaled = [(grid if scaler is None else scaler.apply(grid)).astype(DTYPE) for scaler in scalers]
    rows = Rows(np.concatenate(scaled), np.zeros((len(grid) * len(scaled), 1)), len(scaled))
    _, outputs = _mean_of_folds(dataset, predictor, rows)
    values = _class_indices(outputs) if dataset.classes else outputs[:, 0]
    largest = outputs.max(axis=1) if outputs.shape[1] > 1 else np.maximum(outputs[:, 0], 1 - outputs[:, 0])
    probability = [[round(float(v), 3) for v in line] for line in largest.reshape(GRID_POINTS, GRID_POINTS)]
    sample = _evenly_spaced(len(first_fold), REGION_ROWS)
    center, unit = dataset.units[0]
    targets = _class_indices(first_fold.y[sample]) if dataset.classes else first_fold.y[sample, 0] * unit + center
    return DecisionRegions(
        features=names,
        x=rounded(lines[:, 0]),
        y=rounded(lines[:, 1]),
        predicted=[rounded(line) for line in values.reshape(GRID_POINTS, GRID_POINTS)],
        probability=probability if dataset.classes else [],
        training_rows=[rounded(row) for row in np.column_stack([raw[sample], targets])],
    )


def _layer_histograms(
    spec: Spec, predictor: NetworkPredictor, train: Rows | None, point: Point
) -> tuple[list[LayerHistogram], list[LayerHistogram]]:
    """Return histograms of activations and gradients for a batch of the training rows of the first fold."""
    if train is None:
        return [], []
    network, theta, first_fold = predictor.network, predictor.theta[:1], train.of(0)
    sample = _evenly_spaced(len(first_fold), BATCH_ROWS)
    batch = Rows(first_fold.x[sample], first_fold.y[sample])
    try:
        result = histograms(network, theta, batch, hyperparameters(spec.engine, point), BINS)
    except EngineError:  # fewer rows than batch norm needs
        return [], []
    return [_histogram(network, h) for h in result.activations], [_histogram(network, h) for h in result.gradients]


def _histogram(network: Network, h: Histogram) -> LayerHistogram:
    mean, deviation = (float(v) if math.isfinite(v) else 0.0 for v in (h.mean[0], h.deviation[0]))
    return LayerHistogram(_layer_name(network, h.layer), h.counts[0].tolist(), rounded(h.edges[0]), mean, deviation)


def _weights(network: Network, theta: Floats) -> Iterator[LayerWeights]:
    if network.regularized.any():
        for w in weight_statistics(network, theta).layers:
            yield LayerWeights(
                _layer_name(network, w.layer), float(w.total[0]), w.count, int(w.little[0]), int(w.zero[0])
            )


def _evidence(
    spec: Spec, dataset: Dataset, predictor: Predictor, folds: Sequence[Preprocessing], point: Point
) -> Evidence:
    """Return the evidence for advice: how errors were measured, units by layer, and what the rows say."""
    facts = row_facts(dataset, folds[0] if folds else None)
    rest: dict[str, Any] = {} if facts is None else {name: getattr(facts, name) for name in RowFacts._fields}
    if isinstance(predictor, NetworkPredictor):
        network, theta = predictor.network, predictor.theta[:1]
        numbers = np.abs(theta[0][network.regularized])
        rest["parameters"] = int(network.learned.sum())
        rest["zero"] = round(float((numbers <= ZERO).mean()), 6) if len(numbers) else 0.0
        rest["layers"] = _layer_evidence(spec, network, theta, dataset.part("train"), point)
    return Evidence(
        errors={part: found for part in SCORED_PARTS if (found := _part_error(dataset, predictor, part))},
        base_error=spec.source.base_error(),
        regression=not dataset.classes,
        **rest,
    )


def _part_error(dataset: Dataset, predictor: Predictor, part: Part) -> PartError | None:
    """Return the rows of a part, and for a regression the standard deviation of a row's share in 1 − R²."""
    rows = dataset.part(part)
    if rows is None:
        return None
    folds = dataset.folds
    count = folds * len(rows) if part == "val" else len(rows)
    if folds > 1 and part == "train":
        count += dict(dataset.rows)["val"]  # each row trains all networks but one
    if dataset.classes:
        return PartError(count, None)
    predicted = predictor.part_outputs(rows, by_row=False)[..., 0].astype(np.float64).reshape(-1)
    y = np.broadcast_to(rows.y.reshape(rows.sets, -1), (folds, len(rows))).astype(np.float64).reshape(-1)
    spread = float(np.square(y - y.mean()).mean())
    squares = np.square(predicted - y) / spread if spread > 0 else np.full(1, math.inf)
    deviation = float(squares.std())
    return PartError(count, float(f"{deviation:.6g}") if math.isfinite(deviation) else None)


def _layer_evidence(
    spec: Spec, network: Network, theta: Floats, train: Rows | None, point: Point
) -> list[LayerEvidence]:
    """Return the units and the gradient of each layer for a batch of training rows of the first fold."""
    if train is None:
        return []
    first_fold = train.of(0)
    sample = _evenly_spaced(len(first_fold), BATCH_ROWS)
    batch = Rows(first_fold.x[sample], first_fold.y[sample])
    layers = {c.layer: LayerEvidence(_layer_name(network, c.layer), *c[1:]) for c in count_units(network, theta, batch)}
    with contextlib.suppress(EngineError):  # fewer rows than batch norm needs
        for number, size in gradient_sizes(network, theta, batch, hyperparameters(spec.engine, point)):
            found = layers.get(number, LayerEvidence(_layer_name(network, number)))
            layers[number] = found._replace(gradient=float(f"{size:.4g}") if math.isfinite(size) else None)
    return [layers[number] for number in sorted(layers)]


def _as_mapping(evidence: Evidence) -> dict[str, Any]:
    """Return the evidence as JSON content."""
    content = evidence._asdict()
    content["errors"] = {part: error._asdict() for part, error in evidence.errors.items()}
    content |= {name: [item._asdict() for item in getattr(evidence, name)] for name in ("layers", "leaks", "repeats")}
    drift = [(item._asdict(), item.shifts) for item in evidence.drift]
    content["drift"] = [found | {"shifts": [shift._asdict() for shift in shifts]} for found, shifts in drift]
    return content


def _layer_name(network: Network, layer: int) -> str:
    """Return `3 Dense → 10`: number from 1, type, and output shape."""
    shape = "×".join(map(str, network.shapes[layer]))
    return f"{layer} {type(network.layers[layer - 1]).__name__} → {shape}"


def _evenly_spaced(count: int, most: int) -> npt.NDArray[np.intp]:
    """Return at most `most` distinct indices below `count`, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def rounded(values: npt.NDArray[Any]) -> list[float]:
    """Round to six digits relative to the range of the values, or to nine significant digits if all are equal."""
    spread = float(np.ptp(values)) if len(values) else 0.0
    if not 0 < spread < math.inf:
        return [float(f"{float(v):.9g}") for v in values]
    digits = 6 - math.floor(math.log10(spread))
    return [round(float(v), digits) for v in values]
