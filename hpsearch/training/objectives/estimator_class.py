"""The class of an estimator: found by its name, checked against a study, and created at a point."""

import importlib
import importlib.util
import inspect
from typing import Any

from hpsearch.config.hints import hint
from hpsearch.config.spec import EstimatorTraining, Spec
from hpsearch.core.space import Point, build_space
from hpsearch.core.text import first_line
from hpsearch.data.dataset import Dataset
from hpsearch.errors import TrainingCodeError
from hpsearch.training.network import check_metric
from hpsearch.training.objectives.code import load_object, split_reference
from hpsearch.training.scores import positive_notice
from hpsearch.training.task import TrainingCode

PROBABILITY_METRICS = ("loss", "log_loss", "roc_auc")  # of a classification
_SET_HERE = ("random_state", "n_jobs", "warm_start")


def training_of(spec: Spec) -> EstimatorTraining:
    """Return the section `train` of a study that an estimator trains."""
    assert isinstance(spec.train, EstimatorTraining)
    return spec.train


def estimator_class(spec: Spec, code: TrainingCode) -> Any:
    """Return the class that a study names.

    Raises:
        TrainingCodeError: there is no such class, or its file has changed.
    """
    reference = training_of(spec).estimator
    _check_module(split_reference(reference)[0])
    found = load_object(reference, code)
    if not isinstance(found, type) or not hasattr(found, "fit") or not hasattr(found, "predict"):
        raise TrainingCodeError(f"train.estimator: {reference}: must be a class with fit and predict")
    return found


def check_estimator_class(spec: Spec, dataset: Dataset, code: TrainingCode) -> list[str]:
    """Check that an estimator fits the study, without training it; return messages for the user.

    Raises:
        TrainingCodeError: there is no such class, it has other arguments, or it does not fit the study's task.
        DataError: the metric does not fit the data.
    """
    train, kind = training_of(spec), estimator_class(spec, code)
    check_metric(spec, dataset)
    _check_arguments(spec, dataset, kind)
    _check_steps(spec, kind)
    examples, reason = [], ""
    for point in build_space(spec.parameters).extreme_points():
        try:
            examples.append(create_estimator(spec, dataset, kind, point, 0))
        except Exception as error:  # a value that the class refuses fails its trial
            reason = first_line(error)
    if not examples:
        raise TrainingCodeError(f"train.estimator: {train.estimator}: cannot be created: {reason}")
    _check_task(dataset, train.estimator, kind, examples[0])
    needs = dataset.classes and spec.metric.of in PROBABILITY_METRICS
    if needs and not any(hasattr(example, "predict_proba") for example in examples):
        raise TrainingCodeError(
            f"metric.name: {spec.metric.name} needs probabilities, and {kind.__name__} has no predict_proba; choose a"
            " metric of predicted classes, such as val/accuracy"
        )
    notes = list(filter(None, [positive_notice(spec, dataset)]))
    if train.epochs == 1 and train.grow is None and hasattr(kind, "partial_fit"):
        notes.append(
            f"train.epochs is 1, so a trial of {kind.__name__} is one fit; with more, a step is one partial_fit, which"
            " gives a curve and can be pruned"
        )
    return notes


def create_estimator(spec: Spec, dataset: Dataset, kind: Any, point: Point, seed: int) -> Any:
    """Return an estimator before its first fit; the parameters that no setting of `data` uses are its arguments."""
    names, _ = argument_names(kind)
    arguments = {name: value for name, value in point.items() if name not in dataset.choices}
    own: dict[str, Any] = {"random_state": seed, "n_jobs": 1}
    if training_of(spec).grow is not None:
        own["warm_start"] = True
    own = {name: value for name, value in own.items() if name in names and name not in arguments}
    return kind(**own, **arguments)


def argument_names(kind: Any) -> tuple[dict[str, bool], bool]:
    """Return the arguments of a class → whether they are required, and whether it takes any others too.

    A class that passes arguments on to its base class has those of the base class.
    """
    names: dict[str, bool] = {}
    for base in inspect.getmro(kind):
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                names.setdefault(parameter.name, parameter.default is parameter.empty)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names, False
    return names, True


