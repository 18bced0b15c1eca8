"""The study file as it is used: frozen, every part checked by itself. `hpsearch.config.load` makes it from YAML."""

import re
from typing import Annotated, Any, Literal, Self, final

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    SerializeAsAny,
    Tag,
    model_validator,
)

from engine.metrics import METRICS
from hpsearch.core.schema import Listed, Name, Number, StrictModel
from hpsearch.core.space import Fixed, Range, Value, Values
from hpsearch.data.sources import Source
from hpsearch.samplers import SAMPLERS

Setting = Number | str  # a number, or the name of the parameter that gives it


@final
class Choice(StrictModel):
    """A name from a menu with its settings: `momentum`, or `{name: momentum, classical: true}`."""

    name: str
    settings: dict[str, JsonValue] = Field(default_factory=dict)

    @classmethod
    def of(cls, data: Any) -> Self:
        """A choice that stands among another one's settings.

        Raises:
            ValueError: it is neither a name nor a mapping with one.
        """
        return cls.model_validate(data)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"name": data}
        if isinstance(data, dict) and "settings" not in data:
            return {"name": data.get("name"), "settings": {k: v for k, v in data.items() if k != "name"}}
        return data


@final
class Hidden(StrictModel):
    """One hidden layer: `{units: hidden_units, activation: relu}`, or the units alone."""

    units: Setting
    activation: Choice = Choice(name="relu")
    initializer: Choice | None = Field(None, description="He for rectifiers, Xavier for the others, when not given")
    batch_norm: bool | str | None = Field(None, description="before (or true) or after the activation")
    dropout: Setting | None = Field(None, description="rate at which its outputs are left out in training")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"units": data} if isinstance(data, int | str) and not isinstance(data, bool) else data


@final
class Output(StrictModel):
    """The output layer, whose units follow from the data."""

    activation: Choice = Choice(name="identity")
    initializer: Choice | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"activation": data} if isinstance(data, str) else data


@final
class Model(StrictModel):
    """The network; the output layer and the loss follow from the data.

    Either hidden layers, of which there are `depth` (the last one repeated, those beyond left out), or all `layers`.
    """

    hidden: Annotated[tuple[Hidden, ...], Listed] = ()
    depth: Setting | None = Field(None, description="how many hidden layers; as many as are listed when not given")
    input_dropout: Setting | None = Field(None, description="rate at which inputs are left out in training")
    layers: Annotated[tuple[Choice, ...], Listed] | None = Field(None, description="every layer but the output layer")
    initializer: Choice | None = Field(None, description="of all layers that do not name one")
    output: Output = Output()

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        for name in ("hidden", "depth", "input_dropout"):
            if self.layers is not None and getattr(self, name) not in (None, ()):
                raise ValueError(f"layers names every layer, so {name} cannot stand beside it")
        if self.depth is not None and not self.hidden:
            raise ValueError("depth needs a hidden layer to repeat")
        return self


@final
class EarlyStopping(StrictModel):
    """Stops a trial after `patience` checks without an improvement of the metric by more than `min_delta`."""

    patience: Annotated[int, Field(ge=1)]
    min_delta: Annotated[float, Field(ge=0)] = 0.0


@final
class Stop(StrictModel):
    """Stops a trial whose metric has reached `value`, or changed by less than `change` in `checks` checks in a row."""

    value: Number | None = None
    change: Annotated[float, Field(gt=0)] | None = None
    checks: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.value is None and self.change is None:
            raise ValueError("give it a value to reach or a change to fall below")
        if self.change is None and self.checks != 1:
            raise ValueError("checks are counted for a change; give one, or leave checks out")
        return self


@final
class Switch(StrictModel):
    """Another optimizer from an epoch on: `{epoch: 20, optimizer: sgd, learning_rate: 0.01}`."""

    epoch: Setting
    optimizer: Choice
    learning_rate: Setting | None = None


