"""The recipes for clusters: their commands exist with their options, and schemas accept their files."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from paths import REPOSITORY
from ruamel.yaml import YAML

from hpsearch.cli import commands
from hpsearch.training.executors.dask import connection

FOLDER = Path(connection.__file__).parent
RECIPES = FOLDER / "recipes"


def documents(name: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all((RECIPES / name).read_text("utf-8")))


def of_kubernetes() -> Iterator[list[str]]:
    for document in documents("kubernetes.yaml"):
        for container in document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            yield container["command"] + container.get("args", [])


def of_compose() -> Iterator[list[str]]:
    for service in documents("compose.yaml")[0]["services"].values():
        if command := service.get("command"):
            yield shlex.split(command) if isinstance(command, str) else command


def of_shell(text: str) -> Iterator[list[str]]:
    for line in re.sub(r"^#.*", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines():
        if found := re.search(r"\b((?:dask (?:scheduler|worker)|hpsearch run)\b[^&;]*)", line):
            yield shlex.split(found[1])


COMMANDS = [
    *of_kubernetes(),
    *of_compose(),
    *of_shell((RECIPES / "slurm.sh").read_text("utf-8")),
    *of_shell("\n".join(re.findall(r"```sh\n(.*?)```", (FOLDER / "README.md").read_text("utf-8"), re.DOTALL))),
]


def options_of(program: str, name: str) -> set[str]:
    if program == "hpsearch":
        command: click.Command = commands.commands[name]
    else:
        from distributed.cli import dask_scheduler, dask_worker

        command = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[name]
    return {option for p in command.params for option in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_exist_with_their_options(command: list[str]) -> None:
    program, name, *rest = command
    if program != "mlflow":
        given = {word.partition("=")[0] for word in rest if word.startswith("--")}
        assert given and given <= options_of(program, name)


def test_every_command_is_found() -> None:
    programs = [" ".join(command[:2]) for command in COMMANDS]
    counts = {program: programs.count(program) for program in set(programs)}
    assert counts == {"dask scheduler": 4, "dask worker": 4, "hpsearch run": 3, "mlflow server": 1}


def test_kubernetes_schema() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="needs: pip install kubernetes-validate")
    for document in documents("kubernetes.yaml"):
        validate.validate(document, "1.37", strict=True)


def test_recipes_are_packaged() -> None:
    """A user who has installed the package has them too."""
    import tomllib

    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    found = {path for pattern in settings["hpsearch"] for path in (REPOSITORY / "hpsearch").glob(pattern)}
    assert set(RECIPES.iterdir()) <= found
