"""Trials that a command trains: what it is given, what is read of its output, and one clear line for each mistake."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from code_cases import COMMAND, POINT, SHELL, continued, one, task_of, write_code

from hpsearch.core.processes import start_time
from hpsearch.core.resources import ResourceExhausted
from hpsearch.errors import TrainingCodeError
from hpsearch.training.objectives.command import check_program, filled
from hpsearch.training.objectives.stepping.progress import unpack_saved
from hpsearch.training.task import STATELESS, Task, TrialResult

SH = "train.sh"


def command_task(folder: Path, script: str, *arguments: str, epochs: int = 1, **train: Any) -> Task:
    write_code(folder, script, SH)
    return task_of(folder, train={"command": ["sh", SH, *arguments], "epochs": epochs, **train})


def ran(folder: Path, script: str, *arguments: str, **train: Any) -> TrialResult:
    """Return the result of a trial whose command is a shell script."""
    return one(command_task(folder, script, *arguments, **train))


def test_resumed_to_the_bit(tmp_path: Path) -> None:
    task = command_task(tmp_path, SHELL, *COMMAND[2:], epochs=5)
    straight = one(task)
    curve = straight.history["val/loss"]
    assert (straight.state, straight.epochs, straight.value) == ("complete", 5, curve[-1])
    half = one(Task(task.spec, task.dataset, task.trials, 2, code=task.code))
    assert (half.state, half.epochs) == ("running", 2)
    assert one(continued(task, half, 5)).history == straight.history
    assert straight.weights is not None and (unpack_saved(straight.weights)[0] or b"").startswith(b"5 ")


def test_without_a_checkpoint(tmp_path: Path) -> None:
    task = command_task(tmp_path, SHELL, "{rate}", "{epochs}", "{seed}", "none", epochs=4)
    half = one(Task(task.spec, task.dataset, task.trials, 2, code=task.code))
    assert (half.state, half.checkpoint) == ("running", STATELESS)


def test_arguments() -> None:
    point = {"rate": 1e-5, "on": True, "name": "a b", "size": 3}
    values = {"seed": 7, "epochs": 2, "checkpoint": "/c"}
    for argument, text in {
        "{rate}": "1e-05",
        "--on={on}": "--on=true",
        "{name}": "a b",
        "{size}{seed}": "37",
        "{{rate}}": "{rate}",
        "plain": "plain",
        "{checkpoint}.pt": "/c.pt",
    }.items():
        assert filled(argument, point, values) == text
    assert float(filled("{rate}", {"rate": 0.1 + 0.2}, values)) == 0.1 + 0.2


def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    script = '[ "$1" = "\\$(touch made); *" ] && echo "{\\"val/loss\\": $#}"\n'
    result = ran(tmp_path, script, "$(touch made); *", "{rate}")
    assert result.value == 2.0 and not (tmp_path / "made").exists()


def test_what_it_prints_besides_metrics_is_ignored(tmp_path: Path) -> None:
    script = r"""
    printf 'loading...\r 10%%\r 20%%\n[1, 2]\n"text"\n{broken\n{"epoch": 1,\n\n   {"val/loss": 3}\n'
    printf '\377\376\n{"val/loss": 2, "val/acc": NaN}\n{"val/loss": 1e400}\n'
    """
    task = command_task(tmp_path, script, "{epochs}", epochs=9)
    result = one(task)
    assert (result.state, result.epochs, result.history["val/loss"]) == ("diverged", 3, [3.0, 2.0, float("inf")])


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_values_that_are_not_finite_diverge(tmp_path: Path, value: str) -> None:
    assert ran(tmp_path, f"echo '{{\"val/loss\": {value}}}'\n").state == "diverged"


def test_the_report_may_be_a_file(tmp_path: Path) -> None:
    script = """
    echo "not a metric"
    for n in 1 2 3; do printf '{"epoch": %d, ' $n >> "$HPSEARCH_REPORT"; echo "\\"val/loss\\": 0.$n}" >> "$HPSEARCH_REPORT"; done
    """  # noqa: E501
    result = ran(tmp_path, script, "{epochs}", epochs=3)
    assert result.history["val/loss"] == [0.1, 0.2, 0.3]


def test_python_is_this_one_and_threads_are_one(tmp_path: Path) -> None:
    code = "import json, os, sys; print(json.dumps({'val/loss': float(os.environ['OMP_NUM_THREADS']),"
    code += " 'same': 0 + (sys.executable == sys.argv[1]), 'here': 0 + os.path.exists('train.py')}))"
    write_code(tmp_path, code)
    task = task_of(tmp_path, train={"command": ["python", "train.py", sys.executable], "epochs": 1})
    assert one(task).history == {"val/loss": [1.0], "same": [1.0], "here": [1.0]}


FAILS = {
    "exit code": ("echo one >&2; echo two >&2; exit 3", "the command exited with code 3: one | two"),
    "twenty lines": (
        "for n in $(seq 30); do echo $n >&2; done; exit 1",
        "the command exited with code 1: 11 | 12 | 13",
    ),
    "no output": ("exit 0", "reported no scores: training ended before its first step"),
    "after its steps": ("echo '{\"val/loss\": 1}'; echo late >&2; exit 4", "the command exited with code 4: late"),
    "signal": ("kill -SEGV $$", "the command was killed by SIGSEGV"),
    "text": ('echo \'{"val/loss": "low"}\'', "the command reported 'low' for 'val/loss'; must be a number"),
    "null": ("echo '{\"val/loss\": null}'", "the command reported None for 'val/loss'; must be a number"),
    "another metric": ("echo '{\"loss\": 1}'", "reported no 'val/loss', the metric of the study; did you mean"),
    "another epoch": ('echo \'{"epoch": 2, "val/loss": 1}\'', "the command reported epoch 2, must be 1"),
    "name": ("echo '{\"val!loss\": 1}'", "the command reported the name 'val!loss'; a metric may contain"),
    "control characters": ("printf '\\033[31mred\\n' >&2; exit 1", "the command exited with code 1: \\x1b[31mred"),
    "progress bar": ("printf '1%%\\r2%%\\rfailed\\n' >&2; exit 1", "the command exited with code 1: failed"),
}


@pytest.mark.parametrize("kind", FAILS)
def test_a_mistake_is_one_line(tmp_path: Path, kind: str) -> None:
    script, error = FAILS[kind]
    result = ran(tmp_path, script + "\n")
    assert (result.state, result.epochs) == ("failed", 0) and result.error is not None
    assert result.error.startswith(error) and "\n" not in result.error


def test_a_command_that_is_killed_is_no_result_of_a_trial(tmp_path: Path) -> None:
    """The system kills so when memory runs out; the trial trains again."""
    with pytest.raises(ResourceExhausted, match="the command was killed by SIGKILL, as when memory runs out"):
        ran(tmp_path, "kill -9 $$\n")


def test_epochs_are_counted_from_the_checkpoint(tmp_path: Path) -> None:
    """A command that begins again although it has a checkpoint would give another curve."""
    forgets = SHELL.replace('[ -f "$file" ] && read -r epoch loss < "$file"', "")
    task = command_task(tmp_path, forgets, *COMMAND[2:], epochs=4)
    half = one(Task(task.spec, task.dataset, task.trials, 2, code=task.code))
    assert one(continued(task, half, 4)).error == "the command reported epoch 1, must be 3"


def test_a_time_limit_ends_it(tmp_path: Path) -> None:
    script = "echo '{\"val/loss\": 1}'; sleep 1000 & echo $! > pid; wait\n"
    start = time.monotonic()
    result = ran(tmp_path, script, "{epochs}", epochs=2, timeout=0.3)
    assert result.state == "failed" and result.error == "took longer than train.timeout, 0.3 s"
    assert time.monotonic() - start < 10
    assert start_time(int((tmp_path / "pid").read_text())) is None


@pytest.mark.parametrize("megabytes", [3, pytest.param(100, marks=pytest.mark.soak)])
def test_much_output(tmp_path: Path, megabytes: int) -> None:
    """One line, and many lines, on both outputs; memory does not grow with them."""
    script = f"""
    head -c {megabytes}000000 /dev/zero | tr '\\0' x
    echo
    yes 'progress' | head -c {megabytes}000000 >&2
    yes '[1]' | head -c {megabytes}000000
    echo '{{"val/loss": 1}}'
    """
    result = ran(tmp_path, script)
    assert (result.state, result.value) == ("complete", 1.0)


def test_output_that_a_child_holds_open(tmp_path: Path) -> None:
    """A process in the background that outlives the command holds its output open."""
    start = time.monotonic()
    result = ran(tmp_path, "sleep 1000 &\necho '{\"val/loss\": 1}'\n")
    assert (result.state, result.value) == ("complete", 1.0)
    assert time.monotonic() - start < 10


def test_missing_programs(tmp_path: Path) -> None:
    for program in ("absent-program", "./absent.sh"):
        task = task_of(tmp_path, train={"command": [program], "epochs": 1})
        with pytest.raises(TrainingCodeError, match=f"train.command: there is no program '{program}'"):
            check_program(task.spec, task.dataset, task.code)
    write_code(tmp_path, "#!/bin/sh\necho '{\"val/loss\": 1}'\n", "own.sh")
    task = task_of(tmp_path, train={"command": ["./own.sh"], "epochs": 1})
    with pytest.raises(TrainingCodeError, match=r"'\./own.sh'"):  # not executable
        check_program(task.spec, task.dataset, task.code)
    (tmp_path / "own.sh").chmod(0o700)
    assert check_program(task.spec, task.dataset, task.code) == [] and one(task).value == 1.0


def test_a_program_that_cannot_be_executed(tmp_path: Path) -> None:
    write_code(tmp_path, "#!/absent/interpreter\n", "own").chmod(0o700)
    error = one(task_of(tmp_path, train={"command": ["./own"], "epochs": 1})).error
    assert error is not None and error.startswith("the command exited with code 12") and "\n" not in error


def test_a_message_about_pruning_without_a_checkpoint(tmp_path: Path) -> None:
    write_code(tmp_path, SHELL, SH)
    pruning = {"kind": "promote", "min_epochs": 2, "reduction": 2}
    for command, messages in ((COMMAND, 0), ([*COMMAND[:-1], "none"], 1)):
        task = task_of(tmp_path, train={"command": command}, pruning=pruning)
        assert len(check_program(task.spec, task.dataset, task.code)) == messages


def test_changed_files_end_the_study(tmp_path: Path) -> None:
    task = command_task(tmp_path, SHELL, *COMMAND[2:])
    assert [name for name, _ in task.code.files] == [SH] and task.trials[0].point == POINT
    write_code(tmp_path, SHELL + "# changed\n", SH)
    with pytest.raises(TrainingCodeError, match=r"train.sh: has changed since the study began"):
        one(task)
