"""Residual block: the output of layers is added to their input."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from engine.kernels.program import Program, Tensor
from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.chain import Chain
from engine.types import EngineError, Floats, Shape


@final
@dataclass(frozen=True)
class Residual(Layer):
    """y = f(x) + s(x), where f and s are chains of layers; without a `shortcut`, s(x) = x. He et al. 2016, equation 1.

    Parameters are those of the layers, with names such as "layers.0.W" and "shortcut.0.W".

    Raises:
        EngineError: no layers, or different output shapes of f and s; the message has both shapes.
    """

    layers: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise EngineError("residual: layers must have at least one layer, got none")

    @property
    def least_rows(self) -> int:  # type: ignore[override]  # depends on its layers; constant in other classes
        return max(layer.least_rows for layer in (*self.layers, *self.shortcut))

    def outputs(self, inputs: Shape) -> Shape:
        f_outputs, s_outputs = (chain.shapes[-1] for chain in self._chains(inputs))
        if f_outputs != s_outputs:
            hint = "another shortcut" if self.shortcut else "a shortcut"
            raise EngineError(
                f"residual: layers and shortcut must have the same output shape, got {f_outputs} and {s_outputs}; "
                f"set {hint} from {inputs} to {f_outputs}"
            )
        return f_outputs

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return tuple(
            replace(s.parameter, name=f"{name}.{s.layer}.{s.parameter.name}")
            for name, chain in zip(("layers", "shortcut"), self._chains(inputs), strict=True)
            for s in chain.slices
        )

    def bind(self, place: Place) -> Bound:
        inner, shortcut = self._chains(place.inputs)
        peers = [peer for peer in place.peers if isinstance(peer, Residual)]
        f = inner.bind(_part(place, 0, inner.size), [peer.layers for peer in peers])
        s = shortcut.bind(_part(place, inner.size, inner.size + shortcut.size), [peer.shortcut for peer in peers])
        forward_f, forward_s = _composed([b.forward for b in f]), _composed([b.forward for b in s])
        backward_f, backward_s = _composed([b.backward for b in f[::-1]]), _composed([b.backward for b in s[::-1]])
        y, first = place.empty(inner.shapes[-1]), place.first
        dy_copy = place.empty(inner.shapes[-1]) if place.training else y
        dx = place.empty(place.inputs) if place.training and not first else y

        def forward(x: Floats) -> Floats:
            return np.add(forward_f(x), forward_s(x), y)

        def backward(dy: Floats) -> Floats:
            np.copyto(dy_copy, dy)  # both chains may overwrite their dy
            dx_f, dx_s = backward_f(dy), backward_s(dy_copy)
            return dx if first else np.add(dx_f, dx_s, dx)

        return Bound(forward, backward)

    def compile(self, program: Program, x: Tensor) -> Tensor:
        f, s = self._chains((x.width,))
        left, right = program.fork(x)
        return program.add(f.compile(program, left), s.compile(program, right))

    def _chains(self, inputs: Shape) -> tuple[Chain, Chain]:
        """Return the chains of the layers and of the shortcut, with valid shapes."""
        chains = (Chain(inputs, self.layers), Chain(inputs, self.shortcut))
        for name, chain in zip(("layers", "shortcut"), chains, strict=True):
            try:
                _ = chain.shapes
            except EngineError as error:
                raise EngineError(f"residual: {name}: {error}") from None
        return chains


def _part(place: Place, start: int, stop: int) -> Place:
    """Return the place of a chain with a range of the parameter columns."""
    columns = slice(start, stop)
    return replace(place, theta={}, grad={}, all_theta=place.all_theta[:, columns], all_grad=place.all_grad[:, columns])


def _composed(functions: Sequence[Callable[[Floats], Floats]]) -> Callable[[Floats], Floats]:
    """Return the composition of functions, the first one applied first."""

    def run(x: Floats) -> Floats:
        for function in functions:
            x = function(x)
        return x

    return run
