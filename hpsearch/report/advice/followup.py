"""The follow-up of a study: a study file with the changes that its advice proposes, and its best point as guesses."""

import copy
import re
import shlex
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hpsearch.config.diff import changed_sections
from hpsearch.config.load import spec_from_mapping
from hpsearch.config.spec import Spec
from hpsearch.core.atomic import write_atomic
from hpsearch.errors import OutputError, SpecError
from hpsearch.report.advice.change import Advice, ProposedChange
from hpsearch.report.advice.collect import advise

if TYPE_CHECKING:
    from hpsearch.study.summary import Summary

_NUMBERED = re.compile(r"(.*)-(\d{1,6})")


class FollowUp(NamedTuple):
    """A follow-up study.

    Attributes:
        name: its name.
        text: its study file; None if no advice changes the study file.
        spec: its spec; that of the study without a file.
        made: the advice whose changes were made.
        left: changes that a person must decide on.
    """

    name: str
    text: str | None
    spec: Spec
    made: list[tuple[Advice, list[ProposedChange]]]
    left: list[ProposedChange]


def follow_up(summary: "Summary") -> FollowUp:
    """Return the study file that follows from the advice on a study.

    A change that would make the file invalid is left to a person.
    """
    name = _next_name(summary.spec.name)
    content = _content(summary.spec) | {"name": name}
    made: list[tuple[Advice, list[ProposedChange]]] = []
    left: list[ProposedChange] = []
    for advice in advise(summary):
        certain = [c for c in advice.changes if c.certain]
        left += [c for c in advice.changes if not c.certain]
        if not certain:
            continue
        changed = copy.deepcopy(content)
        for change in certain:
            _apply(changed, change)
        try:
            spec_from_mapping(changed, name)
        except SpecError:
            left += certain
        else:
            content = changed
            made.append((advice, certain))
    _add_guesses(content, summary)
    spec, _ = spec_from_mapping(content, name)
    if not made:
        return FollowUp(name, None, summary.spec, made, left)
    return FollowUp(name, _text(summary, content, made), spec, made, left)


def _next_name(name: str) -> str:
    numbered = _NUMBERED.fullmatch(name)
    return f"{numbered[1]}-{int(numbered[2]) + 1}" if numbered else f"{name}-2"


def _content(spec: Spec) -> dict[str, Any]:
    """Return a spec as the content of a short study file, without defaults."""
    content = spec.model_dump(mode="json", exclude_defaults=True)
    if spec.data is not None:
        content["data"] = {"source": spec.data.source, **content.get("data", {})}
    content["parameters"] = {
        name: given["value"] if isinstance(given, dict) and given.keys() == {"value"} else given
        for name, given in spec.model_dump(mode="json", exclude_defaults=True)["parameters"].items()
    }
    order = [key for key in Spec.model_fields if key in content]
    return {key: _short(content[key]) if key in ("model", "train") else content[key] for key in order}


def _short(value: Any) -> Any:
    """Return content with choices in their short form: `relu`, or `{name: cosine, end: 0.01}`."""
    if isinstance(value, list):
        return [_short(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "name" in value and value.keys() <= {"name", "settings"}:
        return {"name": value["name"], **_short(value["settings"])} if value.get("settings") else value["name"]
    return {key: _short(item) for key, item in value.items()}


def _apply(content: dict[str, Any], change: ProposedChange) -> None:
    """Make a change; the words of its key are keys of mappings or indexes of lists."""
    *outer, last = change.key.split(".", 1) if change.key.startswith("parameters.") else change.key.split(".")
    inner: Any = content
    for word in outer:
        inner = inner[int(word)] if isinstance(inner, list) else inner.setdefault(word, {})
    inner[int(last) if isinstance(inner, list) else last] = copy.deepcopy(change.new)


def _add_guesses(content: dict[str, Any], summary: "Summary") -> None:
    """Add the champion's values as guesses, which the first trials and a share of the others look near."""
    best = summary.champion
    for name, given in content["parameters"].items():
        value = None if best is None else best.point.get(name)
        if not isinstance(given, dict) or value is None:
            continue
        given.pop("guess", None)
        values = given.get("values")
        if values is not None:
            inside = value in values
        else:
            inside = not isinstance(value, str | bool) and given["min"] <= value <= given["max"]
        if inside:
            given["guess"] = float(f"{value:.6g}") if isinstance(value, float) and values is None else value
        if values is None and inside and not given["min"] <= given["guess"] <= given["max"]:
            given["guess"] = value  # rounded beyond an end


def _text(summary: "Summary", content: dict[str, Any], made: list[tuple[Advice, list[ProposedChange]]]) -> str:
    """Return the study file, with the reasons of its changes as comments."""
    from ruamel.yaml import YAML

    from hpsearch.core.text import printable

    best = f" Its best point, of {summary.champion.label}, is the guess." if summary.champion else ""
    lines = [f"# Follows the study {summary.spec.name}.{best}"]
    for advice, changes in made:
        lines += [f"# {printable(f'{advice.evidence}.', 1000)}", *(f"#   {printable(str(c), 1000)}" for c in changes)]
    text, yaml = StringIO(), YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # short lists and mappings on one line
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # keep the order of keys
    yaml.width = 110
    yaml.dump(content, text)
    return "\n".join([*lines, text.getvalue()])


def write_follow_up(found: FollowUp, out: Path) -> None:
    """Write the study file.

    Raises:
        OutputError: the file exists or cannot be written.
    """
    if out.exists():
        raise OutputError(f"{out}: exists; name another file with --out")
    write_atomic(out, found.text or "", replace=False)


def follow_up_lines(found: FollowUp, parent: Spec, out: Path, database: str) -> list[str]:
    """Return what `hpsearch next` prints.

    Args:
        parent: spec of the study that is followed.
        database: the database as an argument of a command.
    """
    lines = [f"  {change}" for _, changes in found.made for change in changes]
    if found.left:
        lines += ["For you to decide, not changed:", *(f"  {change}" for change in found.left)]
    if found.text is None:
        return ["The trials give no reason to change the study file; nothing is written.", *lines]
    run = f"hpsearch run {shlex.quote(str(out))}"
    lines = [f"{out}: written, with these changes", *lines, f"Run it: {run}"]
    if not changed_sections(parent, found.spec):
        arguments = f"--set name={shlex.quote(parent.name)} --storage {database} --fork {shlex.quote(found.name)}"
        lines.append(f"Or with the trials of {parent.name}: {run} {arguments}")
    return lines
