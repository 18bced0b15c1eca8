"""Data made by formula: nothing to download, as many rows as wanted, and the truth is known."""

from collections.abc import Callable
from typing import Annotated, Literal, Self, final

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from engine.types import Floats
from hpsearch.data.sources.base import Part, Source, Split, Table

Name = Literal["curve", "arc", "bank", "overfit", "spirals", "circles", "moons", "xor"]
Labels = npt.NDArray[np.int64]

ROWS: dict[Name, int] = {"curve": 1000, "arc": 400, "bank": 1000, "overfit": 25}  # to train; the others: 1000 in all
NOISE: dict[Name, float] = {"spirals": 0.02, "circles": 0.1, "moons": 0.1, "xor": 0.0}
VAL_OF_TRAIN = Split(train=0.9, val=0.1, test=0.0)


@final
class FormulaSource(Source):
    """`{source: formula, name: curve, seed: 0, rows: 1000}`.

    `curve`, `arc`, `bank` and `overfit` are the experiments of the tuning texts. They bring their own test rows, which
    `rows` leaves as they are; 10 % of the others are for val, or, in `overfit`, the test rows once more. `spirals`,
    `circles`, `moons` and `xor` are the usual ones.
    """

    source: Literal["formula"] = Field("formula", description="Source.")
    name: Name = Field(description="Data set.")
    seed: Annotated[int, Field(ge=0, description="Seed of the data; that of the study draws the split.")] = 0
    rows: Annotated[int, Field(ge=2)] | None = Field(
        None, description="Rows, those of the experiments without test rows. Default: arc 400, overfit 25, others 1000."
    )
    noise: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Standard deviation of the noise. Default: spirals 0.02, circles and moons 0.1, xor 0."
    )

    @model_validator(mode="after")
    def _own_noise(self) -> Self:
        if self.noise is not None and self.name not in NOISE:
            raise ValueError(f"noise: that of {self.name} is part of its formula; leave noise out")
        return self

    def load(self) -> Table:
        generator = np.random.default_rng(self.seed)
        rows = self.rows or ROWS.get(self.name, 1000)
        if self.name in EXPERIMENTS:
            return EXPERIMENTS[self.name](generator, rows)
        x, y = CLOUDS[self.name](generator, rows)
        noise = NOISE[self.name] if self.noise is None else self.noise
        return _classes(x + generator.normal(0, noise, x.shape) if noise else x, y, 2)


def _curve(generator: np.random.Generator, rows: int) -> Table:
    """y = 0.4x² + 0.3x·sin 15x + 0.01·cos 50x − 0.3, x in [0, 1]; to train + U(−.05, .05), 200 test rows without."""

    def formula(x: Floats) -> Floats:
        return np.asarray(0.4 * x**2 + 0.3 * x * np.sin(15 * x) + 0.01 * np.cos(50 * x) - 0.3)

    train, test = generator.uniform(0, 1, rows), np.linspace(0, 1, 200)
    y = np.concatenate([formula(train) + generator.uniform(-0.05, 0.05, rows), formula(test)])
    x = np.concatenate([train, test])[:, None]
    return Table(x, y, ("x",), (), {"test": np.arange(rows, rows + 200)}, VAL_OF_TRAIN)


def _overfit(generator: np.random.Generator, rows: int) -> Table:
    """y = 4 sin x/π + 4 sin 5x/(5π) over [0, 2π]; 100 test rows without the second sine, which are val as well."""
    train, test = np.linspace(0, 2 * np.pi, rows), np.linspace(0, 2 * np.pi, 100)
    y = np.concatenate([4 * np.sin(train) / np.pi + 4 * np.sin(5 * train) / (5 * np.pi), 4 * np.sin(test) / np.pi])
    others = np.arange(rows, rows + 100)
    parts: dict[Part, npt.NDArray[np.intp]] = {"train": np.arange(rows), "val": others, "test": others}
    return Table(np.concatenate([train, test])[:, None], y, ("x",), (), parts)


