"""The spec of a whole study file."""

from typing import Annotated, Literal, final

from pydantic import Field, SerializeAsAny

from hpsearch.config.spec.model import ModelSpec
from hpsearch.config.spec.search import AnyParameter, Metric, Pruning, Stage
from hpsearch.config.spec.train import Train
from hpsearch.core.schema import Listed, Name, StrictModel
from hpsearch.data.sources.base import Source


@final
class Spec(StrictModel):
    """A study file."""

    name: Name = Field(
        description="Name of the study, its database and its MLflow experiment: letters, digits, _ . - and spaces."
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        0, description="Seed of the split of the data, of the samplers and of every trial."
    )
    data: SerializeAsAny[Source] = Field(description="Source, split and preprocessing of the data.")
    model: ModelSpec = Field(ModelSpec(), description="The network.")
    train: Train = Field(Train(), description="How a trial trains.")
    metric: Metric = Field(Metric(), description="The metric that the search optimizes.")
    parameters: dict[str, AnyParameter] = Field(
        description="Searched and fixed parameters by name. Settings refer to them by this name."
    )
    stages: Annotated[tuple[Stage, ...], Listed, Field(min_length=1)] = Field(
        description="Stages of the search, in this order."
    )
    pruning: Pruning = Field(Pruning(), description="Pruning of all stages without a `pruning` of their own.")
    duplicates: Literal["new_seed", "reuse"] = Field(
        "new_seed",
        description="A point that is proposed again is trained with a `new_seed`, or `reuse`s the first outcome.",
    )
    max_failed: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Number of failed trials beyond which the study ends. Default: unlimited."
    )
    wave: Annotated[int, Field(ge=1)] = Field(
        16,
        description="Number of trials proposed together, without knowing each other's outcomes; affects the results.",
    )
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="Number of worker processes; does not affect the results."
    )

    @property
    def stage_names(self) -> list[str]:
        """Names of the stages, in their order."""
        return [stage.name for stage in self.stages]
