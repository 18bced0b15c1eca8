"""The sections `metric`, `parameters`, `stages` and `pruning`: what is searched, where and how."""

import re
from typing import Annotated, Any, Literal, Self, final

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from engine.metrics import METRICS
from hpsearch.core.schema import CellText, Listed, StrictModel
from hpsearch.core.space import Fixed, Range, Value, Values
from hpsearch.samplers import SAMPLERS

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
    """The metric that the search optimizes and that early stopping monitors: its best value over the checks of a trial.

    An improvement by at most `train.early_stopping.min_delta` does not count. In a cross-validation it is the mean over
    the folds at the same epoch.
    """

    name: MetricName = Field(
        "val/loss",
        description="Metric. `epochs` is the number of epochs until `train.stop.value` is reached, plus one check if"
        " the trial never reaches it.",
    )
    goal: Literal["minimize", "maximize"] | None = Field(
        None, description="Direction, which must match the metric: `minimize` a loss, `maximize` an accuracy."
    )

    positive: CellText | None = Field(
        None,
        description="Class whose F1 is computed, also of the test rows. Default: the rarer of two classes; of more than"
        " two classes, F1 is the mean over all.",
    )

    @model_validator(mode="after")
    def _goal_matches(self) -> Self:
        if self.goal and (self.goal == "minimize") == (self.sign < 0):
            other = "maximize" if self.goal == "minimize" else "minimize"
            raise ValueError(f"goal of {self.name} must be {other}, got {self.goal}")
        return self

    @property
    def described(self) -> str:
        """The name, for F1 with its class."""
        if self.of != "f1":
            return str(self.name)
        positive = "the rarer class, or the mean over more than two classes"
        return f"{self.name} of {positive if self.positive is None else f'class {self.positive!r}'}"

    @property
    def of(self) -> str:
        """The name without the part of the data: `roc_auc` for `val/roc_auc`."""
        return str(self.name).rpartition("/")[2]

    @property
    def sign(self) -> int:
        """+1 if lower is better, −1 if higher is better."""
        return METRICS[self.of].sign if self.of in METRICS else 1

    @property
    def monitored(self) -> str:
        """The curve that early stopping and the choice of the best epoch use."""
        return "val/loss" if self.name == "epochs" else str(self.name)


@final
class Pruning(StrictModel):
    """End trials that perform worse than others before their last epoch, at rungs (numbers of epochs).

    Trials of a wave are pruned together once all of them reach the rung.
    """

    kind: Literal["none", "successive_halving", "hyperband", "median"] = Field(
        "none",
        description="`successive_halving` continues one of `reduction` trials at a rung, and the next rung is"
        " `reduction` times as far; `hyperband` does so in brackets that begin at different rungs; `median` continues"
        " trials that are not worse than the median, every `min_epochs`.",
    )
    min_epochs: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="First rung, in epochs. Default: 1/27 of the epochs when `reduction` is 3, 1/10 for `median`.",
    )
    reduction: Annotated[int, Field(ge=2, le=100)] | None = Field(
        None, description="Reduction factor of `successive_halving` and `hyperband`. Default: 3."
    )
    n_startup_trials: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Trials that must have reached a rung before `median` ends one there. Default: 4."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"kind": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _of_this_kind(self) -> Self:
        kinds_of = {
            "min_epochs": ("successive_halving", "hyperband", "median"),
            "reduction": ("successive_halving", "hyperband"),
            "n_startup_trials": ("median",),
        }
        for name, kinds in kinds_of.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} is for {' and '.join(kinds)}, not for {self.kind}")
        return self


_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = r"(?:\d+(?:\.\d+)?[smhd])+"
MAX_DURATION_LENGTH = 50  # characters


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if len(value) > MAX_DURATION_LENGTH or not re.fullmatch(DURATION, value, re.ASCII):
        raise ValueError(f"must be a duration such as 90s, 20m or 1h30m, got {value!r}")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([\d.]+)([smhd])", value))


@final
class Zoom(StrictModel):
    """Narrow each range to the box of the best trials so far, widened by a margin."""

    keep_top: Annotated[float, Field(gt=0, le=1)] = Field(0.2, description="Share of the trials whose box is kept.")
    margin: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="Share of the previous width that is added on each side."
    )


@final
class Stage(StrictModel):
    """A part of the search with its own box and sampler.

    It begins with the listed `points`, each trained `seeds` times; parameters that a point omits are sampled. A stage
    with `top` confirms: it trains the best points of all earlier stages again, each with the same new seeds.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=50)] = Field(
        description="Name: letters, digits, _ and -, at most 50 characters, unique in the study."
    )
    trials: Annotated[int, Field(ge=1)] = Field(
        description="Total number of trials, over all restarts. Default: points times seeds, or top times seeds."
    )
    points: Annotated[tuple[dict[str, Value], ...], Listed] = Field(
        (), description="Points to begin with: the values of some or all searched parameters."
    )
    seeds: Annotated[int, Field(ge=1)] = Field(1, description="Number of seeds that each point is trained with.")
    sampler: Literal[tuple(SAMPLERS)] = Field("random", description="Sampler of points.")  # type: ignore[valid-type]
    zoom: Zoom | None = Field(
        None,
        description="Narrow the box before the stage. Default: the box of the stage before, at first the whole ranges.",
    )
    pruning: Pruning | None = Field(None, description="Pruning of this stage. Default: that of the study.")
    timeout: Annotated[float, BeforeValidator(_seconds), Field(gt=0)] | None = Field(
        None,
        description="Time after which no new wave begins, over all restarts: seconds, or a duration such as 20m or"
        " 1h30m. Default: none.",
    )
    top: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Number of best points to confirm, each with `seeds` seeds; only in the last stage."
    )

    @property
    def confirms(self) -> bool:
        """Return whether the stage trains points of earlier stages again."""
        return self.top is not None

    @property
    def how(self) -> str:
        """The sampler, or for a confirming stage `top 3 × 5 seeds`."""
        return f"top {self.top} × {self.seeds} seeds" if self.confirms else str(self.sampler)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.top is not None:
            for name in ("points", "zoom", "pruning", "timeout"):
                if getattr(self, name) not in (None, ()):
                    raise ValueError(f"top and seeds determine what is trained, so {name} is not allowed with them")
            if self.seeds < 2:
                raise ValueError(f"seeds must be at least 2 to confirm, got {self.seeds}")
            if self.trials != self.top * self.seeds:
                raise ValueError(
                    f"trials must be top times seeds, {self.top} times {self.seeds}, got {self.trials}; remove trials"
                )
        if self.trials < len(self.points) * self.seeds:
            raise ValueError(
                f"trials must be at least points times seeds, {len(self.points)} times {self.seeds}, got {self.trials}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _default_trials(cls, data: Any) -> Any:
        """Derive the number of trials from points and seeds, or from top and seeds."""
        if not isinstance(data, dict) or "trials" in data or not data.keys() & {"points", "seeds", "top"}:
            return data
        if "top" in data:
            top, seeds = data["top"], data.get("seeds", 1)
            valid = all(isinstance(n, int) and n > 0 for n in (top, seeds))
            return data | {"trials": top * seeds if valid else 1}
        points, seeds = data.get("points", [{}]), data.get("seeds", 1)
        if not isinstance(points, list | tuple) or not isinstance(seeds, int):
            return data | {"trials": 1}  # a placeholder; the mistake in points or seeds is reported
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
