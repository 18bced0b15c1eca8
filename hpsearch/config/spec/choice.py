"""Settings and choices: values that a parameter may provide."""

from typing import Any, Self, final

from pydantic import Field, JsonValue, model_validator

from hpsearch.core.schema import Number, StrictModel

Setting = Number | str  # a number, or the name of the parameter that provides it


@final
class Choice(StrictModel):
    """A name from a menu with its settings: `momentum`, or `{name: momentum, classical: true}`."""

    name: str = Field(description="A name from the menu, or the name of the parameter that provides it.")
    settings: dict[str, JsonValue] = Field(default_factory=dict, description="Its settings by name.")

    @classmethod
    def of(cls, data: Any) -> Self:
        """Return a choice from its content in a study file; a setting of a choice may be a choice itself.

        Raises:
            ValueError: `data` is neither a name nor a mapping with a name.
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
