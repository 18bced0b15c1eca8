"""Residual: what layers make of x is added to x itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from engine.layers.base import Bound, Layer, Parameter, Place
from engine.layers.chain import Chain
from engine.types import EngineError, Floats, Shape


@final
@dataclass(frozen=True)
class Residual(Layer):
    """y = f(x) + s(x), f and s being chains of layers; without a `shortcut` s(x) = x. He et al. 2016, equation 1.

    Parameters are those of the layers, named "layers.0.W" and "shortcut.0.W".

    Raises:
        EngineError: no layers, or f and s that make rows of different shapes; the message names both.
    """

    layers: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise EngineError("residual: there must be at least one layer, got none")

    @property
    def least_rows(self) -> int:  # type: ignore[override]  # of its layers, where others have a constant
        return max(layer.least_rows for layer in (*self.layers, *self.shortcut))

    def outputs(self, inputs: Shape) -> Shape:
        made, added = (chain.shapes[-1] for chain in self._chains(inputs))
        if made != added:
            hint = "another shortcut" if self.shortcut else "a shortcut"
            raise EngineError(
                f"residual: layers and shortcut must make rows of one shape, got {made} and {added}; "
                f"give it {hint} that makes {made} of {inputs}"
            )
        return made

    def parameters(self, inputs: Shape) -> tuple[Parameter, ...]:
        return tuple(
            replace(s.parameter, name=f"{name}.{s.layer}.{s.parameter.name}")
            for name, chain in zip(("layers", "shortcut"), self._chains(inputs), strict=True)
            for s in chain.slices
        )

    def bind(self, place: Place) -> Bound:
        inner, around = self._chains(place.inputs)
        peers = [peer for peer in place.peers if isinstance(peer, Residual)]
        f = inner.bind(_part(place, 0, inner.size), [peer.layers for peer in peers])
        s = around.bind(_part(place, inner.size, inner.size + around.size), [peer.shortcut for peer in peers])
        forward_f, forward_s = _run([b.forward for b in f]), _run([b.forward for b in s])
        backward_f, backward_s = _run([b.backward for b in f[::-1]]), _run([b.backward for b in s[::-1]])
        y, first = place.empty(inner.shapes[-1]), place.first
        dy_again = place.empty(inner.shapes[-1]) if place.training else y
        dx = place.empty(place.inputs) if place.training and not first else y

        def forward(x: Floats) -> Floats:
            return np.add(forward_f(x), forward_s(x), y)

        def backward(dy: Floats) -> Floats:
            np.copyto(dy_again, dy)  # both sides may overwrite theirs
            made, added = backward_f(dy), backward_s(dy_again)
            return dx if first else np.add(made, added, dx)

        return Bound(forward, backward)

    def _chains(self, inputs: Shape) -> tuple[Chain, Chain]:
        """The layers and the shortcut, for rows that fit both."""
        chains = (Chain(inputs, self.layers), Chain(inputs, self.shortcut))
        for name, chain in zip(("layers", "shortcut"), chains, strict=True):
            try:
                _ = chain.shapes
            except EngineError as error:
                raise EngineError(f"residual: {name}: {error}") from None
        return chains


def _part(place: Place, start: int, stop: int) -> Place:
    """The place of a chain whose parameters are those columns."""
    columns = slice(start, stop)
    return replace(place, theta={}, grad={}, all_theta=place.all_theta[:, columns], all_grad=place.all_grad[:, columns])


def _run(functions: Sequence[Callable[[Floats], Floats]]) -> Callable[[Floats], Floats]:
    """One after another."""

    def run(x: Floats) -> Floats:
        for function in functions:
            x = function(x)
        return x

    return run
