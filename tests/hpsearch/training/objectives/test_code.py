"""The code of a study: which files belong to it, what a change does, and where the function is."""

import re
import sys
from pathlib import Path

import pytest
from code_cases import content, own_spec, task_of, write_code

from hpsearch.config.load import restore_spec
from hpsearch.errors import SpecError, TrainingCodeError
from hpsearch.training.objectives.code import (
    changed_files,
    definition,
    find_code,
    kept_sources,
    load_object,
    split_reference,
    without_addresses,
)


def names(folder: Path, **train: object) -> list[str]:
    spec = own_spec(train={"function": "train.py:train", **train})
    return [name for name, _ in find_code(spec, folder).files]


def test_files_of_a_study(tmp_path: Path) -> None:
    for name in ("train.py", "src/a.py", "src/deep/b.py", "src/c.txt", "data.csv"):
        write_code(tmp_path, "x = 1\n", name)
    assert names(tmp_path) == ["train.py"]
    assert names(tmp_path, uses=["src/**.py", "data.csv"]) == ["data.csv", "src/a.py", "src/deep/b.py", "train.py"]
    assert names(tmp_path, uses=["src/*"]) == ["src/a.py", "src/c.txt", "train.py"]
    for pattern, message in (("absent.csv", "no such file"), ("nothing/*.py", "no file matches 'nothing/*.py'")):
        with pytest.raises(TrainingCodeError, match=rf"train.uses: .*{re.escape(message)}"):
            names(tmp_path, uses=[pattern])


def test_missing_code(tmp_path: Path) -> None:
    with pytest.raises(TrainingCodeError, match=r"train.function: .*/train.py: no such file"):
        names(tmp_path)
    with pytest.raises(TrainingCodeError, match=r"train.function: there is no module 'absent_package.module'"):
        names(tmp_path, function="absent_package.module:train")


def test_a_change_is_found(tmp_path: Path) -> None:
    task = task_of(tmp_path, "def train(): return 1.0\n")
    assert changed_files(task.code) == [] and len(task.code.digest) == 16
    load_object("train.py:train", task.code)
    write_code(tmp_path, "def train(): return 2.0\n")
    assert changed_files(task.code) == ["train.py"]
    load_object.cache_clear()
    with pytest.raises(TrainingCodeError, match=r"train.py: has changed since the study began"):
        load_object("train.py:train", task.code)
    (tmp_path / "train.py").unlink()
    assert changed_files(task.code) == ["train.py"]


def test_kept_sources_are_small_texts(tmp_path: Path) -> None:
    write_code(tmp_path, "x\0", "binary.bin")
    (tmp_path / "large.csv").write_bytes(b"x" * (1 << 20))
    task = task_of(tmp_path, "def train(): return 1.0\n", train={"uses": ["binary.bin", "large.csv"]})
    assert len(task.code.files) == 3 and list(kept_sources(task.code)) == ["train.py"]


@pytest.mark.parametrize("name", ["json.py", "my-code.py", "código.py", "sub folder/train.py", "numpy_like/json.py"])
def test_files_of_any_name(tmp_path: Path, name: str) -> None:
    """A file named like a module of Python's library does not replace it."""
    code = f"from pathlib import Path\ndef train(): return float(Path(__file__).name == {Path(name).name!r})\n"
    write_code(tmp_path, code, name)
    before = sys.modules["json"]
    task = task_of(tmp_path, train={"function": f"{name}:train"})
    assert load_object(f"{name}:train", task.code)() == 1.0 and sys.modules["json"] is before


def test_modules_beside_the_file(tmp_path: Path) -> None:
    write_code(tmp_path, "VALUE = 7.0\n", "beside_the_file.py")
    task = task_of(tmp_path, "from beside_the_file import VALUE\ndef train(): return VALUE\n")
    assert load_object("train.py:train", task.code)() == 7.0


def test_a_link_to_the_code(tmp_path: Path) -> None:
    write_code(tmp_path / "real", "def train(): return 1.0\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    task = task_of(tmp_path / "link")
    assert task.code.files[0][0] == "train.py" and load_object("train.py:train", task.code)() == 1.0


def test_definitions(tmp_path: Path) -> None:
    task = task_of(tmp_path, "from json import loads as read\ndef train(): pass\ntrain2 = train\n")
    for name, found in (("train", True), ("train2", False), ("read", False)):
        shown, statement = definition(f"train.py:{name}", task.code)
        assert shown == "train.py" and (statement is not None) == found
    with pytest.raises(TrainingCodeError, match=r"train.py: has no 'tran'; did you mean 'train'"):
        definition("train.py:tran", task.code)
    assert definition("math:sqrt", task.code) == ("math", None)


def test_references_and_addresses() -> None:
    assert split_reference("a/b.py:f") == ("a/b.py", "f")
    assert split_reference("p.m:f") == split_reference("p.m.f") == ("p.m", "f")
    assert without_addresses("<f at 0x7fA0> at 0") == "<f> at 0"


COMMAND = {"command": ["sh", "{rate}"]}
WRONG = [
    ({"train": {"command": ["sh", "{rato}", "{rate}"]}}, "unknown placeholder {rato}; did you mean 'rate'?"),
    ({"train": {"command": ["sh"]}}, "parameters.rate: not used by the command; add an argument with {rate}"),
    ({"train": {"command": ["sh", "{rate"]}}, "write {{ and }} for braces"),
    ({"train": {"command": ["sh", "{rate:3}"]}}, "a placeholder must be {NAME}"),
    ({"train": {"command": []}}, "train.command"),
    ({"train": {**COMMAND, "epochs": 2}}, "epochs above 1 needs an argument {epochs}"),
    ({"train": {**COMMAND, "function": "a.py:b"}}, "train"),
    ({"train": COMMAND, "data": {"source": "sklearn", "name": "iris"}}, "data: is not passed to a command"),
    (
        {"train": {"command": ["sh", "{seed}"]}, "parameters": {"seed": {"min": 1, "max": 2}}},
        "has a meaning of its own",
    ),
    ({"model": {"hidden": [{"units": 3}]}}, "model: describes networks of the engine, but a function trains"),
    ({"ensemble": {"size": 3}}, "ensemble: is selected from networks of the engine, but a function trains"),
    ({"metric": {"name": "regret"}}, "metric.goal: missing; minimize or maximize regret"),
    ({"train": {"function": "train.py"}}, "train.function"),
    ({"train": {"optimizer": "sgd"}}, "data"),
    ({"train": {"function": "a.py:b", "memory": "2 pounds"}}, "must be a size such as 500MB or 2GB"),
    ({"train": {"function": "a.py:b", "timeout": "soon"}}, "must be a duration such as 90s"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[m[:30] for _, m in WRONG])
def test_mistakes_in_the_study_file(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        restore_spec(content(**changes), "study.yaml")
    assert message in str(caught.value)
