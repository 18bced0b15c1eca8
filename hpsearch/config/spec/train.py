"""The section `train` of a study whose networks the engine trains."""

from typing import Annotated, Literal, Self, final

from pydantic import Field, model_validator

from hpsearch.config.spec.choice import Choice, Setting
from hpsearch.config.spec.trial_rules import TrialRules
from hpsearch.core.schema import Listed, StrictModel


@final
class OptimizerSwitch(StrictModel):
    """Switch to another optimizer during training: `{epoch: 20, optimizer: sgd, learning_rate: 0.01}`."""

    epoch: Setting = Field(
        description="First epoch with the other optimizer, counted from 0; at least 1 and below `train.epochs`."
    )
    optimizer: Choice = Field(description="Optimizer.")
    learning_rate: Setting | None = Field(None, description="Learning rate. Default: unchanged.")


@final
class Train(TrialRules):
    """How the engine trains a trial. Omitted settings use the parameter of the same name, then a default."""

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
    kernel: Literal["auto", "numpy", "compiled"] = Field(
        "auto",
        description="What trains networks of dense layers: `compiled` code, which needs the extra `fast`, or `numpy`;"
        " their results differ in the last bits. `auto` is `compiled` where it works. A study keeps its kernel.",
    )

    @model_validator(mode="after")
    def _whole_checks(self) -> Self:
        if self.epochs % self.check_every:
            raise ValueError(f"epochs must be a multiple of check_every, got {self.epochs} and {self.check_every}")
        return self
