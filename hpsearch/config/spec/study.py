"""The spec of a whole study file."""

from typing import Annotated, Any, Literal, final

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from hpsearch.config.spec.model import ModelSpec
from hpsearch.config.spec.objective import AnyTraining
from hpsearch.config.spec.search import AnyParameter, Metric, Pruning, Stage
from hpsearch.config.spec.train import Train
from hpsearch.config.spec.trial_rules import seconds_of
from hpsearch.core.schema import Listed, Name, StrictModel
from hpsearch.data.sources.base import Source

FIRST_SHARE = 0.2  # of the study's budget, for the first of several stages
CONFIRM_SHARE = 0.1  # of the study's timeout


def _shares(count: int) -> list[float]:
    """Return the shares of `count` stages in a budget."""
    if count < 2:
        return [1.0] * count
    return [FIRST_SHARE, *[(1 - FIRST_SHARE) / (count - 1)] * (count - 1)]


@final
class Ensemble(StrictModel):
    """Select an ensemble when the study ends: networks of several trials that predict together, by their mean.

    The best trial is the first member; then the trial that improves the metric on the validation rows most is added,
    again and again, with repetitions (Caruana et al. 2004). Test rows are used once, after the selection.
    """

    size: Annotated[int, Field(ge=2, le=50)] = Field(
        5, description="Largest number of members, counting repetitions; four times as many trials keep their weights."
    )


@final
class Spec(StrictModel):
    """A study file."""

    name: Name = Field(
        description="Name of the study, its database and its MLflow experiment: letters, digits, _ . - and spaces."
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        0, description="Seed of the split of the data, of the samplers and of every trial."
    )
    data: SerializeAsAny[Source] | None = Field(
        None,
        description="Source, split and preprocessing of the data; required unless a function or a command trains.",
    )
    model: ModelSpec = Field(ModelSpec(), description="The network.")
    train: AnyTraining = Field(Train(), description="How a trial trains.")
    metric: Metric = Field(Metric(), description="The metric that the search optimizes.")
    parameters: dict[str, AnyParameter] = Field(
        description="Searched and fixed parameters by name. Settings refer to them by this name."
    )
    stages: Annotated[tuple[Stage, ...], Listed, Field(min_length=1)] = Field(
        description="Stages of the search, in this order."
    )
    pruning: Pruning = Field(Pruning(), description="Pruning of all stages without a `pruning` of their own.")
    ensemble: Ensemble | None = Field(
        None, description="An ensemble of the best trials, besides the best model. Default: none."
    )
    duplicates: Literal["new_seed", "reuse"] = Field(
        "new_seed",
        description="A point that is proposed again is trained with a `new_seed`, or `reuse`s the first outcome.",
    )
    max_failed: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Number of failed trials beyond which the study ends. Default: unlimited."
    )
    parallel: Annotated[int, Field(ge=1, le=10_000)] = Field(
        4,
        description="Number of virtual workers: trials that train at the same time on the virtual clock and so do not"
        " know each other's outcomes. Unlike `workers`, it affects the results.",
    )
    budget: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        None,
        description="Epochs that the searching stages without a limit of their own share, in trainings of"
        " `train.epochs` epochs: 20 % for the first of several. Default: none.",
    )
    timeout: Annotated[float, BeforeValidator(seconds_of), Field(gt=0)] | None = Field(
        None,
        description="Time that the searching stages without a limit of their own share in the same way; a tenth is"
        " left for a confirming stage: seconds, or a duration such as 20m. Default: none.",
    )
    baselines: bool = Field(
        False,
        description="Fit the constant, a linear model and scikit-learn's histogram gradient boosting to the same rows"
        " when the study ends, for comparison; does not affect the trials.",
    )
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", description="Number of worker processes; does not affect the results."
    )
    cluster: str | None = Field(
        None,
        description="Address of the scheduler of a Dask cluster that trains in place of worker processes:"
        " tls://HOST:PORT, tcp://127.0.0.1:PORT, or local:N for N workers on this machine; does not affect the"
        " results.",
    )

    @model_validator(mode="before")
    @classmethod
    def _shared_limits(cls, data: Any) -> Any:
        """Give stages without a limit their shares of the study's budget and timeout."""
        stages = data.get("stages") if isinstance(data, dict) else None
        if not isinstance(stages, tuple | list) or not all(isinstance(stage, Stage) for stage in stages):
            return data
        rest = 1 - CONFIRM_SHARE * any(stage.confirms for stage in stages)
        waiting = [n for n, stage in enumerate(stages) if not stage.limited]
        shared = list(stages)
        for number, share in zip(waiting, _shares(len(waiting)), strict=True):
            budget, timeout = data.get("budget"), data.get("timeout")
            limits = {"budget": budget and share * budget, "timeout": timeout and share * rest * timeout}
            shared[number] = shared[number].model_copy(update=limits)
        return data | {"stages": tuple(shared)}

    @property
    def engine(self) -> Train:
        """The settings of the engine, which trains the study's networks."""
        assert isinstance(self.train, Train)
        return self.train

    @property
    def source(self) -> Source:
        """The source of the data of a study that has data."""
        assert self.data is not None
        return self.data

    @property
    def stage_names(self) -> list[str]:
        """Names of the stages, in their order."""
        return [stage.name for stage in self.stages]
