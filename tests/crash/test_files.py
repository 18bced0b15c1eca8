"""No study file ends in a traceback: broken files written by hand, and many random ones.

For any bytes, reading gives a spec that survives the database, or one message that names the file and the mistake, in
printable characters, of readable length, within seconds.
"""

import copy
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import cases
import paths
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hpsearch.config import yaml_text
from hpsearch.config.load import load_spec, restore_spec
from hpsearch.config.spec import Spec
from hpsearch.errors import HpsearchError, SpecError
from tests.hpsearch import test_cli

call = test_cli.call
CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
STUDIES = sorted((paths.STUDIES).glob("*.yaml"))
SOUND = {"bom_utf8", "line_ends_cr", "line_ends_crlf"}  # files of the corpus
SLOWEST = 4.0  # times the YAML library's own time for the largest allowed file, measured on this machine
SOON = 0.3  # seconds that are always allowed
HANGS = 30
LONGEST = 20_000  # characters of a message


def harmless(text: str) -> bool:
    """Return whether a text has no terminal control characters and no lone surrogates."""
    return all(c.isprintable() for line in text.split("\n") for c in line)


@contextmanager
def in_time() -> Iterator[None]:
    """Compare the time with the library's own time for a large file; end what hangs."""

    def hang(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("hangs")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANGS)
    begun = time.process_time()
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    spent = time.process_time() - begun
    assert spent < SOON or any(spent < SLOWEST * library() for _ in range(3))  # times vary


def library() -> float:
    """Return the CPU seconds of any reader for a file with as many values as are allowed."""
    text = json.dumps([f"value{n}" for n in range(yaml_text.MAX_NODES)])
    begun = time.process_time()
    YAML(typ="safe", pure=True).load(text)
    return time.process_time() - begun


def judged(path: Path, *overrides: str) -> Spec | None:
    """Return the spec, or None after one valid message. Every other exception fails the test."""
    message, notices, spec = "", [], None
    with in_time():
        try:
            spec, notices = load_spec(path, overrides)
        except HpsearchError as error:
            message = str(error)
    if spec is None:
        assert message and harmless(message) and len(message) < LONGEST
        assert all(str(path) in line or "--set" in line or line.startswith("… and ") for line in message.split("\n"))
        return None
    assert all(harmless(n) and len(n) < LONGEST for n in notices)
    stored = json.dumps(spec.model_dump(mode="json"), allow_nan=False)
    assert restore_spec(json.loads(stored), "the database") == spec
    return spec


@pytest.mark.parametrize("file", CORPUS, ids=lambda p: p.stem)
def test_corpus(file: Path, call: test_cli.Call, tmp_path: Path) -> None:
    """In this process and by the command; no code in the file runs."""
    spec = judged(file)
    assert (spec is not None) == (file.stem in SOUND)
    said = call("check", file)
    assert said.code == (0 if spec else 2) and harmless(said.out + said.err) and "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_corpus_exists() -> None:
    assert len(CORPUS) >= 100


# Some files of the corpus: the place and the reason in the message.
REASONS = {
    "tag_system": ":1: name: tags are not supported; remove '!!python/object/apply:os.system'",
    "tag_handle": "remove the line that begins with %",
    "directive_late": "remove the line that begins with %",
    "binary_scalar": ":1: name: tags are not supported; remove '!!binary'",
    "timestamp": ":1: name: must not be a date",
    "duplicate_keys": ":2: name: given twice, first in line 1",
    "duplicate_numbers": ":2: 1: given twice",
    "int_huge": ":4: parallel: must lie within ±1e300",
    "int_300": ":4: parallel: must lie within ±1e300",
    "float_overflow": ":4: train.l2: ",
    "merge_itself": "data: contains itself",
    "alias_itself": "contains itself",
    "laughs": "aliases expanded",
    "laughs_merged": "aliases expanded",
    "deep_flow": "nested more than 50 levels deep",
    "key_map": "a key must be text, not a list or mapping",
    "escape": "malformed YAML",
    "surrogates": "unknown key '\\udc80'",
    "right_to_left": "\\u202egnp.exe",
    "empty": "got nothing",
    "list": "got a list",
    "text": "got a single value",
    "png": "must be UTF-8 text",
}


