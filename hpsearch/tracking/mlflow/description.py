"""The Markdown description of a study that MLflow shows on the experiment's page."""

import re
from collections.abc import Iterator

from hpsearch.config.spec import Choice, ModelSpec, Spec, Train
from hpsearch.core.space import Fixed, Range, Value, Values
from hpsearch.core.text import format_count, format_value, masked, printable
from hpsearch.storage.access.names import command_arguments
from hpsearch.storage.records import Trial
from hpsearch.tracking.base import StudyInfo
from hpsearch.tracking.mlflow.saved_view import ALL_RUNS_VIEW, view_link

MAX_DESCRIPTION = 15_000  # characters; MLflow accepts 20,000
SIGNATURE = "*Written by hpsearch. Remove this line to keep your own text.*"
_CODE = re.compile(r"[\w ./,:;@%+=^()\[\]'\"{}?$~-]+")


def description(study: StudyInfo, experiment: str, best: Trial | None = None, registered: str | None = None) -> str:
    """Describe the search, the best trial, and the commands that resume the study and load the model.

    Args:
        experiment: id of the experiment.
        best: the champion with its test scores, or the best trial so far.
        registered: name of the registered model.
    """
    lines = [*_search(study), "", *_best(study.spec, best), "", *_commands(study, experiment, registered)]
    text = "\n".join(lines)
    if len(text) > MAX_DESCRIPTION:
        text = text[:MAX_DESCRIPTION].rpartition("\n")[0] + "\n\n…"
    return f"{text}\n\n{SIGNATURE}"


def code(text: str) -> str:
    """Return Markdown that shows a text literally."""
    text = printable(masked(text))
    return f"`{text}`" if _CODE.fullmatch(text) else escaped(text)


def escaped(text: str) -> str:
    """Return a text with all Markdown and HTML characters escaped."""
    return re.sub(r"[^A-Za-z0-9 .,;]", lambda match: f"&#{ord(match[0])};", printable(masked(text)))


def _search(study: StudyInfo) -> Iterator[str]:
    spec = study.spec
    size = ", ".join(f"{count:,} {what}" for what, count in study.data_size.items())
    yield f"**Study {escaped(spec.name)}**, metric {code(spec.metric.name)}, seed {spec.seed}"
    yield ""
    if spec.data is not None:
        yield f"- Data: {code(study.data_name)} ({spec.data.source}){f', {size}' if size else ''}"
    if isinstance(spec.train, Train):
        yield f"- Model: {code(_model(spec.model))}"
        yield f"- Training: {code(_choice(spec.train.optimizer))}, up to {spec.train.epochs} epochs"
    else:
        yield f"- Training: {code(spec.train.described)}, up to {format_count(spec.train.epochs, 'step')}"
    for stage in spec.stages:
        how = stage.how if stage.confirms else f"{stage.size}, {stage.how}"
        yield f"- Stage {code(stage.name)}: {how}{', in a narrowed range' if stage.zoom else ''}"
    if spec.parameters:
        yield from ("", "| parameter | range | scale |", "|---|---|---|")
    for name, parameter in spec.parameters.items():
        yield f"| {code(name)} | {format_domain(parameter)} | {_scale(parameter)} |"


def format_domain(parameter: Range | Values | Fixed) -> str:
    """Return the values of a parameter: `0.001 … 1` or `16, 32`."""
    if isinstance(parameter, Range):
        return f"{_number(parameter.min)} … {_number(parameter.max)}"
    return ", ".join(map(_number, parameter.values if isinstance(parameter, Values) else (parameter.value,)))


def _scale(parameter: Range | Values | Fixed) -> str:
    if isinstance(parameter, Range):
        return f"{code(parameter.scale)}{', integers' if parameter.type == 'int' else ''}"
    if isinstance(parameter, Fixed):
        return "fixed"
    return "ordered values" if parameter.ordered else "values"


def _best(spec: Spec, best: Trial | None) -> Iterator[str]:
    if best is None:
        yield "**Best trial**: no trial is complete yet."
        return
    yield f"**Best trial**: {code(best.label)}"
    yield ""
    scores = {k: v for k, v in best.metrics.items() if k.startswith(("val/", "test/"))}
    yield from (f"- {code(k)} {_number(v)}" for k, v in ({spec.metric.name: best.value or 0.0} | scores).items())
    yield from (f"- {code(k)} = {_number(v)}" for k, v in best.point.items())


def _commands(study: StudyInfo, experiment: str, registered: str | None) -> Iterator[str]:
    named = study.spec.name if study.shared else None
    database = command_arguments(study.properties.get("database", "DATABASE"), named)
    main, all_runs = view_link("", experiment), view_link("", experiment, ALL_RUNS_VIEW)
    yield f"Charts: [the study]({main}), [all trials]({all_runs})."
    yield ""
    yield f"Resume: {code(f'hpsearch resume {database}')}"
    yield ""
    yield f"Export the best model: {code(f'hpsearch export {database} --to model/')}, then in Python"
    yield from ("", "```python", "import hpsearch", 'hpsearch.load_model("model/").predictions(frame)', "```")
    if registered is not None:
        yield from ("", "or from MLflow's model registry", "", "```python", "import mlflow")
        yield from (f'mlflow.pyfunc.load_model("models:/{registered}@champion").predict(frame)', "```")


def _model(model: ModelSpec) -> str:
    """Return the model in one line: `hidden_units relu, dropout 0.5`."""
    if model.layers is not None:
        return " → ".join(map(_choice, model.layers)) or "linear"
    layers = [
        f"{h.units} {_choice(h.activation)}"
        + (", batch norm" if h.batch_norm else "")
        + (f", dropout {h.dropout}" if h.dropout else "")
        for h in model.hidden
    ]
    depth = "" if model.depth is None else f", depth {model.depth}"
    return (" → ".join(layers) or "linear") + depth


def _choice(choice: Choice) -> str:
    """Return a component in one line: `conv2d(channels=filters, kernel=5)`."""
    settings = ", ".join(f"{k}={v}" for k, v in choice.settings.items() if not isinstance(v, list | dict))
    return f"{choice.name}({settings})" if settings else choice.name


def _number(value: Value) -> str:
    """Format a value; text is escaped."""
    return format_value(value) if isinstance(value, float) else escaped(str(value))
