"""The section `model`: the network."""

from typing import Annotated, Any, Self, final

from pydantic import Field, model_validator

from hpsearch.config.spec.choice import Choice, Setting
from hpsearch.core.schema import Listed, StrictModel

LAYER_LISTS = ("layers", "shortcut")  # settings that are lists of layers
BATCH_NORM_PLACES = ("none", "before", "after", True, False)


@final
class Hidden(StrictModel):
    """A hidden layer: a dense layer, its activation, and optionally batch normalization and dropout."""

    units: Setting = Field(description="Number of units.")
    activation: Choice = Field(Choice(name="relu"), description="Activation.")
    initializer: Choice | None = Field(
        None,
        description="Initializer of the weights. Default: `model.initializer`, else He normal before rectifiers and"
        " Xavier normal before other activations.",
    )
    batch_norm: bool | str | None = Field(
        None,
        description="Batch normalization `before` (or true) or `after` the activation. Default: the parameter"
        " `batch_norm`, else none.",
    )
    dropout: Setting | None = Field(
        None,
        description="Share of the outputs dropped in training, at least 0 and below 1. Default: the parameter"
        " `dropout`, else none.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"units": data} if isinstance(data, int | str) and not isinstance(data, bool) else data


@final
class Output(StrictModel):
    """The output layer; its number of units follows from the data."""

    activation: Choice = Field(
        Choice(name="identity"),
        description="Activation of the outputs: identity, relu or softplus, which do not bound them.",
    )
    initializer: Choice | None = Field(
        None, description="Initializer of the weights. Default: `model.initializer`, else Xavier normal."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"activation": data} if isinstance(data, str) else data


@final
class ModelSpec(StrictModel):
    """The network: either `hidden` layers or a list of all `layers`. The data determine the output layer and loss."""

    hidden: Annotated[tuple[Hidden, ...], Listed] = Field((), description="Hidden layers of the short form.")
    depth: Setting | None = Field(
        None,
        description="Number of hidden layers, 0 to 1000. The last entry of `hidden` is repeated as needed; surplus"
        " entries are ignored. Default: the parameter `depth`, else the length of `hidden`.",
    )
    input_dropout: Setting | None = Field(
        None,
        description="Share of the inputs dropped in training, at least 0 and below 1. Default: the parameter"
        " `input_dropout`, else none.",
    )
    layers: Annotated[tuple[Choice, ...], Listed] | None = Field(
        None, description="All layers except the output layer; excludes `hidden`, `depth` and `input_dropout`."
    )
    initializer: Choice | None = Field(
        None,
        description="Initializer of all layers without one of their own. Default: He normal before rectifiers and"
        " Xavier normal before other activations.",
    )
    output: Output = Field(Output(), description="The output layer.")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        for name in ("hidden", "depth", "input_dropout"):
            if self.layers is not None and getattr(self, name) not in (None, ()):
                raise ValueError(f"layers lists every layer, so {name} is not allowed with it")
        if self.depth is not None and not self.hidden:
            raise ValueError("depth needs an entry of hidden to repeat")
        return self