@pytest.mark.parametrize("name", REASONS)
def test_reasons(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(CORPUS[0].parent / f"{name}.yaml")
    assert REASONS[name] in str(caught.value)


def test_merge_keys(tmp_path: Path) -> None:
    """Own keys override those of `<<`, and earlier mappings override later ones; a mistake is where it is written."""
    path = tmp_path / "a.yaml"
    path.write_text(
        "name: a\n"
        "parameters:\n"
        "  learning_rate: &rate {min: 1e-3, max: 1, scale: log}\n"
        "  l2: &l2 {max: 0.5, scale: linear, min: 0.25}\n"
        "  l1: {<<: [*l2, *rate], max: 2}\n"
        "data: {source: sklearn, name: iris}\n"
        "stages: [{name: one, trials: 2}]\n"
    )
    spec = judged(path)
    assert spec is not None
    l1 = spec.parameters["l1"]
    assert (l1.min, l1.max, l1.scale) == (0.25, 2, "linear")  # type: ignore[union-attr]
    path.write_text(path.read_text().replace("min: 0.25", "mni: 0.25"))
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert f"{path}:4: parameters.l1.mni: unknown key" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("folder", "it is a folder"),
        ("pipe", "a pipe"),
        ("device", "a device"),
        ("link to itself", "cannot be read"),
        ("link to nothing", "cannot be read"),
        ("zero byte", "cannot be read"),
        ("long name", "cannot be read"),
        ("very long name", "cannot be read"),
        ("other bytes", "cannot be read"),
        ("control characters", "\\x1b[31m"),
        ("not allowed", "cannot be read"),
    ],
)
def test_paths_that_are_no_files(kind: str, message: str, tmp_path: Path, call: test_cli.Call) -> None:
    path = tmp_path / "study.yaml"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case "link to itself":
            path.symlink_to(path)
        case "link to nothing":
            path.symlink_to(tmp_path / "nothing")
        case "zero byte":
            path = tmp_path / "a\0b.yaml"
        case "long name":
            path = tmp_path / ("x" * 300)
        case "very long name":
            path = Path("x" * 10_000)
        case "other bytes":
            path = tmp_path / os.fsdecode(b"\xff\xfe.yaml")
        case "control characters":
            path = tmp_path / "\x1b[31m\u202e\n.yaml"
            path.write_text("name: 3\n")
        case "not allowed":
            path.touch(0o000)
            if os.access(path, os.R_OK):
                pytest.skip("root may read everything")
    with in_time(), pytest.raises(SpecError) as caught:
        load_spec(path)
    assert message in str(caught.value) and harmless(str(caught.value)) and len(str(caught.value)) < 5_000
    if kind != "zero byte":  # impossible on a command line
        said = call("check", path)
        assert said.code == 2 and harmless(said.err) and message in said.err


# Small files that would take long.
LARGE: dict[str, Any] = {
    "values": {"parameters": {"learning_rate": {"values": [n / 9 for n in range(1, 9_000)]}}},
    "values and layers": {
        "parameters": {"learning_rate": {"values": [n / 9 for n in range(1, 7_000)]}},
        "model": {"layers": ["relu"] * 6_000},
    },
    "values and depth": {
        "parameters": {"learning_rate": {"values": [n / 9 for n in range(1, 7_000)]}},
        "model": {"depth": 1000, "hidden": [3]},
    },
    "unknown layers and parameters": {
        "parameters": {f"k{n}": 1 for n in range(3_500)},
        "model": {"layers": [f"layer{n}" for n in range(7_000)]},
    },
    "unknown words": {f"k{n}": 1 for n in range(7_000)},
    "parameters": {"parameters": {f"k{n}": {"min": 1, "max": 2} for n in range(2_400)}},
    "bad values": {"parameters": {"learning_rate": {"values": [None] * 14_000}}},
    "stages": {"stages": [{"name": "one", "trials": 1} for _ in range(2_900)]},
    "points": {"stages": [{"name": "one", "points": [{"l3": 0.5}] * 4_900}]},
    "too many": {"stages": [{"name": "one", "points": [{"l3": 0.5}] * 40_000}]},
    "long names": {"model": {"layers": ["ab" * 100_000 + "c"]}, "parameters": {"ab" * 100: 1}},
}


@pytest.mark.parametrize("case", LARGE)
def test_large(case: str, tmp_path: Path) -> None:
    """Hints are given for as many mistakes as a user can read."""
    path = tmp_path / "large.yaml"
    path.write_text(json.dumps(cases.CONTENT | LARGE[case]))
    assert judged(path) is None or case == "values"


