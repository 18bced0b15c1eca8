"""The sections `metric`, `parameters`, `stages` and `pruning`: what is searched, where and how."""

from typing import Annotated, Any, Literal, Self, final

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from engine.metrics import METRICS, POSITIVE_METRICS
from hpsearch.config.spec.trial_rules import seconds_of
from hpsearch.core.schema import CellText, Listed, StrictModel
from hpsearch.core.space import Fixed, Range, Value, Values
from hpsearch.samplers import SAMPLERS

METRIC_NAMES = (
    "val/loss",
    "val/accuracy",
    "val/balanced_accuracy",
    "val/f1",
    "val/precision",
    "val/recall",
    "val/roc_auc",
    "val/log_loss",
    "val/r2",
    "val/rmse",
    "val/mae",
    "train/loss",
    "train/accuracy",
    "train/r2",
    "epochs",
)  # of the engine; training code may report others
METRIC_PATTERN = r"^[\w .:-]+(/[\w .:-]+)*$"  # what MLflow allows
MINIMIZED = ("loss", "epochs")


@final
class Metric(StrictModel):
    """The metric that the search optimizes and that early stopping monitors: its best value over the checks of a trial.

    An improvement by at most `train.early_stopping.min_delta` does not count. In a cross-validation it is the mean over
    the folds at the same epoch.
    """

    name: Annotated[str, Field(pattern=METRIC_PATTERN, max_length=100)] = Field(
        "val/loss",
        description="Metric. `epochs` is the number of epochs until `train.stop.value` is reached, plus one check if"
        " the trial never reaches it. For your own training code, a name that it reports.",
    )
    goal: Literal["minimize", "maximize"] | None = Field(
        None,
        description="Direction, which must match the metric: `minimize` a loss, `maximize` an accuracy. Default: that"
        " of the metric; required for a metric of your own.",
    )

    positive: CellText | None = Field(
        None,
        description="Class whose F1, precision or recall is computed, also of the test rows. Default: the rarer of two"
        " classes; of more than two classes, they are the mean over all.",
    )

    base_error: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description="Error that no model can avoid, that of people for example, as share of wrong rows or as 1 − R²;"
        " advice on bias needs it and nothing else uses it. Default: from the noise of `formula`, else unknown.",
    )

    @model_validator(mode="after")
    def _goal_matches(self) -> Self:
        if self.name in METRIC_NAMES and self.goal and (self.goal == "minimize") == (self.sign < 0):
            other = "maximize" if self.goal == "minimize" else "minimize"
            raise ValueError(f"goal of {self.name} must be {other}, got {self.goal}")
        return self

    @property
    def described(self) -> str:
        """The name, for F1, precision and recall with their class."""
        if self.of not in POSITIVE_METRICS:
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
        if self.goal is not None and self.name not in METRIC_NAMES:
            return -1 if self.goal == "maximize" else 1
        return METRICS[self.of].sign if self.of in METRICS else 1

    @property
    def is_known(self) -> bool:
        """Return whether its direction is known, because it is a loss or one of the engine's metrics."""
        return self.of in METRICS or self.of in MINIMIZED

    @property
    def monitored(self) -> str:
        """The curve that early stopping and the choice of the best epoch use."""
        return "val/loss" if self.name == "epochs" else str(self.name)


@final
class Pruning(StrictModel):
    """End trials that perform worse than others before their last epoch, at rungs (numbers of epochs).

    A decision at a rung follows from the trials that have ended there on the stage's virtual clock.
    """

    kind: Literal["none", "promote", "stop", "hyperband", "median"] = Field(
        "none",
        description="`promote` pauses a trial at each rung and continues the best paused trial while it is among the"
        " best of `reduction` trials there; `stop` decides once, when a trial arrives; `hyperband` does so in brackets"
        " that begin at different rungs; `median` continues trials that are not worse than the median.",
    )
    rungs: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Listed] | None = Field(
        None, description="Rungs, in epochs, increasing. Default: from `min_epochs` and `reduction`."
    )
    min_epochs: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="First rung, in epochs; the next is `reduction` times as far, or for `median` as far again."
        " Default: 1/27 of the epochs when `reduction` is 3, 1/10 for `median`.",
    )
    reduction: Annotated[int, Field(ge=2, le=100)] | None = Field(
        None, description="One of this many trials continues at a rung. Default: 3."
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
            "rungs": ("promote", "stop", "hyperband", "median"),
            "min_epochs": ("promote", "stop", "hyperband", "median"),
            "reduction": ("promote", "stop", "hyperband"),
            "n_startup_trials": ("median",),
        }
        for name, kinds in kinds_of.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} is for {' and '.join(kinds)}, not for {self.kind}")
        if self.rungs is not None and self.min_epochs is not None:
            raise ValueError("rungs lists every rung, so min_epochs is not allowed with it")
        if self.rungs is not None and (not self.rungs or list(self.rungs) != sorted(set(self.rungs))):
            raise ValueError(f"rungs must be increasing epochs, got {list(self.rungs)}")
        return self