def _check_module(module: str) -> None:
    """Raise an error that names the part of a module's name that does not exist, with the nearest one."""
    if module.endswith(".py"):
        return
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise TrainingCodeError(f"train.estimator: there is no module '{name}'{_module_hint(parts[:count])}")


def _module_hint(parts: list[str]) -> str:
    if len(parts) == 1:
        return "; install its package, or name a class of scikit-learn"
    import pkgutil

    package = importlib.import_module(".".join(parts[:-1]))
    names = [found.name for found in pkgutil.iter_modules(getattr(package, "__path__", []))]
    return hint(parts[-1], [name for name in names if not name.startswith("_")])


def _check_arguments(spec: Spec, dataset: Dataset, kind: Any) -> None:
    """Check that the study's parameters are arguments of the class."""
    train, (names, takes_any) = training_of(spec), argument_names(kind)
    grow = train.grow or {}
    for name in spec.parameters:
        if name in dataset.choices:
            continue
        if name in grow:
            raise TrainingCodeError(f"parameters.{name}: grows by train.grow in each step; remove one of both")
        if name == "warm_start" and grow:
            raise TrainingCodeError("parameters.warm_start: is true when train.grow is given; remove it")
        if name not in names and not takes_any:
            raise TrainingCodeError(f"parameters.{name}: {kind.__name__} has no such argument{hint(name, list(names))}")
    given = {*spec.parameters, *grow, *_SET_HERE}
    missing = [name for name, required in names.items() if required and name not in given]
    if missing:
        raise TrainingCodeError(
            f"train.estimator: {kind.__name__} needs the argument {missing[0]}; give it in parameters"
        )
    for name in grow:
        if name not in names:
            raise TrainingCodeError(f"train.grow: {kind.__name__} has no argument '{name}'{hint(name, list(names))}")


def _check_steps(spec: Spec, kind: Any) -> None:
    """Check that the class can train in steps if the study asks for more than one."""
    train = training_of(spec)
    if train.grow is not None and "warm_start" not in argument_names(kind)[0]:
        other = "; without train.grow, a step is one partial_fit" if hasattr(kind, "partial_fit") else ""
        raise TrainingCodeError(f"train.grow: {kind.__name__} has no warm_start, so it cannot grow{other}")
    if train.epochs > 1 and train.grow is None and not hasattr(kind, "partial_fit"):
        grows = "warm_start" in argument_names(kind)[0]
        advice = "name the argument that grows in train.grow" if grows else "remove train.epochs"
        raise TrainingCodeError(
            f"train.epochs: is {train.epochs}, but a trial of {kind.__name__} has one step, because the class has no"
            f" partial_fit; {advice}"
        )


def _check_task(dataset: Dataset, reference: str, kind: Any, example: Any) -> None:
    """Check that the estimator is a classifier for classes, and a regressor for values."""
    actual, needed = _kind_of(example), "classifier" if dataset.classes else "regressor"
    if actual in (needed, None):
        return
    module, name = split_reference(reference)
    other = name.replace(str(actual).capitalize(), needed.capitalize())
    counterpart = importlib.import_module(module) if not module.endswith(".py") else None
    known = f"; did you mean '{module}.{other}'?" if other != name and hasattr(counterpart, other) else ""
    target = f"{len(dataset.classes)} classes" if dataset.classes else "numbers"
    raise TrainingCodeError(
        f"train.estimator: {kind.__name__} is a {actual}, but the target of data has {target}{known}"
    )


def _kind_of(example: Any) -> str | None:
    """Return classifier, regressor or another kind of an estimator; None if it does not say."""
    from sklearn.utils import get_tags

    try:
        found = get_tags(example).estimator_type
    except Exception:  # an estimator of another package, with another interface
        found = getattr(example, "_estimator_type", None)
    return None if found is None else str(found)
