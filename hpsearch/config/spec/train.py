"""The section `train`: how a trial trains."""

from typing import Annotated, Literal, Self, final

from pydantic import Field, model_validator

from hpsearch.config.spec.choice import Choice, Setting
from hpsearch.core.schema import Listed, Number, StrictModel


@final
class EarlyStopping(StrictModel):
    """Stop a trial when the metric has not improved for some checks."""

    patience: Annotated[int, Field(ge=1)] = Field(description="Number of checks without an improvement.")
    min_delta: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Smallest change that counts as an improvement, in units of the metric."
    )


@final
class Stop(StrictModel):
    """Stop a trial when the metric reaches a value or a plateau."""

    value: Number | None = Field(None, description="Value of the metric to reach.")
    change: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Plateau: the metric changes by less than this in each of `checks` checks in a row."
    )
    checks: Annotated[int, Field(ge=1)] = Field(1, description="Number of checks of a plateau; needs `change`.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.value is None and self.change is None:
            raise ValueError("must have a value to reach or a change to fall below")
        if self.change is None and self.checks != 1:
            raise ValueError("checks needs change; set change, or remove checks")
        return self


@final
class OptimizerSwitch(StrictModel):
    """Switch to another optimizer during training: `{epoch: 20, optimizer: sgd, learning_rate: 0.01}`."""

    epoch: Setting = Field(
        description="First epoch with the other optimizer, counted from 0; at least 1 and below `train.epochs`."
    )
    optimizer: Choice = Field(description="Optimizer.")
    learning_rate: Setting | None = Field(None, description="Learning rate. Default: unchanged.")


@final
class Train(StrictModel):
    """How a trial trains. Omitted settings use the parameter of the same name, then a default."""

    optimizer: Choice = Field(Choice(name="momentum"), description="Optimizer.")
    switch: OptimizerSwitch | None = Field(
        None, description="Switch to another optimizer during training. Default: none."
    )
    schedule: Choice = Field(Choice(name="constant"), description="Schedule of the learning rate over the epochs.")
    learning_rate: Setting | None = Field(
        None, description="Initial learning rate, at least 0. Default: the parameter `learning_rate`, which must exist."
    )
    batch_size: Setting | None = Field(
        None,
        description="Rows per batch, or `full` for all training rows. Default: the parameter `batch_size`, else 32.",
    )
    l2: Setting | None = Field(
        None, description="L2 penalty λ of λ/2·Σw² over the weights, at least 0. Default: the parameter `l2`, else 0."
    )
    l1: Setting | None = Field(
        None, description="L1 penalty λ of λ·Σ|w| over the weights, at least 0. Default: the parameter `l1`, else 0."
    )
    penalty_divisor: Literal["none", "batch_size"] = Field(
        "none", description="`batch_size` divides both penalties by the rows of the batch m: (λ/2m)·Σw²."
    )
    clip: Choice | None = Field(None, description="Gradient clipping. Default: none.")
    label_smoothing: Setting | None = Field(
        None,
        description="Label smoothing of a classification, at least 0 and below 1. Default: the parameter"
        " `label_smoothing`, else 0.",
    )
    augment: Annotated[tuple[Choice, ...], Listed] = Field(
        (), description="Augmentations of the inputs, in this order."
    )
    row_sampling: Choice = Field(Choice(name="shuffle"), description="Rows of an epoch and their order.")
    epochs: Annotated[int, Field(ge=1)] = Field(50, description="Maximum number of epochs of a trial.")
    check_every: Annotated[int, Field(ge=1)] = Field(
        1, description="Epochs between two checks of the scores; `epochs` must be a multiple of it."
    )
    early_stopping: EarlyStopping | None = Field(
        None, description="Stop a trial when the metric no longer improves. Default: never."
    )
    stop: Stop | None = Field(
        None, description="Stop a trial when the metric reaches a value or a plateau. Default: never."
    )
    kernel: Literal["auto", "numpy", "compiled"] = Field(
        "auto",
        description="What trains networks of dense layers: `compiled` code, which needs the extra `fast`, or `numpy`;"
        " their results differ in the last bits. `auto` is `compiled` where it works. A study keeps its kernel.",
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="Check whose weights and scores are the result of a trial: `best` by the metric, or `last`.",
    )

    @model_validator(mode="after")
    def _whole_checks(self) -> Self:
        if self.epochs % self.check_every:
            raise ValueError(f"epochs must be a multiple of check_every, got {self.epochs} and {self.check_every}")
        return self