@final
class Zoom(StrictModel):
    """Narrow each range to the box of the best trials so far, widened by a margin.

    The box is renewed during the stage, or found once, before the stage, with `keep_top`.
    """

    keep: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Number of best trials whose box is kept. Default: 6."
    )
    every: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Number of trials after which the box is found anew. Default: 8."
    )
    outside: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Probability that a trial is sampled from the whole range instead. Default: 0.1."
    )
    keep_top: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Share of the trials whose box is kept for the whole stage; excludes `keep`, `every`, `outside`.",
    )
    margin: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description="Share of the previous width that is added on each side. Default: 0.05, or 0.1 with `keep_top`.",
    )

    @property
    def renewed(self) -> bool:
        """Return whether the box is renewed during the stage."""
        return self.keep_top is None

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        once = data.get("keep_top") is not None
        defaults: dict[str, Any] = {"margin": 0.1} if once else {"keep": 6, "every": 8, "outside": 0.1, "margin": 0.05}
        return data | {name: value for name, value in defaults.items() if data.get(name) is None}

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        for name in ("keep", "every", "outside"):
            if self.keep_top is not None and getattr(self, name) is not None:
                raise ValueError(f"keep_top finds one box for the stage, so {name} is not allowed with it")
        return self


@final
class Stage(StrictModel):
    """A part of the search with its own box and sampler.

    It begins with the listed `points`, each trained `seeds` times; parameters that a point omits are sampled. A stage
    with `top` confirms: it trains the best points of all earlier stages again, each with the same new seeds.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=50)] = Field(
        description="Name: letters, digits, _ and -, at most 50 characters, unique in the study."
    )
    trials: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Total number of trials, over all restarts. Default: points times seeds, top times seeds, or as"
        " many as `budget` and `timeout` allow.",
    )
    budget: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        None,
        description="Epochs that the stage trains, in trainings of `train.epochs` epochs. Default: the stage's share of"
        " the study's budget, if it has no other limit.",
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
    timeout: Annotated[float, BeforeValidator(seconds_of), Field(gt=0)] | None = Field(
        None,
        description="Time after which no new trial begins, over all restarts: seconds, or a duration such as 20m or"
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
    def limited(self) -> bool:
        """Return whether the stage has a limit of its own."""
        return self.trials is not None or self.budget is not None or self.timeout is not None

    @property
    def repeated(self) -> int:
        """The number of trials of listed points."""
        return len(self.points) * self.seeds

    @property
    def size(self) -> str:
        """Its limits: `48 trials`, `budget 5` or `timeout 600 s`."""
        limits = {"budget": self.budget, "timeout": self.timeout}
        texts = [f"{name} {value:g}{' s' * (name == 'timeout')}" for name, value in limits.items() if value is not None]
        return ", ".join([f"{self.trials} trials"] if self.trials is not None else texts)

    @property
    def how(self) -> str:
        """The sampler, or for a confirming stage `top 3 × 5 seeds`."""
        return f"top {self.top} × {self.seeds} seeds" if self.confirms else str(self.sampler)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.top is not None:
            for name in ("points", "zoom", "pruning", "timeout", "budget"):
                if getattr(self, name) not in (None, ()):
                    raise ValueError(f"top and seeds determine what is trained, so {name} is not allowed with them")
            if self.seeds < 2:
                raise ValueError(f"seeds must be at least 2 to confirm, got {self.seeds}")
            if self.trials != self.top * self.seeds:
                raise ValueError(
                    f"trials must be top times seeds, {self.top} times {self.seeds}, got {self.trials}; remove trials"
                )
        if self.trials is not None and self.trials < self.repeated:
            raise ValueError(
                f"trials must be at least points times seeds, {len(self.points)} times {self.seeds}, got {self.trials}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _default_trials(cls, data: Any) -> Any:
        """Derive the number of trials from points and seeds, or from top and seeds."""
        if not isinstance(data, dict) or data.get("trials") is not None or not data.keys() & {"points", "seeds", "top"}:
            return data
        if data.get("top") is None and (data.get("budget") or data.get("timeout")):
            return data
        if data.get("top") is not None:
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
