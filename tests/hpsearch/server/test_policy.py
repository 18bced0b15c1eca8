"""A submitted study uses its uploads and bundled data, and nothing else unless the operator allows it."""

from pathlib import Path
from typing import Any

import cases
import pytest

from hpsearch.config.load import restore_spec
from hpsearch.config.spec import Spec
from hpsearch.errors import SpecError
from hpsearch.server.policy import Policy

FILES = {"table.csv": "0" * 64}


def spec(data: dict[str, Any], **changes: Any) -> Spec:
    return cases.small(data=data, **changes)


CSV = {"source": "csv", "path": "table.csv", "target": "y"}


@pytest.mark.parametrize("data", [CSV, {"source": "sklearn", "name": "iris"}, {**CSV, "test_path": "table.csv"}])
def test_allowed(data: dict[str, Any]) -> None:
    Policy().check(spec(data), FILES)


@pytest.mark.parametrize(
    ("data", "changes", "texts"),
    [
        ({**CSV, "path": "/etc/passwd"}, {}, ["data.path: '/etc/passwd' was not uploaded"]),
        ({**CSV, "path": "../table.csv"}, {}, ["data.path"]),
        (
            {**CSV, "test_path": "other.csv"},
            {},
            ["data.test_path: 'other.csv' was not uploaded with the study; uploaded: table.csv"],
        ),
        ({**CSV, "split": {"file": "split.csv"}}, {}, ["data.split.file"]),
        (
            {"source": "sql", "url": "sqlite:///x.db", "query": "SELECT 1", "target": "y"},
            {},
            ["data.source: source sql is not allowed"],
        ),
        ({"source": "openml", "id": 31}, {}, ["data.source: source openml"]),
        ({**CSV, "target": "${HOME}"}, {}, ["data.target: variables of the environment"]),
        (CSV, {"cluster": "tcp://127.0.0.1:8786"}, ["cluster: is set by the server"]),
        ({"source": "sql", "url": "${X}", "query": "SELECT 1", "target": "y"}, {}, ["data.source", "data.url"]),
    ],
)
def test_refused(data: dict[str, Any], changes: dict[str, Any], texts: list[str]) -> None:
    """All of it is told at once."""
    with pytest.raises(SpecError) as caught:
        Policy().check(spec(data, **changes), FILES)
    assert len(caught.value.mistakes) == len(texts)
    for mistake, text in zip(caught.value.mistakes, texts, strict=True):
        assert str(mistake).startswith(f"study.yaml: {text}")


def test_the_operator_allows_more(tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "link.csv").symlink_to(tmp_path / "secret.csv")
    policy = Policy(data_root=tmp_path / "allowed")
    policy.check(spec({**CSV, "path": str(tmp_path / "allowed" / "table.csv")}), {})
    for outside in ("link.csv", "../secret.csv", "../allowed2/table.csv"):
        with pytest.raises(SpecError):
            policy.check(spec({**CSV, "path": str(tmp_path / "allowed" / outside)}), {})
    with pytest.raises(SpecError):
        policy.check(spec({**CSV, "path": "relative.csv"}), {})
    Policy(any_source=True).check(spec({"source": "openml", "id": 31}), {})


@pytest.mark.parametrize(
    "train", [{"function": "t.py:f"}, {"command": ["sh", "t.sh", "{x}"]}, {"estimator": "sklearn.svm.SVC"}]
)
def test_training_code_needs_permission(train: dict[str, Any]) -> None:
    (kind,) = train
    content = {
        "name": "own",
        "train": train,
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
        "stages": [{"name": "a", "trials": 2}],
        **({"data": CSV} if kind == "estimator" else {}),
    }
    with pytest.raises(SpecError, match=f"train.{kind}: training code is not allowed on this server"):
        Policy().check(restore_spec(content, "own"), FILES)
    Policy(any_source=True).check(restore_spec(content, "own"), FILES)
