"""A study in words, as Markdown: MLflow shows it above the experiment's runs."""

import re
import shlex
from collections.abc import Iterator

from hpsearch.config.spec import Choice, Model, Spec
from hpsearch.core.space import Fixed, Range, Value, Values
from hpsearch.core.text import format_value, masked, printable
from hpsearch.storage.records import Trial
from hpsearch.tracking.base import StudyInfo
from hpsearch.tracking.mlflow.saved_view import EVERY, view_link

LONGEST = 15_000  # characters; MLflow takes 20,000
SIGNED = "*Written by hpsearch, which leaves it alone once this line is gone.*"
_PLAIN = re.compile(r"[\w ./,:;@%+=^()\[\]'\"{}?$~-]+")


def description(subject: StudyInfo, experiment: str, best: Trial | None = None, registered: str | None = None) -> str:
    """What was searched, the best so far, how to go on, how to use the model.

    Args:
        experiment: its id.
        best: the champion with its test scores, or the best trial so far.
        registered: the name under which its model is.
    """
    lines = [*_searched(subject), "", *_best(subject.spec, best), "", *_use(subject, experiment, registered)]
    text = "\n".join(lines)
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition("\n")[0] + "\n\n…"
    return f"{text}\n\n{SIGNED}"


def code(text: str) -> str:
    """A text from a file, shown as it is."""
    text = printable(masked(text))
    return f"`{text}`" if _PLAIN.fullmatch(text) else escaped(text)


def escaped(text: str) -> str:
    """A text in which nothing is Markdown or HTML."""
    return re.sub(r"[^A-Za-z0-9 .,;]", lambda found: f"&#{ord(found[0])};", printable(masked(text)))


def _searched(subject: StudyInfo) -> Iterator[str]:
    spec = subject.spec
    known = ", ".join(f"{count:,} {what}" for what, count in subject.known.items())
    yield f"**Study {escaped(spec.name)}**, seed {spec.seed}: the best {code(spec.metric.name)}"
    yield ""
    yield f"- Data: {code(data_name(spec))} ({spec.data.source}){f', {known}' if known else ''}"
    yield f"- Model: {code(_model(spec.model))}"
    yield f"- Training: {code(_choice(spec.train.optimizer))}, at most {spec.train.epochs} epochs"
    for stage in spec.stages:
        how = stage.how if stage.confirms else f"{stage.trials} trials, {stage.how}"
        yield f"- Stage {code(stage.name)}: {how}{', zoomed' if stage.zoom else ''}"
    if spec.parameters:
        yield from ("", "| parameter | range | scale |", "|---|---|---|")
    for name, parameter in spec.parameters.items():
        yield f"| {code(name)} | {_range(parameter)} | {_scale(parameter)} |"


def _range(parameter: Range | Values | Fixed) -> str:
    if isinstance(parameter, Range):
        return f"{_number(parameter.min)} … {_number(parameter.max)}"
    return ", ".join(map(_number, parameter.values if isinstance(parameter, Values) else (parameter.value,)))


def _scale(parameter: Range | Values | Fixed) -> str:
    if isinstance(parameter, Range):
        return f"{code(parameter.scale)}{', whole numbers' if parameter.type == 'int' else ''}"
    if isinstance(parameter, Fixed):
        return "fixed"
    return "ordered values" if parameter.ordered else "values"


def _best(spec: Spec, best: Trial | None) -> Iterator[str]:
    if best is None:
        yield "**Best so far**: no trial is complete yet."
        return
    yield f"**Best so far**: {code(best.label)}"
    yield ""
    of = {k: v for k, v in best.metrics.items() if k.startswith(("val/", "test/"))}
    yield from (f"- {code(k)} {_number(v)}" for k, v in ({spec.metric.name: best.value or 0.0} | of).items())
    yield from (f"- {code(k)} = {_number(v)}" for k, v in best.point.items())


def _use(subject: StudyInfo, experiment: str, registered: str | None) -> Iterator[str]:
    database = shlex.quote(subject.facts.get("database", "DATABASE"))
    main, every = view_link("", experiment), view_link("", experiment, EVERY)
    yield f"Charts: [the study]({main}), [every trial a point]({every})."
    yield ""
    yield f"Go on: {code(f'hpsearch resume {database}')}"
    yield ""
    yield f"The best model: {code(f'hpsearch export {database} --to model/')}, then in Python"
    yield from ("", "```python", "import hpsearch", 'hpsearch.load_model("model/").predictions(frame)', "```")
    if registered is not None:
        yield from ("", "or from MLflow's registry", "", "```python", "import mlflow")
        yield from (f'mlflow.pyfunc.load_model("models:/{registered}@champion").predict(frame)', "```")


def data_name(spec: Spec) -> str:
    """What people call the rows: a data set's name, a file's, else the kind of their source."""
    given = spec.data.model_dump()
    name = next((given[key] for key in ("name", "path", "id") if given.get(key) is not None), spec.data.source)
    return masked(str(name)).replace("\\", "/").rstrip("/").rpartition("/")[2] or spec.data.source


def _model(model: Model) -> str:
    """In a line: `hidden_units relu, dropout 0.5`."""
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
    """`conv2d(channels=filters, kernel=5)`."""
    settings = ", ".join(f"{k}={v}" for k, v in choice.settings.items() if not isinstance(v, list | dict))
    return f"{choice.name}({settings})" if settings else choice.name


def _number(value: Value) -> str:
    """As everywhere, names escaped."""
    return format_value(value) if isinstance(value, float) else escaped(str(value))
