"""Settings and choices: the values that may come from a parameter."""

from typing import Any, Self, final

from pydantic import Field, JsonValue, model_validator

from hpsearch.core.schema import Number, StrictModel

Setting = Number | str  # a number, or the name of the parameter that gives it


@final
class Choice(StrictModel):
    """A name from a menu with its settings: `momentum`, or `{name: momentum, classical: true}`."""

    name: str = Field(description="A name from the menu, or the name of the parameter that gives it.")
    settings: dict[str, JsonValue] = Field(default_factory=dict, description="Its settings by name.")

    @classmethod
    def of(cls, data: Any) -> Self:
        """Return the choice that is written among the settings of another one.

        Raises:
            ValueError: `data` is neither a name nor a mapping with one.
        """
        return cls.model_validate(data)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"name": data}
        if isinstance(data, dict) and "settings" not in data:
            return {"name": data.get("name"), "settings": {k: v for k, v in data.items() if k != "name"}}
        return data
