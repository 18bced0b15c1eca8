"""The documents: YAML loads, commands exist with their options, Python snippets run, printed output is current."""

import csv
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cases
import click
import pytest
from paths import REPOSITORY, STUDIES

from hpsearch.cli import commands
from hpsearch.config.load import load_spec

DOCUMENTS = sorted(p for p in REPOSITORY.rglob("*.md") if not {".venv", "node_modules"} & set(p.parts))
README = REPOSITORY / "README.md"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in (str(REPOSITORY), *sys.path) if p)}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def fenced(path: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(path.read_text("utf-8")) if kind == language]


def command_lines(path: Path) -> list[str]:
    """Return every `hpsearch …` in code: spans, indented lines and console blocks, without comments."""
    text = path.read_text("utf-8")
    prose = FENCE.sub("", text)
    spans = re.findall(r"`([^`\n]+)`", prose)
    indented = re.findall(r"^    (.+)$", prose, re.MULTILINE)
    shell = [line.removeprefix("$ ") for block in fenced(path, "console") for line in block.splitlines()]
    found = []
    for line in (*spans, *indented, *shell):
        for part in re.split(r"&&|;|\s#\s", line):
            if match := re.match(r"^\s*(?:\S*/)?hpsearch( [a-z-].*)$", part.rstrip()):
                found.append(f"hpsearch{match[1]}")
    return found


COMMAND_LINES = [(name(path), line) for path in DOCUMENTS for line in command_lines(path)]


@pytest.mark.parametrize(("document", "line"), COMMAND_LINES)
def test_commands_exist_with_their_options(document: str, line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = commands
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.commands.get(words[0])
        assert found is not None, f"{document}: {line}"
        command, words = found, words[1:]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help", "--version"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, f"{document}: {line}"


def test_every_command_is_in_the_readme() -> None:
    listed = {line.split()[1] for document, line in COMMAND_LINES if document == "README.md"}
    assert listed == set(commands.commands)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
        assert "://" in target or (path.parent / target).exists(), target


def test_study_files_in_the_readme(tmp_path: Path) -> None:
    texts = fenced(README, "yaml")
    assert texts
    for number, text in enumerate(texts):
        study = tmp_path / f"{number}.yaml"
        study.write_text(text, "utf-8")
        _, notices = load_spec(study)
        assert notices == []


TRAIN = """
def train(params, seed):
    for epoch in range(27):
        yield params["learning_rate"] / (epoch + 1)
"""
SNIPPETS = [(path, number) for path in DOCUMENTS for number, _ in enumerate(fenced(path, "python"))]


@pytest.mark.experiments
@pytest.mark.parametrize(("path", "number"), SNIPPETS, ids=lambda value: name(value) if isinstance(value, Path) else "")
def test_python_snippets_run(path: Path, number: int, tmp_path: Path) -> None:
    """In a folder with a small study of the same name and training code, in a process of their own."""
    (tmp_path / "studies").mkdir()
    shutil.copytree(STUDIES / "own", tmp_path / "studies" / "own")
    (tmp_path / "train.py").write_text(TRAIN, "utf-8")
    cases.write(tmp_path / "studies").rename(tmp_path / "studies" / "digits.yaml")
    snippet = tmp_path / "snippet.py"
    snippet.write_text(fenced(path, "python")[number], "utf-8")
    command = [sys.executable, "-W", "error", "snippet.py"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def hpsearch(*arguments: str, cwd: Path) -> str:
    """Run the command as a user does; return everything it prints."""
    command = [sys.executable, "-m", "hpsearch", *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout


def without_numbers(text: str) -> list[str]:
    """Replace numbers and rules, whose last digits differ between processors, and join spaces."""
    text = re.sub(r"\S*/hpsearch ", "hpsearch ", text)
    text = re.sub(r"[─ ]{3,}", " ", re.sub(r"-?\d[\d,.e+-]*%?", "#", text))
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.mark.experiments
def test_the_output_of_a_run(tmp_path: Path) -> None:
    """The README shows what its first command prints."""
    printed = hpsearch("run", str(STUDIES / "digits.yaml"), "--storage", "studies/digits.db", cwd=prepared(tmp_path))
    shown = without_numbers(fenced(README, "text")[0])
    assert len(shown) >= 10
    lines = without_numbers(printed.replace(str(tmp_path) + "/", ""))
    assert [line for line in shown if line not in lines] == []


def prepared(folder: Path) -> Path:
    (folder / "studies").mkdir()
    return folder


def test_the_output_of_a_check(tmp_path: Path) -> None:
    text = (STUDIES / "digits.yaml").read_text("utf-8")
    text = text.replace("optimizer: momentum", "optimizer: momentm")
    text = text.replace("learning_rate: {min: 1e-4, max: 1.0", "learning_rate: {min: 1, max: 1e-4")
    (prepared(tmp_path) / "studies" / "digits.yaml").write_text(text, "utf-8")
    printed = hpsearch("check", "studies/digits.yaml", cwd=tmp_path)
    assert printed.removeprefix("error: ") == fenced(README, "text")[1]


@pytest.mark.experiments
def test_your_own_table_in_four_commands(tmp_path: Path) -> None:
    """The README's commands, on a table of people."""
    draw = random.Random(1)
    with (tmp_path / "people.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["age", "city", "income"])
        for _ in range(300):
            age, city = draw.randint(18, 80), draw.choice(["Rome", "Oslo"])
            rows.writerow([age, city, "high" if age + draw.gauss(0, 5) + 10 * (city == "Oslo") > 50 else "low"])
    (tmp_path / "new.csv").write_text("age,city\n60,Oslo\n20,Rome\n", "utf-8")
    lines = [line for block in fenced(README, "console") for line in re.findall(r"hpsearch [^#\n]+", block)]
    assert len(lines) == 5
    for line in lines:
        hpsearch(*shlex.split(line)[1:], cwd=tmp_path)
    assert (tmp_path / "people-report.html").stat().st_size > 1e6
    assert (tmp_path / "predictions.csv").read_text("utf-8").splitlines()[1:][0].startswith("high")
