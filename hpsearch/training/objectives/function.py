"""Training by a Python function: a plain one is a trial of one step, a generator yields once for each step."""

import ast
import contextlib
import copy
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

from hpsearch.config.hints import hint
from hpsearch.config.spec import FunctionTraining, Spec
from hpsearch.config.spec.search import METRIC_PATTERN
from hpsearch.core.seeds import derive
from hpsearch.core.text import printable
from hpsearch.data.dataset import Dataset
from hpsearch.errors import TrainingCodeError
from hpsearch.training.objectives.code import definition, load_object, located, shown_path, without_addresses
from hpsearch.training.objectives.stepping.driver import Scores, StepError, advance_steps, check_monitored
from hpsearch.training.objectives.stepping.generators import generator_states, restore_generators, seed_generators
from hpsearch.training.objectives.stepping.isolation import isolated
from hpsearch.training.objectives.stepping.progress import Progress
from hpsearch.training.objectives.stepping.rows import training_data
from hpsearch.training.task import Task, TrainingCode, TrialResult

ARGUMENTS = ("params", "seed", "state", "data", "epochs")
MAX_METRICS = 200  # that a step may report
CODE_SEEDS = 2**31  # of training code: every library accepts them


def check_function(spec: Spec, dataset: Dataset, code: TrainingCode) -> list[str]:
    """Check a study's function without running it; return messages for the user.

    Raises:
        TrainingCodeError: the function does not exist, or has another interface.
    """
    train = spec.train
    assert isinstance(train, FunctionTraining)
    shown, found = definition(train.function, code)
    if found is None:
        return []
    if not isinstance(found, ast.FunctionDef):
        kind = "an async function" if isinstance(found, ast.AsyncFunctionDef) else "a class"
        raise TrainingCodeError(f"{shown}:{found.lineno}: must be a function, got {kind}: {getattr(found, 'name', '')}")
    where = f"{shown}:{found.lineno}: {found.name}()"
    if found.decorator_list:
        return []
    names = [a.arg for a in (*found.args.posonlyargs, *found.args.args)]
    optional = names[len(names) - len(found.args.defaults) :] if found.args.defaults else []
    keyword = {a.arg: default is None for a, default in zip(found.args.kwonlyargs, found.args.kw_defaults, strict=True)}
    required = [n for n in names if n not in optional] + [n for n, needed in keyword.items() if needed]
    _check_arguments(where, required)
    _check_passed_by_name(where, [a.arg for a in found.args.posonlyargs])
    if "data" in (*names, *keyword) and spec.data is None:
        raise TrainingCodeError(f"{where}: asks for data, and the study file has none")
    generates = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own_nodes(found))
    epochs = spec.train.epochs
    if not generates and epochs > 1:
        raise TrainingCodeError(
            f"{where}: train.epochs is {epochs}, but the function has no yield, so a trial has one step;"
            " yield the metrics of each epoch, or remove train.epochs"
        )
    notes = []
    if generates and epochs == 1:
        notes.append(f"{where}: yields, and train.epochs is 1: only its first step is used")
    pauses = [s.name for s in spec.stages if (s.pruning or spec.pruning).kind != "none" and not s.confirms]
    if epochs > 1 and pauses and "state" not in (*names, *keyword):
        notes.append(
            f"{where}: has no argument 'state', so a paused trial of {', '.join(pauses)} trains again from its seed"
            " when it is promoted: the same result, in more time"
        )
    return notes


def _own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions and classes inside."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _check_arguments(where: str, required: list[str]) -> None:
    for name in required:
        if name not in ARGUMENTS:
            raise TrainingCodeError(f"{where}: unknown argument '{name}'{hint(name, list(ARGUMENTS))}")


def _check_passed_by_name(where: str, positional: list[str]) -> None:
    if positional:
        raise TrainingCodeError(f"{where}: arguments are passed by name; remove the '/' after {', '.join(positional)}")


def advance_function(task: Task) -> TrialResult:
    """Train a task's trial by the study's function."""
    train = task.spec.train
    assert isinstance(train, FunctionTraining)
    function = load_object(train.function, task.code)
    (trial,) = task.trials

    def begin(fold: int, saved: bytes | None, progress: Progress) -> _FunctionSteps:
        seed = trial.seed if fold == 0 else derive(trial.seed, "fold", fold)
        if train.seed_generators and fold == 0:
            if progress.generators:
                restore_generators(progress.generators)
            else:
                seed_generators(trial.seed)
        return _FunctionSteps(function, task, fold, seed % CODE_SEEDS, saved)

    with isolated(train.threads):
        return advance_steps(task, begin, generator_states if train.seed_generators else dict)


