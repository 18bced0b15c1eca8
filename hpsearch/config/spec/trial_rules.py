"""The rules that end a trial, whatever trains it: settings of the section `train` that all objectives share."""

import re
from typing import Annotated, Any, Literal, Self, final

from pydantic import BeforeValidator, Field, model_validator

from hpsearch.core.schema import Number, StrictModel

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = r"(?:\d+(?:\.\d+)?[smhd])+"
MAX_DURATION_LENGTH = 50  # characters
_BYTES = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}
SIZE = r"\d+(?:\.\d+)? ?(?:MB|GB|MiB|GiB)"


def seconds_of(value: Any) -> Any:
    """Return a duration in seconds; other values than text are left to later checks."""
    if not isinstance(value, str):
        return value
    if len(value) > MAX_DURATION_LENGTH or not re.fullmatch(DURATION, value, re.ASCII):
        raise ValueError(f"must be a duration such as 90s, 20m or 1h30m, got {value!r}")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([\d.]+)([smhd])", value))


def bytes_of(value: Any) -> Any:
    """Return a size in bytes; other values than text are left to later checks."""
    if not isinstance(value, str):
        return value
    if len(value) > MAX_DURATION_LENGTH or not re.fullmatch(SIZE, value, re.ASCII):
        raise ValueError(f"must be a size such as 500MB or 2GB, got {value!r}")
    number, unit = re.findall(r"([\d.]+) ?(\w+)", value)[0]
    return int(float(number) * _BYTES[unit])


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


class TrialRules(StrictModel):
    """When a trial ends, and which of its checks is its result."""

    early_stopping: EarlyStopping | None = Field(
        None, description="Stop a trial when the metric no longer improves. Default: never."
    )
    stop: Stop | None = Field(
        None, description="Stop a trial when the metric reaches a value or a plateau. Default: never."
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="Check whose weights and scores are the result of a trial: `best` by the metric, or `last`.",
    )
    timeout: Annotated[float, BeforeValidator(seconds_of), Field(gt=0)] | None = Field(
        None,
        description="Training time after which a trial fails: seconds, or a duration such as 10m. Default: none.",
    )
    memory: Annotated[int, BeforeValidator(bytes_of), Field(ge=10**6)] | None = Field(
        None,
        description="Memory of a worker process, with the processes that it starts, above which its trial fails:"
        " bytes, or a size such as 2GB. Default: none.",
    )
