"""Study files as YAML 1.2: refused files, numbers and words, lines, and `--set`."""

from pathlib import Path

import pytest

from hpsearch.config.load import load_spec
from hpsearch.errors import SpecError
from tests.hpsearch.config.test_load import BASE, load, refused, study

__all__ = ["study"]


# Files that are no study file, and text of the message.
FILES: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["study.yaml", "got nothing"]),
    "comment alone": (b"# nothing\n", ["got nothing"]),
    "list": (b"- a\n- b\n", ["at the top level"]),
    "text": (b"just words\n", ["at the top level"]),
    "number": (b"7\n", ["at the top level"]),
    "duplicate key": (b"name: a\nseed: 1\nname: b\n", ["study.yaml:3", "name"]),
    "duplicate inner key": (b"name: a\nmetric:\n  name: x\n  name: y\n", ["study.yaml:4", "name"]),
    "two documents": (b"name: a\n---\nname: b\n", ["study.yaml:2", "malformed YAML"]),
    "open bracket": (b"name: a\nstages: [1, 2\n", ["malformed YAML", "study.yaml:"]),
    "two colons": (b"name: a: b\n", ["study.yaml:1", "malformed YAML"]),
    "tab": (b"name: a\n\tseed: 1\n", ["study.yaml:2", "malformed YAML"]),
    "indentation": (b"data:\n    a: 1\n  b: 2\n", ["study.yaml:3", "malformed YAML"]),
    "unknown alias": (b"name: a\nseed: *x\n", ["study.yaml:2", "'x'"]),
    "alias of itself": (b"name: &a [*a]\n", ["study.yaml"]),
    "control character": (b"name: \x01\n", ["malformed YAML"]),
    "binary": (bytes(range(256)) * 4, ["study.yaml", "UTF-8"]),
    "UTF-16": ("name: a\n".encode("utf-16"), ["study.yaml", "UTF-8"]),
    "laughs": (
        b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        + b"".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n".encode() for n in range(1, 10)),
        ["study.yaml", "aliases"],
    ),
    "deep": (b"name: " + b"[" * 5000 + b"]" * 5000 + b"\n", ["study.yaml"]),
    "long": (b"#" * 1_000_001, ["study.yaml", "1,000,000 bytes"]),
    "merge alone": (b"<<: {name: a}\n", ["study.yaml"]),
    "complex key": (b"? [a, b]\n: c\n", ["study.yaml"]),
    "date": (b"name: 2001-01-01\n", ["study.yaml:1: name"]),
    "tag": (b"name: !thing a\nseed: !!python/object:os.system 1\n", ["study.yaml"]),
    "source in a list": (b"name: a\ndata: {source: [sklearn]}\n", ["study.yaml:2: data.source"]),
    "huge bound": (
        BASE.replace("max: 1.0", f"max: 1{'0' * 400}").encode(),
        ["study.yaml:21: parameters.learning_rate"],
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_invalid_files(study: Path, case: str) -> None:
    data, fragments = FILES[case]
    study.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        load_spec(study)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_version_directives(study: Path) -> None:
    """A directive does not turn 1e-4 into text: the file is refused, or read as YAML 1.2, without a warning."""
    try:
        spec, _ = load(study, "%YAML 1.1\n---\n" + BASE)
    except SpecError as error:
        assert "study.yaml" in str(error)
    else:
        assert spec.parameters["learning_rate"].min == 1e-4


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml", tmp_path / "none" / "a.yaml", tmp_path / ("a" * 300)):
        with pytest.raises(SpecError, match="cannot be read") as caught:
            load_spec(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E-4", 1e-4),
        ("1e4", 1e4),
        ("1.0e-4", 1e-4),
        (".5", 0.5),
        ("1e+2", 100.0),
        ("1", 1),
        ("0.25", 0.25),
    ],
)
def test_numbers_of_yaml_1_2(study: Path, text: str, value: float) -> None:
    spec, _ = load(study, BASE.replace("l2: {min: 1e-7, max: 1e-1, scale: log}", f"l2: {text}"))
    got = spec.parameters["l2"].value
    assert got == value and type(got) is type(value)


def test_words_of_yaml_1_1_are_text(study: Path) -> None:
    """In YAML 1.2 `no` and `on` are text, and 010 is ten."""
    spec, _ = load(study, BASE.replace("name: digits\nseed: 7", "name: no\nseed: 010"))
    assert (spec.name, spec.seed) == ("no", 10)


def test_set(study: Path) -> None:
    spec, _ = load(
        study,
        BASE,
        "stages.0.trials=8",
        "metric.name=val/accuracy",
        "metric.goal=maximize",
        "workers=3",
        "seed=8",
        "parameters={learning_rate: {min: 1e-3, max: 1}, hidden_units: 12}",
        "parameters.learning_rate.max=1e-2",
    )
    assert spec.stages[0].trials == 8 and spec.seed == 8 and spec.workers == 3
    assert spec.metric.sign == -1
    assert (spec.parameters["learning_rate"].min, spec.parameters["learning_rate"].max) == (1e-3, 1e-2)
    assert set(spec.parameters) == {"learning_rate", "hidden_units"}


@pytest.mark.parametrize(
    "assignment",
    [
        "",
        "=",
        "seed",
        "=3",
        "stages.9.trials=3",
        "stages.x=3",
        "seed.x=3",
        "seed.x.y=3",
        "stages.0.trials=[3",
        "sed=3",
        "seed=&a [*a]",
        "seed=" + "[" * 60 + "]" * 60,
        "parameters." + "a." * 3000 + "b=3",
        "seed=",
        "seed=many",
        "a..b=3",
        ".=3",
        "stages.0.trial=3",
    ],
)
def test_set_is_refused(study: Path, assignment: str) -> None:
    """The message names --set."""
    with pytest.raises(SpecError) as caught:
        load(study, BASE, assignment)
    assert caught.value.mistakes


def test_mistakes_of_set_name_it(study: Path) -> None:
    assert refused(study, BASE, "stages.0.trials=0")[0].startswith("--set: stages.0.trials")