@final
class _FunctionSteps:
    """One fold of a trial that a function trains."""

    def __init__(self, function: Callable[..., Any], task: Task, fold: int, seed: int, saved: bytes | None) -> None:
        self._function, self._code, self._metric = function, task.code, task.spec.metric.monitored
        assert isinstance(task.spec.train, FunctionTraining)
        self._reference = task.spec.train.function
        given: dict[str, Any] = {
            "params": copy.deepcopy(dict(task.trials[0].point)),
            "seed": seed,
            "state": saved,
            "epochs": task.spec.train.epochs,
        }
        accepted = _accepted(function, task.code, self._reference)
        self._resumes = "state" in accepted
        if "data" in accepted:
            if task.spec.data is None:
                raise TrainingCodeError(f"{self._named()}: asks for data, and the study file has none")
            given["data"] = training_data(task.dataset, task.trials[0].point, fold)
        self._arguments = {name: value for name, value in given.items() if name in accepted}
        self._generator: types.GeneratorType[Any, None, Any] | None = None
        self._begun, self._yielded = False, saved is not None
        self._save: Callable[[], Any] | None = None

    @property
    def saves(self) -> bool:
        return self._save is not None

    def step(self) -> Scores | None:
        if not self._begun:
            self._begun = True
            returned = self._function(**self._arguments)
            if not isinstance(returned, types.GeneratorType):
                return self._scores(returned, "returned")
            self._generator = returned
        if self._generator is None:
            return None
        try:
            item = next(self._generator)
        except StopIteration:
            if not self._yielded:
                raise StepError(f"{self._where()}: ended before it yielded metrics") from None
            return None
        self._yielded = True
        return self._scores(item, "yielded")

    def save(self) -> bytes | None:
        if self._save is None:
            return None
        content = self._save()
        if not isinstance(content, bytes):
            raise StepError(f"{self._where()}: its function to save must return bytes, got {_short(content)}")
        return content

    def close(self) -> None:
        if self._generator is not None:
            # The step is done; what its clean-up raises changes no result.
            with contextlib.suppress(Exception, SystemExit, GeneratorExit):
                self._generator.close()

    def _scores(self, item: Any, verb: str) -> Scores:
        self._save = None
        if isinstance(item, tuple) and len(item) == 2:
            item, save = item
            if save is not None and not callable(save):
                raise StepError(f"{self._where()}: {verb} metrics and {_short(save)}; the second must be a function")
            if save is not None and not self._resumes and self._generator is not None:
                raise StepError(
                    f"{self._where()}: {verb} a function to save, but has no argument 'state' to resume from"
                )
            self._save = save
        if not isinstance(item, Mapping):
            number = as_number(item)
            if number is None:
                raise StepError(f"{self._where()}: {verb} {_short(item)}; must be a mapping of metrics to numbers")
            return {self._metric: number}
        try:
            scores = checked_scores(item, verb)
            check_monitored(scores, self._metric, verb)
        except StepError as error:  # its place costs more than the check
            raise StepError(f"{self._where()}: {error}") from None
        return scores

    def _where(self) -> str:
        if self._generator is None or self._generator.gi_frame is None:
            return self._named()
        frame = self._generator.gi_frame
        error = Exception()
        error.__traceback__ = types.TracebackType(None, frame, frame.f_lasti, frame.f_lineno)
        return f"{located(error, self._code, '').partition(': Exception')[0]}: {self._function.__name__}()"

    def _named(self) -> str:
        return _named(self._function, self._code, self._reference)


def checked_scores(item: Mapping[Any, Any], where: str) -> dict[str, float]:
    """Return reported metrics as name → number.

    Args:
        where: the beginning of an error message.

    Raises:
        StepError: a name or a value is not valid.
    """
    if len(item) > MAX_METRICS:
        raise StepError(f"{where} {len(item):,} metrics; at most {MAX_METRICS} are allowed")
    scores: dict[str, float] = {}
    for name, value in item.items():
        if not isinstance(name, str) or not re.fullmatch(METRIC_PATTERN, name) or len(name) > 100:
            raise StepError(
                f"{where} the name {_short(name)}; a metric may contain letters, digits, spaces and _ - . : / only"
            )
        number = as_number(value)
        if number is None:
            raise StepError(f"{where} {_short(value)} for '{name}'; must be a number")
        scores[name] = number
    return scores


def as_number(value: Any) -> float | None:
    """Return a number, or a single number of NumPy or PyTorch, as a float; None for anything else."""
    if isinstance(value, bool | str | bytes) or value is None:
        return None
    if not isinstance(value, int | float):
        item = getattr(value, "item", None)
        if not callable(item):
            return None
        try:
            value = item()
        except (ValueError, RuntimeError, TypeError):
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _accepted(function: Callable[..., Any], code: TrainingCode, reference: str) -> set[str]:
    """Return the arguments that a function asks for.

    Raises:
        TrainingCodeError: it requires another argument.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # it is no function, or one without a signature
        raise TrainingCodeError(f"{reference}: must be a function in Python, got {_short(function)}") from None
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    where = _named(function, code, reference)
    _check_arguments(where, [p.name for p in named if p.default is p.empty])
    _check_passed_by_name(where, [p.name for p in named if p.kind is p.POSITIONAL_ONLY])
    return {p.name for p in named} & set(ARGUMENTS)


def _named(function: Callable[..., Any], code: TrainingCode, reference: str) -> str:
    """Return the file and line of a function, and its name: `train.py:3: train()`; else what the study file says."""
    name = f"{getattr(function, '__name__', '')}()"
    found = getattr(inspect.unwrap(function), "__code__", None)
    return reference if found is None else f"{shown_path(found.co_filename, code)}:{found.co_firstlineno}: {name}"


def _short(value: Any) -> str:
    text = without_addresses(repr(value))
    return printable(f"{text[:80]}…" if len(text) > 80 else text)