BASES = [
    *(p.read_bytes() for p in STUDIES),
    *(json.dumps(cases.CONTENT | c, indent=1).encode() for c in ({}, cases.RICH)),
]
CONTENTS = [YAML(typ="safe", pure=True).load(base) for base in BASES]
TOKENS = [
    *("&a", "*a", "<<: *a", "!!python/object/apply:os.system", "!!int", "!!float", "!!bool", "!!null", "!!str"),
    *("!!map", "!!seq", "!!set", "!!omap", "!!binary", "!!timestamp", "!!merge", "!a", "!", "? ", ": ", "- "),
    *("|", "|9", "> ", "{", "}", "[", "]", ", ", "#", "%", "%YAML 1.1\n", "---\n", "...\n", "'", '"', "\\"),
    *("\"\\ud800\"", "\"\\U00110000\"", "@", "`", "\x00", "\x1b[31m", "\t", "\r", "\r\n", "\ufeff", "\u2028"),
    *("\x85", "\u202e", "\n", "\n  ", "\n\t", " ", "1e999", ".inf", "-.INF", ".nan", "-", "-_", "0x_", "0o8"),
    *("0b2", "0x1F", "1_000", "010", "9" * 22, "1", "~", "null", "true", "2001-01-01", "12:30:45", "<<", "="),
    *("name: a\n", "a", "name", "stages"),
]  # fmt: skip
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3.5, -0.0, 5e-324, 1e-300, 1e300, 10**18, 10**25, 10**299, -(10**299), 10**301),
    *(float("nan"), float("inf"), "", "a", "none", "full", "auto", "relu", "adam", "learning_rate", "val/loss"),
    *("\x1b[31m", "\u202e", "\ud800", "../x", "x" * 3000, "[red]", "1h", "9" * 40 + "d", "0s", "٣h", "2001-01-01"),
    *([], [[]], [{}], [None], [1], [1, 2, 3], ["relu"], ["x"], [True, 1], [[1, 2]]),
    *({}, {"": {}}, {"name": None}, {"name": "adam"}, {"name": []}, {"a": 1}, {"0": 1}, {"values": []}, {"value": 1}),
    *({"values": [1, True, 1.0]}, {"values": ["a"]}, {"values": [0.1, "x"], "ordered": True}, {"value": None}),
    *({"min": 1, "max": 2}, {"min": 1, "max": float("inf")}, {"low": 1e-3, "high": 1, "log": True}, {"log": []}),
    *({"distribution": "loguniform", "min": 1, "max": 2}, {"name": "dense"}, {"name": "adam", "settings": {}}),
    *({"name": "adam", "settings": 3}, {"name": "residual", "layers": ["relu"]}, {"name": "residual", "layers": []}),
    *({"kind": "hyperband"}, {"kind": "median", "reduction": 3}, {"epoch": 1, "optimizer": "sgd"}),
]  # fmt: skip
KEYS = [
    *("pruning", "duplicates", "max_failed", "parallel", "budget", "workers", "seed", "timeout", "top", "seeds"),
    *("points", "zoom", "name", "min", "max", "kind", "units", "value", "values", "depth", "hidden", "layers", "clip"),
    *("switch", "stop", "augment", "initializer", "shortcut", "log", "distribution", "low", "settings"),
    *("n_startup_trials", "row_sampling"),
    *("l1", "metric", "train", "model", "\x1b[2J", "../x", "<<", "", "x" * 500, "a b"),
]  # fmt: skip


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, inner in (
        content.items() if isinstance(content, dict) else enumerate(content if isinstance(content, list) else ())
    ):
        yield from places(inner, (*path, key))


