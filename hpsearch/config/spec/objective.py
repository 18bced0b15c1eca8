"""The section `train` of a study that trains by other code than the engine: a function, a command or an estimator."""

import shlex
import string
from collections.abc import Iterator
from typing import Annotated, ClassVar, Self, final

from pydantic import Field, model_validator

from hpsearch.config.spec.train import Train
from hpsearch.config.spec.trial_rules import TrialRules
from hpsearch.core.schema import Listed

FUNCTION = r"^(?:[^:\x00]+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*$"
ESTIMATOR = r"^(?:[^:\x00]+\.py:[A-Za-z_]\w*|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)$"
PLACEHOLDERS = ("seed", "epochs", "checkpoint")  # of a command, besides the parameters
Steps = Annotated[int, Field(ge=1)]
Paths = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Listed]


@final
class FunctionTraining(TrialRules):
    """A Python function trains a trial."""

    check_every: ClassVar[int] = 1

    function: Annotated[str, Field(pattern=FUNCTION, max_length=1000)] = Field(
        description="Function: `FILE.py:NAME`, relative to the folder of the study file, or `PACKAGE.MODULE:NAME`."
    )
    epochs: Steps = Field(
        1, description="Maximum number of steps of a trial; more than 1 needs a generator, which yields once for each."
    )
    uses: Paths = Field(
        (),
        description="Other files that the result depends on, such as modules and tables: paths or patterns such as"
        " `src/**.py`. A changed file is a changed study.",
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="Threads of numeric libraries in a worker; may affect the last bits of the results."
    )
    seed_generators: bool = Field(
        True, description="Seed the global generators of Python, NumPy and PyTorch with the seed of the trial."
    )

    @property
    def described(self) -> str:
        """A description of what trains, in one line."""
        return self.function


@final
class CommandTraining(TrialRules):
    """A command trains a trial: a program in any language that prints its metrics as lines of JSON."""

    check_every: ClassVar[int] = 1

    command: Annotated[tuple[str, ...], Listed, Field(min_length=1)] = Field(
        description="Program and arguments. `{NAME}` stands for the value of a parameter, `{seed}` for the seed,"
        " `{epochs}` for the step to reach, and `{checkpoint}` for a file to resume from, if it exists, and to write."
    )
    epochs: Steps = Field(1, description="Maximum number of steps of a trial; more than 1 needs `{epochs}`.")
    uses: Paths = Field(
        (),
        description="Files that the result depends on, such as the program and its tables: paths or patterns, relative"
        " to the folder of the study file. A changed file is a changed study.",
    )

    @property
    def described(self) -> str:
        """A description of what trains, in one line."""
        return shlex.join(self.command)

    @property
    def placeholders(self) -> set[str]:
        """Names in braces in the arguments."""
        return {name for argument in self.command for name in placeholder_names(argument)}

    @model_validator(mode="after")
    def _can_pause(self) -> Self:
        for argument in self.command:
            try:
                list(placeholder_names(argument))
            except ValueError as error:
                raise ValueError(f"command: {argument!r}: {error}; write {{{{ and }}}} for braces") from None
        if not self.command[0]:
            raise ValueError("command: the program must not be empty")
        if self.epochs > 1 and "epochs" not in self.placeholders:
            raise ValueError("epochs above 1 needs an argument {epochs}, the step that the command trains to")
        return self


@final
class EstimatorTraining(TrialRules):
    """An estimator with the interface of scikit-learn is fitted to the rows of `data`; parameters are its arguments."""

    check_every: ClassVar[int] = 1

    estimator: Annotated[str, Field(pattern=ESTIMATOR, max_length=1000)] = Field(
        description="Class: `PACKAGE.MODULE.NAME`, or `FILE.py:NAME`, relative to the folder of the study file."
    )
    grow: dict[str, Steps] | None = Field(
        None,
        description="Argument that grows by so much in each step, with `warm_start`: `{max_iter: 20}`. Default: a step"
        " is a call of `partial_fit` with all training rows, or the whole fit.",
    )
    epochs: Steps = Field(1, description="Maximum number of steps of a trial.")
    uses: Paths = Field((), description="Other files that the result depends on, such as modules: paths or patterns.")

    @property
    def described(self) -> str:
        """A description of what trains, in one line."""
        return self.estimator

    @model_validator(mode="after")
    def _one_argument(self) -> Self:
        if self.grow is not None and len(self.grow) != 1:
            raise ValueError(f"grow must have one argument, got {len(self.grow)}")
        return self


CodeTraining = FunctionTraining | CommandTraining | EstimatorTraining
AnyTraining = Train | FunctionTraining | CommandTraining | EstimatorTraining
KINDS: dict[str, type[CodeTraining]] = {  # the key that selects the kind
    "function": FunctionTraining,
    "command": CommandTraining,
    "estimator": EstimatorTraining,
}


def placeholder_names(argument: str) -> Iterator[str]:
    """Yield the names in braces in an argument.

    Raises:
        ValueError: a brace is not closed, or a name is empty or has a format.
    """
    for _, name, form, conversion in string.Formatter().parse(argument):
        if name is None:
            continue
        if not name or form or conversion:
            raise ValueError("a placeholder must be {NAME}")
        yield name
