"""The study file as it is used: frozen, every part checked by itself. `hpsearch.checking` makes it from YAML."""

from typing import Annotated, Any, Literal, Self, final

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    SerializeAsAny,
    Tag,
    model_validator,
)

from hpsearch.samplers import SAMPLERS
from hpsearch.section import Listed, Name, Number, Section
from hpsearch.sources import Source
from hpsearch.space import Fixed, Point, Range, Value, Values

Setting = Number | str  # a number, or the name of the parameter that gives it


@final
class Choice(Section):
    """A name from a menu with its settings: `momentum`, or `{name: momentum, classical: true}`."""

    name: str
    settings: dict[str, bool | Number | str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"name": data}
        if isinstance(data, dict) and "settings" not in data:
            return {"name": data.get("name"), "settings": {k: v for k, v in data.items() if k != "name"}}
        return data


@final
class Hidden(Section):
    """One hidden layer: `{units: hidden_units, activation: relu}`, or the units alone."""

    units: Setting
    activation: Choice = Choice(name="relu")
    initializer: Choice | None = Field(None, description="He for rectifiers, Xavier for the others, when not given")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"units": data} if isinstance(data, int | str) and not isinstance(data, bool) else data


@final
class Model(Section):
    """The network; the output layer and the loss follow from the data."""

    hidden: Annotated[tuple[Hidden, ...], Listed] = ()


@final
class EarlyStopping(Section):
    """Stops a trial after `patience` epochs without an improvement of the metric by more than `min_delta`."""

    patience: Annotated[int, Field(ge=1)]
    min_delta: Annotated[float, Field(ge=0)] = 0.0


@final
class Train(Section):
    """How a trial trains. What is not given is the parameter of the same name, else a default."""

    optimizer: Choice = Choice(name="momentum")
    schedule: Choice = Choice(name="constant")
    learning_rate: Setting | None = None
    batch_size: Setting | None = None
    l2: Setting | None = None
    epochs: Annotated[int, Field(ge=1)] = 50
    early_stopping: EarlyStopping | None = None


MetricName = Literal["val/loss", "val/accuracy", "train/loss", "train/accuracy"]


@final
class Metric(Section):
    """What is searched for, and what early stopping watches: its best over the epochs of a trial.

    What is better by no more than early stopping's `min_delta` does not count as better.
    """

    name: MetricName = "val/loss"
    goal: Literal["minimize", "maximize"] | None = Field(None, description="minimize a loss, maximize an accuracy")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.goal and (self.goal == "minimize") != self.name.endswith("loss"):
            raise ValueError(f"goal: one does not {self.goal} {self.name}; leave goal out, or write the other one")
        return self

    @property
    def sign(self) -> int:
        """+1 where lower is better, −1 where higher is."""
        goal = self.goal or ("minimize" if self.name.endswith("loss") else "maximize")
        return 1 if goal == "minimize" else -1


@final
class Zoom(Section):
    """The box of the best `keep_top` of the trials, and on each side `margin` of the width that was."""

    keep_top: Annotated[float, Field(gt=0, le=1)] = 0.2
    margin: Annotated[float, Field(ge=0, le=1)] = 0.1


@final
class Stage(Section):
    """A part of the search with a box and a sampler of its own. `trials` is its total, over all restarts."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=50)]
    trials: Annotated[int, Field(ge=1)]
    sampler: Literal[tuple(SAMPLERS)] = "random"  # type: ignore[valid-type]
    zoom: Zoom | None = None


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
class Spec(Section):
    """A whole study file."""

    name: Name
    seed: Annotated[int, Field(ge=0)] = 0
    data: SerializeAsAny[Source]
    model: Model = Model()
    train: Train = Train()
    metric: Metric = Metric()
    parameters: dict[str, AnyParameter]
    stages: Annotated[tuple[Stage, ...], Listed, Field(min_length=1)]
    wave: Annotated[int, Field(ge=1)] = 16
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"


SECTIONS: tuple[str, ...] = tuple(Spec.model_fields)


def setting(value: Setting | None, name: str, point: Point, default: Value) -> Value:
    """What a setting is at a point: a number as it is, a parameter's value, or, when nothing is given, the parameter
    called like the setting itself, else the default."""
    if value is None:
        return point.get(name, default)
    return point[value] if isinstance(value, str) and value in point else value