def part(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


PLACES = [list(places(content)) for content in CONTENTS]
WHICH = st.integers(0, len(CONTENTS) - 1)


@st.composite
def odd(draw: st.DrawFn) -> Any:
    """Draw an odd value, or a part of another study."""
    if draw(st.booleans()):
        return copy.deepcopy(draw(st.sampled_from(ODD)))
    which = draw(WHICH)
    return copy.deepcopy(part(CONTENTS[which], draw(st.sampled_from(PLACES[which]))))


@st.composite
def structures(draw: st.DrawFn) -> bytes:
    """Draw a valid study, some parts of which are replaced, removed, added or renamed."""
    which = draw(WHICH)
    content = copy.deepcopy(CONTENTS[which])
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(content))[1:] or [()]))
        if not path:
            break
        outer, key = part(content, path[:-1]), path[-1]
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "rename"])):
            case "replace":
                outer[key] = draw(odd())
            case "remove":
                del outer[key]
            case "add" if isinstance(outer[key], dict):
                outer[key][draw(st.sampled_from(KEYS))] = draw(odd())
            case "add" if isinstance(outer[key], list):
                outer[key].append(draw(odd()))
            case "rename" if isinstance(outer, dict):
                outer[draw(st.sampled_from(KEYS))] = outer.pop(key)
    return json.dumps(content).encode()


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a valid study with some of them flipped, left out, doubled, or from elsewhere."""
    data = bytearray(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([1, 1, 3, 10, 50])))
        match draw(st.sampled_from(["flip", "remove", "double", "insert", "splice"])):
            case "flip" if start < len(data):
                data[start] ^= 1 << draw(st.integers(0, 7))
            case "remove":
                del data[start:end]
            case "double":
                data[start:start] = data[start:end]
            case "insert":
                data[start:start] = draw(st.sampled_from(TOKENS)).encode()
            case "splice":
                other = draw(st.sampled_from(BASES))
                from_ = draw(st.integers(0, len(other)))
                data[start:end] = other[from_ : from_ + draw(st.sampled_from([1, 10, 60]))]
    return bytes(data)


@st.composite
def assignments(draw: st.DrawFn) -> tuple[bytes, tuple[str, ...]]:
    """Draw a valid study and arguments of `--set`."""
    which = draw(WHICH)
    words = st.sampled_from(["0", "-1", "-9", "²", "١", "9" * 5000, "", "\x1b[31m", "\ud800", *KEYS])
    keys = st.one_of(
        st.sampled_from(PLACES[which]).map(lambda p: ".".join(map(str, p))),
        st.lists(words, max_size=4).map(".".join),
        st.text(max_size=20),
    )
    values = st.one_of(st.sampled_from(ODD).map(json.dumps), st.sampled_from(TOKENS), st.text(max_size=20))
    given_ = draw(st.lists(st.tuples(keys, st.sampled_from(["=", "=", "=", "", "=="]), values), min_size=1, max_size=3))
    return BASES[which], tuple(map("".join, given_))


def alone(strategy: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[bytes, tuple[str, ...]]]:
    return strategy.map(lambda data: (data, ()))


# The strategies, and the default number of examples of each.
MADE: dict[str, tuple[st.SearchStrategy[tuple[bytes, tuple[str, ...]]], int]] = {
    "bytes": (alone(st.binary(max_size=400)), 300),
    "text": (alone(st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass"))), 100),
    "tokens": (alone(st.lists(st.sampled_from(TOKENS), max_size=25).map(lambda t: "".join(t).encode())), 300),
    "mutations": (alone(mutations()), 300),
    "structures": (alone(structures()), 300),
    "assignments": (assignments(), 200),
}
TIMES = 8


@pytest.mark.parametrize("times", [1, pytest.param(TIMES, marks=pytest.mark.soak)], ids=["some", "many"])
@pytest.mark.parametrize("kind", MADE)
def test_generated_files(kind: str, times: int, tmp_path: Path) -> None:
    strategy, count = MADE[kind]
    path = tmp_path / "made.yaml"
    tried = 0

    @settings(max_examples=count * times, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def never_a_traceback(made: tuple[bytes, tuple[str, ...]]) -> None:
        nonlocal tried
        tried += 1
        data, overrides = made
        path.write_bytes(data)
        judged(path, *overrides)

    never_a_traceback()
    assert tried >= count * times


def test_there_are_ten_thousand_examples() -> None:
    assert sum(count for _, count in MADE.values()) * TIMES >= 10_000


@pytest.mark.parametrize("kind", ["mutations", "structures"])
def test_generated_files_by_the_command(kind: str, tmp_path: Path, call: test_cli.Call) -> None:
    """A sample of the generated files."""
    path = tmp_path / "made.yaml"

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @example((BASES[0], ()))
    @given(MADE[kind][0])
    def exit_0_or_2(made: tuple[bytes, tuple[str, ...]]) -> None:
        path.write_bytes(made[0])
        said = call("check", path)
        assert said.code in (0, 2) and (said.code == 2) == said.err.startswith("error: "), said
        assert harmless(said.out + said.err) and "Traceback" not in said.err

    exit_0_or_2()


def test_some_generated_files_are_valid(tmp_path: Path) -> None:
    """Otherwise the tests above would never reach a spec."""
    path, sound = tmp_path / "made.yaml", 0

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(MADE["structures"][0])
    def count(made: tuple[bytes, tuple[str, ...]]) -> None:
        nonlocal sound
        path.write_bytes(made[0])
        sound += judged(path) is not None

    count()
    assert sound >= 3
