"""A network: its layers, their shapes and parameters, and forward passes over one matrix of parameters."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import final

import numpy as np

from engine.data.rows import rows_adjacent
from engine.kernels.program import Program, Tensor
from engine.layers.base import Bound, Layer, NotCompiled, Place
from engine.layers.chain import Chain, Slice
from engine.layers.dropout import without_rates
from engine.losses import Loss
from engine.registry import Registry
from engine.types import Booleans, DType, EngineError, Floats, Shape

CHUNK, WIDEST = 1024, 1 << 19  # maximum rows of a chunk at inference, and maximum numbers of a chunk in a layer


@final
@dataclass(frozen=True)
class Network:
    """Layers over rows of shape `inputs`, `(features,)` or `(channels, height, width)`, and the loss after the last.

    Raises:
        EngineError: rows of one layer do not fit the next; the message names the layer and the shapes.
    """

    inputs: Shape
    layers: tuple[Layer, ...]
    loss: Loss

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise EngineError("a network must have at least one layer")
        if len(self.shapes[-1]) != 1:
            raise EngineError(f"the last layer must put out rows of (outputs,), got {self.shapes[-1]}")

    @cached_property
    def _chain(self) -> Chain:
        return Chain(self.inputs, self.layers)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of one row before each layer and after the last."""
        return self._chain.shapes

    @property
    def outputs(self) -> int:
        """Numbers in a row of logits."""
        return self.shapes[-1][0]

    @property
    def slices(self) -> tuple[Slice, ...]:
        """All parameters with their columns in theta."""
        return self._chain.slices

    @property
    def size(self) -> int:
        """Number of parameters of one trial, the columns of theta."""
        return self._chain.size

    @property
    def least_rows(self) -> int:
        """Smallest batch that the network can train on."""
        return max(layer.least_rows for layer in self.layers)

    @cached_property
    def work(self) -> int:
        """Approximate multiply-adds of a forward pass of one row; convolution weights count once per output pixel."""
        places = [prod(shape[1:]) for shape in self.shapes[1:]]
        return sum((s.stop - s.start) * places[s.layer] for s in self.slices)

    @cached_property
    def shape_key(self) -> "Network":
        """The network without dropout rates; trials with equal keys can train together."""
        return replace(self, layers=without_rates(self.layers))

    @cached_property
    def regularized(self) -> Booleans:
        """Mask of the regularized parameters, `(size,)`: weights, never biases."""
        mask = np.zeros(self.size, dtype=np.bool_)
        for s in self.slices:
            mask[s.start : s.stop] = s.parameter.regularized
        return mask

    @cached_property
    def learned(self) -> Booleans:
        """Mask of the learned parameters, `(size,)`: all except running statistics."""
        mask = np.zeros(self.size, dtype=np.bool_)
        for s in self.slices:
            mask[s.start : s.stop] = s.parameter.learned
        return mask

    def initialize(self, generator: np.random.Generator, dtype: DType) -> Floats:
        """Return the initial row of theta of one trial, `(size,)`, drawn with its generator."""
        row = np.empty(self.size, dtype)
        for s in self.slices:
            p = s.parameter
            row[s.start : s.stop] = p.initializer(generator, p.shape, p.fan_in, p.fan_out).ravel()
        return row

    def bind(
        self,
        theta: Floats,
        grad: Floats | None,
        rows: int,
        generators: Sequence[np.random.Generator] = (),
        peers: "Sequence[Network] | None" = None,
    ) -> list[Bound]:
        """Bind the layers to memory for a number of rows per trial.

        Args:
            theta: `(trials, size)`; the layers read views of it and see its changes.
            rows: number of rows per trial.
            grad: the same shape, written by `backward`; None for inference.
            generators: one per trial, for random draws in training.
            peers: the network of each trial, equal except for dropout rates; None if all are this one.
        """
        place = Place(
            inputs=self.inputs,
            trials=len(theta),
            rows=rows,
            dtype=theta.dtype,
            theta={},
            grad={},
            all_theta=theta,
            all_grad=theta if grad is None else grad,
            training=grad is not None,
            generators=generators,
            peers=(),
            first=True,
            overwrite=False,
        )
        return self._chain.bind(place, [n.layers for n in peers or [self] * len(theta)])

    def compile(self, program: Program) -> Tensor:
        """Append all layers to a program of the compiled kernel; return the logits.

        Raises:
            NotCompiled: the kernel does not have one of the layers.
        """
        if len(self.inputs) != 1:
            raise NotCompiled("images are trained by NumPy")
        return self._chain.compile(program, program.inputs)

    def forward(self, theta: Floats, x: Floats) -> Floats:
        """Return the logits at inference.

        Args:
            theta: `(trials, size)`.
            x: `(rows, *inputs)` for all trials, or `(sets, rows, *inputs)`, where trial t uses set t mod `sets`.

        Returns:
            `(trials, rows, outputs)`, computed a chunk of rows at a time.

        Raises:
            EngineError: the rows have another shape.
        """
        x, chunk = self._sets(theta, x), self._chunk
        logits = rows_adjacent((len(theta), x.shape[1], self.outputs), theta.dtype)
        bound: list[Bound] = []
        for start in range(0, x.shape[1], chunk):
            a = x[:, start : start + chunk].astype(theta.dtype, copy=False)
            if 1 < len(a) < len(theta):
                a = np.concatenate([a] * (len(theta) // len(a)))
            if not bound or a.shape[1] != chunk:
                bound = self.bind(theta, None, a.shape[1])
            with np.errstate(all="ignore"):  # a diverged trial's logits are not finite, which is a result
                for layer in bound:
                    a = layer.forward(a)
            logits[:, start : start + chunk] = a
        return logits

    def forward_by_row(self, theta: Floats, x: Floats) -> Floats:
        """Return logits like `forward`, except that each row is the same to the bit, whatever the other rows are.

        In a product of several rows, the last bits of a row depend on the number of rows and on its position: BLAS
        uses different code for remainder rows. Here each row is a separate batch: a chunk of rows is bound as so many
        trials of one row, which share their parameters.
        """
        x, chunk = self._sets(theta, x), self._chunk
        logits = np.empty((len(theta), x.shape[1], self.outputs), theta.dtype)
        for trial, parameters in enumerate(theta):
            rows = x[trial % len(x)]
            bound: list[Bound] = []
            for start in range(0, len(rows), chunk):
                a = np.ascontiguousarray(rows[start : start + chunk], theta.dtype)[:, None]  # (chunk, 1, *inputs)
                if not bound or len(a) != chunk:
                    bound = self.bind(np.broadcast_to(parameters, (len(a), self.size)), None, 1)
                with np.errstate(all="ignore"):
                    for layer in bound:
                        a = layer.forward(a)
                logits[trial, start : start + chunk] = a[:, 0]
        return logits

    def predict(self, theta: Floats, x: Floats) -> Floats:
        """Return probabilities, or values for a regression, `(trials, rows, outputs)`; like `forward_by_row`."""
        with np.errstate(all="ignore"):  # a sigmoid's e^−z may overflow to +inf, whose reciprocal is 0, as intended
            return self.loss.predict(self.forward_by_row(theta, x))

    @property
    def _chunk(self) -> int:
        """Number of rows of a chunk in a forward pass."""
        return min(CHUNK, max(16, WIDEST // max(map(prod, self.shapes))))

    def _sets(self, theta: Floats, x: Floats) -> Floats:
        """Check the shape of rows and return them as `(sets, rows, *inputs)`."""
        if x.ndim != len(self.inputs) + 2 or (len(x) and len(theta) % len(x)):
            x = x[None]
        if x.shape[2:] != self.inputs:
            raise EngineError(f"rows must be {self.inputs}, got {x.shape[2:]}")
        return x


NETWORKS: Registry[Network] = Registry("network", {"sequential": Network})
