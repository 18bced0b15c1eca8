"""Rules for studies that train by other code than the engine: sections that do not apply, metrics and placeholders."""

from collections.abc import Iterator, Mapping
from typing import Any

from hpsearch.config.document import KeyPath
from hpsearch.config.hints import hint
from hpsearch.config.spec import CodeTraining, CommandTraining, EstimatorTraining, Metric, ModelSpec
from hpsearch.config.spec.objective import KINDS, PLACEHOLDERS
from hpsearch.core.space import Parameter
from hpsearch.data.sources.base import Source


def code_errors(sections: Mapping[str, Any], train: CodeTraining) -> Iterator[tuple[KeyPath, str]]:
    """Yield the errors of a study that trains by other code than the engine.

    Args:
        sections: name → validated section, or None for an invalid one.
    """
    kind = next(key for key, cls in KINDS.items() if isinstance(train, cls))
    article = "an" if kind == "estimator" else "a"
    if sections.get("model") not in (None, ModelSpec()):
        yield ("model",), f"describes networks of the engine, but {article} {kind} trains; remove it"
    if sections.get("ensemble") is not None:
        yield ("ensemble",), f"is selected from networks of the engine, but {article} {kind} trains; remove it"
    if sections.get("baselines") and sections.get("data") is None:
        yield ("baselines",), "are fitted to the rows of data, which is missing"
    yield from _metric_errors(sections.get("metric"), train)
    if isinstance(train, CommandTraining):
        yield from _command_errors(sections.get("parameters") or {}, sections.get("data"), train)


def _metric_errors(metric: Metric | None, train: CodeTraining) -> Iterator[tuple[KeyPath, str]]:
    if metric is None or isinstance(train, EstimatorTraining):
        return
    if not metric.is_known and metric.goal is None:
        yield ("metric", "goal"), f"missing; minimize or maximize {metric.name}"
    if metric.positive is not None:
        yield ("metric", "positive"), "is for metrics that are computed here; your own code computes this one"


def _command_errors(
    parameters: Mapping[str, Parameter | None], data: Source | None, train: CommandTraining
) -> Iterator[tuple[KeyPath, str]]:
    path: KeyPath = ("train", "command")
    names = train.placeholders
    known = [*parameters, *PLACEHOLDERS]
    for name in sorted(names - set(known)):
        yield path, f"unknown placeholder {{{name}}}{hint(name, known)}"
    for name in parameters:
        if name in PLACEHOLDERS:
            yield ("parameters", name), f"{{{name}}} has a meaning of its own in a command; rename the parameter"
        elif name not in names:
            yield ("parameters", name), f"not used by the command; add an argument with {{{name}}}"
    if data is not None:
        yield ("data",), "is not passed to a command, which reads its own data; remove it"
