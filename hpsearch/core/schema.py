"""The base class and the types of every part of a study file."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class StrictModel(BaseModel):
    """Base of a study file's parts: frozen, no unknown keys, no conversion of types, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _list_to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _to_text(value: Any) -> Any:
    return str(value) if isinstance(value, bool | int | float) else value


CellText = Annotated[str, BeforeValidator(_to_text)]  # YAML reads some cells and classes as numbers or Booleans
Listed = BeforeValidator(_list_to_tuple)  # a YAML list becomes a tuple, which is immutable
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\- ]*$", max_length=100)]
Number = int | float