@final
class Train(StrictModel):
    """How a trial trains. What is not given is the parameter of the same name, else a default."""

    optimizer: Choice = Choice(name="momentum")
    switch: Switch | None = None
    schedule: Choice = Choice(name="constant")
    learning_rate: Setting | None = None
    batch_size: Setting | None = Field(None, description="or full")
    l2: Setting | None = None
    l1: Setting | None = None
    penalty_divisor: Literal["none", "batch_size"] = Field(
        "none", description="batch_size divides l1 and l2 by the rows of the batch"
    )
    clip: Choice | None = None
    label_smoothing: Setting | None = None
    augment: Annotated[tuple[Choice, ...], Listed] = ()
    row_sampling: Choice = Choice(name="shuffle")
    epochs: Annotated[int, Field(ge=1)] = 50
    check_every: Annotated[int, Field(ge=1)] = Field(1, description="epochs between two checks of the scores")
    early_stopping: EarlyStopping | None = None
    stop: Stop | None = None
    keep: Literal["best", "last"] = Field("best", description="which epoch's weights and scores are the trial's")

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.epochs % self.check_every:
            raise ValueError(f"epochs must be a multiple of check_every, got {self.epochs} and {self.check_every}")
        return self


MetricName = Literal[
    "val/loss",
    "val/accuracy",
    "val/balanced_accuracy",
    "val/f1",
    "val/roc_auc",
    "val/log_loss",
    "val/r2",
    "val/rmse",
    "val/mae",
    "train/loss",
    "train/accuracy",
    "train/r2",
    "epochs",
]


@final
class Metric(StrictModel):
    """What is searched for, and what early stopping watches: its best over the epochs of a trial.

    What is better by no more than early stopping's `min_delta` does not count as better. `epochs` is how many a trial
    took to reach `train.stop.value`; one that did not counts one check more than there are. In a cross-validation it is
    the mean over the folds, at an epoch that is one for all.
    """

    name: MetricName = "val/loss"
    goal: Literal["minimize", "maximize"] | None = Field(None, description="minimize a loss, maximize an accuracy")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.goal and (self.goal == "minimize") == (self.sign < 0):
            raise ValueError(f"goal: one does not {self.goal} {self.name}; leave goal out, or write the other one")
        return self

    @property
    def of(self) -> str:
        """What is measured: `roc_auc` of `val/roc_auc`."""
        return str(self.name).rpartition("/")[2]

    @property
    def sign(self) -> int:
        """+1 where lower is better, −1 where higher is."""
        return METRICS[self.of].sign if self.of in METRICS else 1

    @property
    def watched(self) -> str:
        """The curve that stopping and the choice of the best epoch go by."""
        return "val/loss" if self.name == "epochs" else str(self.name)


@final
class Pruning(StrictModel):
    """Ends trials that are behind the others before their last epoch; judged at rungs of epochs, a whole wave at once.

    At a rung `successive_halving` lets one of `reduction` go on, and the next rung is `reduction` times as far;
    `hyperband` does so in brackets that begin at different rungs; `median` lets go on who is not behind the median,
    every `min_epochs`.
    """

    kind: Literal["none", "successive_halving", "hyperband", "median"] = "none"
    min_epochs: Annotated[int, Field(ge=1)] | None = Field(
        None, description="the first rung; a 27th of the epochs when halving by 3, a tenth for median, when not given"
    )
    reduction: Annotated[int, Field(ge=2, le=100)] | None = Field(None, description="3 when not given; not for median")
    n_startup_trials: Annotated[int, Field(ge=1)] | None = Field(
        None, description="trials that must have come to a rung before median ends one; 4 when not given"
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"kind": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _meant(self) -> Self:
        where = {
            "min_epochs": ("successive_halving", "hyperband", "median"),
            "reduction": ("successive_halving", "hyperband"),
            "n_startup_trials": ("median",),
        }
        for name, kinds in where.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} is for {' and '.join(kinds)}, not for {self.kind}")
        return self


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+", re.ASCII)


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if len(value) > 50 or not _TIME.fullmatch(value):
        raise ValueError(f"must be a time such as 90s, 20m or 1h30m, got {value!r}")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([smhd])", value))


@final
class Zoom(StrictModel):
    """The box of the best `keep_top` of the trials, and on each side `margin` of the width that was."""

    keep_top: Annotated[float, Field(gt=0, le=1)] = 0.2
    margin: Annotated[float, Field(ge=0, le=1)] = 0.1