def _arc(generator: np.random.Generator, rows: int) -> Table:
    """Two parallel arcs of a sine, 0.65 apart, each U(−.125, .125) wide; 50 test rows a class."""
    points, labels = [], []
    for count, label in ((rows - rows // 2, 0), (rows // 2, 1), (50, 0), (50, 1)):
        x = np.linspace(0, 3.14, count)
        y = np.sin(x) + generator.uniform(-0.125, 0.125, count) + 0.65 * label
        points.append(np.column_stack([x, y]))
        labels.append(np.full(count, label))
    return _classes(
        np.concatenate(points), np.concatenate(labels), 2, {"test": np.arange(rows, rows + 100)}, VAL_OF_TRAIN
    )


def _bank(generator: np.random.Generator, rows: int) -> Table:
    """Points of the square U(−.5, .5)²: 0 in an inner square, 1 in a disc about it, 2 in the corners; 500 test rows."""
    x = generator.uniform(-0.5, 0.5, (rows + 500, 2))
    square = (np.abs(x) < 0.2).all(axis=1)
    disc = np.hypot(*x.T) < 0.45
    y = np.where(square, 0, np.where(disc, 1, 2))
    return _classes(x, y, 3, {"test": np.arange(rows, rows + 500)}, VAL_OF_TRAIN)


def _spirals(generator: np.random.Generator, rows: int) -> tuple[Floats, Labels]:
    """Two arms from the center to radius 1 in 1¾ turns, half a turn apart."""
    y = _halves(rows)
    along = np.concatenate([np.linspace(0, 1, count + 1)[1:] for count in np.bincount(y)])
    angle = 1.75 * 2 * np.pi * along + np.pi * y
    return np.column_stack([along * np.sin(angle), along * np.cos(angle)]), y


def _circles(generator: np.random.Generator, rows: int) -> tuple[Floats, Labels]:
    """A circle of radius 1 about one of radius ½."""
    y = _halves(rows)
    angle = np.concatenate([np.linspace(0, 2 * np.pi, count, endpoint=False) for count in np.bincount(y)])
    return np.column_stack([np.cos(angle), np.sin(angle)]) * np.where(y, 0.5, 1.0)[:, None], y


def _moons(generator: np.random.Generator, rows: int) -> tuple[Floats, Labels]:
    """Two half circles, each reaching into the other."""
    y = _halves(rows)
    angle = np.concatenate([np.linspace(0, np.pi, count) for count in np.bincount(y)])
    outer, inner = (np.cos(angle), np.sin(angle)), (1 - np.cos(angle), 0.5 - np.sin(angle))
    return np.where(y[:, None], np.column_stack(inner), np.column_stack(outer)), y


def _xor(generator: np.random.Generator, rows: int) -> tuple[Floats, Labels]:
    """Points of the square U(−1, 1)²: 1 where the signs differ."""
    x = generator.uniform(-1, 1, (rows, 2))
    return x, np.asarray((x[:, 0] < 0) != (x[:, 1] < 0), np.int64)


def _halves(rows: int) -> Labels:
    return np.repeat(np.array([0, 1], np.int64), [rows // 2, rows - rows // 2])


def _classes(
    x: Floats,
    y: npt.NDArray[np.integer],
    classes: int,
    parts: dict[Part, npt.NDArray[np.intp]] | None = None,
    split: Split | None = None,
) -> Table:
    names = tuple(str(k) for k in range(classes))
    return Table(x, y.astype(np.int64), ("x", "y"), names, parts or {}, split)


EXPERIMENTS: dict[Name, Callable[[np.random.Generator, int], Table]] = {
    "curve": _curve,
    "arc": _arc,
    "bank": _bank,
    "overfit": _overfit,
}
CLOUDS: dict[Name, Callable[[np.random.Generator, int], tuple[Floats, Labels]]] = {
    "spirals": _spirals,
    "circles": _circles,
    "moons": _moons,
    "xor": _xor,
}
