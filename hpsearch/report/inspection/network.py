"""The network of a study before training: layers, gradient check, first loss, signals by layer, one-batch overfit."""

import math
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from engine.analysis.diagnostics import Histogram, histograms
from engine.analysis.gradcheck import GradientCheck, check_gradient
from engine.analysis.overfit import OverfitTest, constant_loss, overfit_test
from engine.analysis.units import UnitCounts, count_units, gradient_sizes
from engine.data.rows import Rows
from engine.network import Network
from engine.training.hyperparameters import Hyperparameters
from engine.training.trainer import evaluate
from engine.types import EngineError, Floats
from hpsearch.config.instantiate import hyperparameters
from hpsearch.config.references import preprocessing_values
from hpsearch.config.spec import Spec
from hpsearch.core.files.temporary import private_folder
from hpsearch.core.seeds import derive
from hpsearch.core.space import Point
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.data.preprocessing import DTYPE
from hpsearch.errors import DataError
from hpsearch.search.checks.lr_range import center_point, check_engine
from hpsearch.training.network import build_network, check_fit

SIGNAL_ROWS, CHECK_ROWS, OVERFIT_ROWS = 256, 8, 32
OVERFIT_STEPS = 2000  # for each learning rate
CHECKED, LEAST_CHECKED = 2000, 200  # most and least parameters of a gradient check
CHECK_WORK = 5e9  # multiply-adds of a gradient check
SIGNAL_BINS = 30


class LayerInspection(NamedTuple):
    """One layer at the first weights.

    Attributes:
        number: from 1.
        kind: its type: `Dense`.
        shape: of its outputs.
        parameters: number of its learned parameters.
        activations: histogram of its outputs for a batch of training rows; None if the batch is too small.
        gradient: root mean square of dL/dparameters; None without parameters.
        units: counts of dead, saturated and identical units of a hidden activation, else None.
    """

    number: int
    kind: str
    shape: tuple[int, ...]
    parameters: int
    activations: Histogram | None
    gradient: float | None
    units: UnitCounts | None


class NetworkInspection(NamedTuple):
    """The network of a study at its first weights.

    Attributes:
        point: where in the space: the center.
        inputs: shape of a row.
        rows: number of training rows.
        layers: its layers.
        parameters: number of learned parameters.
        work: multiply-adds of a forward pass of a row.
        check: gradient check of this network, its loss and its penalties, in float64.
        checked: number of parameters that were checked.
        first_loss: loss of a batch of training rows at the first weights.
        chance: loss of the best constant prediction of these rows.
        overfit: the one-batch overfit test.
    """

    point: Point
    inputs: tuple[int, ...]
    rows: int
    layers: list[LayerInspection]
    parameters: int
    work: int
    check: GradientCheck
    checked: int
    first_loss: float
    chance: float
    overfit: OverfitTest


def inspect_network(spec: Spec) -> NetworkInspection:
    """Inspect the network at the center of a study's space, before any training.

    Raises:
        DataError: the data cannot be read, or the model does not fit them.
        SpecError: other code than the engine trains the study.
    """
    check_engine(spec, "inspect")
    with private_folder() as folder:
        dataset, _ = prepare(spec.source, spec.seed, folder, preprocessing_values(spec))
        check_fit(spec, dataset)
        return inspect_prepared(spec, dataset)


def inspect_prepared(spec: Spec, dataset: Dataset) -> NetworkInspection:
    """Inspect the network at the center of a study's space on prepared rows; see `inspect_network`."""
    point = center_point(spec)
    dataset = dataset.at(point)
    rows = dataset.part("train")
    if rows is None:
        raise DataError("data.split: there are no training rows")
    first = rows.of(0)
    trial, seed = hyperparameters(spec.engine, point), derive(spec.seed, "inspect") % (1 << 32)
    network = build_network(spec, dataset, point)
    theta = network.initialize(np.random.default_rng(seed), DTYPE)[None]
    batch = _sample(first, SIGNAL_ROWS)
    with threadpool_limits(1), np.errstate(all="ignore"):
        try:
            few = _sample(first, max(OVERFIT_ROWS, network.least_rows))
            checked = _checked(network)
            check = _check(network, theta, first, trial, checked)
            overfit = overfit_test(network, trial, few, seed, OVERFIT_STEPS)
        except EngineError as error:
            raise DataError(f"the network cannot be inspected: {error}") from None
        return NetworkInspection(
            point=point,
            inputs=network.inputs,
            rows=len(first),
            layers=_layers(network, theta, batch, trial),
            parameters=int(network.learned.sum()),
            work=network.work,
            check=check,
            checked=checked,
            first_loss=float(evaluate(network, theta, batch).loss[0]),
            chance=constant_loss(batch, network.outputs, classes=network.loss.classifies),
            overfit=overfit,
        )


def _sample(rows: Rows, count: int) -> Rows:
    """Return at most `count` rows, evenly spaced."""
    picked = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), count)).round().astype(np.intp))
    return Rows(rows.x[picked], rows.y[picked])


def _checked(network: Network) -> int:
    """Return the number of parameters to check, fewer in a network whose passes take long."""
    most = round(CHECK_WORK / (2 * CHECK_ROWS * max(1, network.work)))
    return min(max(LEAST_CHECKED, min(CHECKED, most)), int(network.learned.sum()))


def _check(network: Network, theta: Floats, rows: Rows, trial: Hyperparameters, most: int) -> GradientCheck:
    few = _sample(rows, max(CHECK_ROWS, network.least_rows))
    exact = Rows(few.x.astype(np.float64), few.y.astype(np.float64))
    return check_gradient(network, theta.astype(np.float64), exact, trial, most=most)


def _layers(network: Network, theta: Floats, batch: Rows, trial: Hyperparameters) -> list[LayerInspection]:
    activations: dict[int, Histogram] = {}
    gradients: dict[int, float] = {}
    if len(batch) >= network.least_rows:
        activations = {h.layer: h for h in histograms(network, theta, batch, trial, SIGNAL_BINS).activations}
        gradients = {n: size for n, size in gradient_sizes(network, theta, batch, trial) if math.isfinite(size)}
    units = {counts.layer: counts for counts in count_units(network, theta, batch)}
    sizes = [0] * len(network.layers)
    for s in network.slices:
        sizes[s.layer] += (s.stop - s.start) * s.parameter.learned
    return [
        LayerInspection(
            number=number,
            kind=type(layer).__name__,
            shape=network.shapes[number],
            parameters=sizes[number - 1],
            activations=activations.get(number),
            gradient=gradients.get(number),
            units=units.get(number),
        )
        for number, layer in enumerate(network.layers, 1)
    ]