@final
class Stage(StrictModel):
    """A part of the search with a box and a sampler of its own. `trials` is its total, over all restarts.

    It begins with the `points` that are given, each trained `seeds` times; what they leave open is sampled. A stage
    with `top` confirms: it trains the best so many points of all stages before it again, each with the same new seeds.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=50)]
    trials: Annotated[int, Field(ge=1)] = Field(description="as many as there are points times seeds when not given")
    points: Annotated[tuple[dict[str, Value], ...], Listed] = ()
    seeds: Annotated[int, Field(ge=1)] = 1
    sampler: Literal[tuple(SAMPLERS)] = "random"  # type: ignore[valid-type]
    zoom: Zoom | None = None
    pruning: Pruning | None = Field(None, description="in place of the study's")
    timeout: Annotated[float, BeforeValidator(_seconds), Field(gt=0)] | None = Field(
        None, description="such as 20m: no new wave is begun after so much time, over all restarts"
    )
    top: Annotated[int, Field(ge=1)] | None = None

    @property
    def confirms(self) -> bool:
        """Whether it trains points of earlier stages again."""
        return self.top is not None

    @property
    def how(self) -> str:
        """Where its points come from, in a word or two."""
        return f"top {self.top} × {self.seeds} seeds" if self.confirms else str(self.sampler)

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.top is not None:
            for name in ("points", "zoom", "pruning", "timeout"):
                if getattr(self, name) not in (None, ()):
                    raise ValueError(f"top and seeds say what is trained, so {name} cannot stand beside them")
            if self.seeds < 2:
                raise ValueError("confirming needs at least 2 seeds, to tell luck from skill")
            if self.trials != self.top * self.seeds:
                raise ValueError(f"trials follow from top times seeds, {self.top} times {self.seeds}; leave them out")
        if self.trials < len(self.points) * self.seeds:
            raise ValueError(f"trials must be at least points times seeds, {len(self.points)} times {self.seeds}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, data: Any) -> Any:
        """Points and seeds say how many trials there are, or top and seeds."""
        if not isinstance(data, dict) or "trials" in data or not data.keys() & {"points", "seeds", "top"}:
            return data
        if "top" in data:
            top, seeds = data["top"], data.get("seeds", 1)
            sound = all(isinstance(n, int) and n > 0 for n in (top, seeds))
            return data | {"trials": top * seeds if sound else 1}
        points, seeds = data.get("points", [{}]), data.get("seeds", 1)
        if not isinstance(points, list | tuple) or not isinstance(seeds, int):
            return data | {"trials": 1}  # which is not what is wrong
        return data | {"trials": max(1, len(points)) * max(1, seeds)}


def _kind(value: Any) -> str:
    if isinstance(value, Fixed) or not isinstance(value, dict | Range | Values) or "value" in value:
        return "<fixed>"
    return "<values>" if isinstance(value, Values) or "values" in value else "<range>"


AnyParameter = Annotated[
    Annotated[Range, Tag("<range>")]
    | Annotated[Values, Tag("<values>")]
    | Annotated[Fixed, BeforeValidator(lambda v: v if isinstance(v, dict | Fixed) else {"value": v}), Tag("<fixed>")],
    Discriminator(_kind),
]


@final
class Spec(StrictModel):
    """A whole study file."""

    name: Name
    seed: Annotated[int, Field(ge=0)] = 0
    data: SerializeAsAny[Source]
    model: Model = Model()
    train: Train = Train()
    metric: Metric = Metric()
    parameters: dict[str, AnyParameter]
    stages: Annotated[tuple[Stage, ...], Listed, Field(min_length=1)]
    pruning: Pruning = Pruning()
    duplicates: Literal["new_seed", "reuse"] = Field(
        "new_seed", description="a point proposed again is trained with one more seed, or has the outcome it had"
    )
    max_failed: Annotated[int, Field(ge=0)] | None = Field(None, description="more failed trials end the study")
    wave: Annotated[int, Field(ge=1)] = 16
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
