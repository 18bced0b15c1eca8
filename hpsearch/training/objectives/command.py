"""Training by a command: a program in any language that prints its metrics as lines of JSON."""

import contextlib
import json
import os
import queue
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, final

from hpsearch.config.spec import CommandTraining, Spec
from hpsearch.core.resources import ResourceExhausted
from hpsearch.core.space import Point, Value
from hpsearch.core.text import printable
from hpsearch.data.dataset import Dataset
from hpsearch.errors import TrainingCodeError
from hpsearch.training.objectives.code import changed_files
from hpsearch.training.objectives.function import CODE_SEEDS, checked_scores
from hpsearch.training.objectives.stepping.driver import Scores, StepError, advance_steps
from hpsearch.training.objectives.stepping.process_group import ProcessGroup
from hpsearch.training.objectives.stepping.progress import Progress
from hpsearch.training.task import Task, TrainingCode, TrialResult

REPORT_VARIABLE = "HPSEARCH_REPORT"  # name of a file that lines may be written to in place of standard output
MAX_OUTPUT_LINE = 1 << 20  # of a line of output; a longer one is ignored
ERROR_LINES = 20  # of standard error, which the error of a failed trial has
POLL_SECONDS = 0.2
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def check_program(spec: Spec, dataset: Dataset, code: TrainingCode) -> list[str]:
    """Check that a study's program exists; return messages for the user.

    Raises:
        TrainingCodeError: it does not.
    """
    train = spec.train
    assert isinstance(train, CommandTraining)
    program = train.command[0]
    if _program(program, code) is None:
        raise TrainingCodeError(f"train.command: there is no program '{program}'")
    pauses = [s.name for s in spec.stages if (s.pruning or spec.pruning).kind != "none" and not s.confirms]
    if train.epochs > 1 and pauses and "checkpoint" not in train.placeholders:
        return [
            f"train.command: has no {{checkpoint}}, so a paused trial of {', '.join(pauses)} trains again from its"
            " seed when it is promoted: the same result, in more time"
        ]
    return []


def advance_command(task: Task) -> TrialResult:
    """Train a task's trial by the study's command."""
    if changed := changed_files(task.code):
        raise TrainingCodeError(f"{task.code.path(changed[0])}: has changed since the study began")
    with tempfile.TemporaryDirectory(prefix="hpsearch-command-") as folder:

        def begin(fold: int, saved: bytes | None, progress: Progress) -> _CommandSteps:
            return _CommandSteps(task, Path(folder), saved, progress.state.epoch)

        return advance_steps(task, begin)


@final
class _CommandSteps:
    """A trial that a command trains from one rung to the next.

    A step is a line of its output; what it writes into the checkpoint after the last step is what it saves.
    """

    def __init__(self, task: Task, folder: Path, saved: bytes | None, epoch: int) -> None:
        train = task.spec.train
        assert isinstance(train, CommandTraining)
        (trial,) = task.trials
        self._task, self._epoch = task, epoch
        self._checkpoint, self._report = folder / "checkpoint", folder / "report.jsonl"
        self._keeps = "checkpoint" in train.placeholders
        if saved is not None:
            self._checkpoint.write_bytes(saved)
        values = {"seed": trial.seed % CODE_SEEDS, "epochs": task.epochs, "checkpoint": str(self._checkpoint)}
        arguments = [filled(argument, trial.point, values) for argument in train.command]
        arguments[0] = _program(arguments[0], task.code) or arguments[0]
        variables = dict.fromkeys(THREAD_VARIABLES, "1") | {REPORT_VARIABLE: str(self._report)}
        self._report.touch()
        limit = TimeLimit(train.timeout, trial.seconds) if train.timeout is not None else None
        self._process = CommandProcess(arguments, task.code.folder, variables, self._report, limit)

    @property
    def saves(self) -> bool:
        return self._keeps and self._process.ended and self._checkpoint.is_file()

    def step(self) -> Scores | None:
        for scores in self._process.scores():
            epoch = scores.pop("epoch", None)
            if epoch is not None and epoch != self._epoch + 1:
                raise StepError(f"the command reported epoch {epoch:g}, must be {self._epoch + 1}")
            self._epoch += 1
            if self._epoch == self._task.epochs:
                self._process.finish()
            return scores
        return None

    def save(self) -> bytes | None:
        return self._checkpoint.read_bytes() if self.saves else None

    def close(self) -> None:
        self._process.kill()


class TimeLimit(NamedTuple):
    """A limit on the time of a trial: the whole, and what it has used, in seconds."""

    timeout: float
    used: float


@final
class CommandProcess:
    """A running command in a process group of its own, which ends with this process.

    Args:
        folder: its current folder.
        variables: variables added to the environment.
        report: a file that it may write lines to.
        limit: the time after which it has failed; None for no limit.
    """

    def __init__(
        self, arguments: list[str], folder: str, variables: Mapping[str, str], report: Path, limit: TimeLimit | None
    ) -> None:
        self._end = None if limit is None else time.monotonic() + limit.timeout - limit.used
        self._late = "" if limit is None else f"took longer than train.timeout, {limit.timeout:g} s"
        self._lines: queue.Queue[bytes | None] = queue.Queue(maxsize=10_000)
        self._errors: deque[str] = deque(maxlen=ERROR_LINES)
        self._report = report.open("rb")
        self._partial = b""
        self.ended, self._looks = False, 0
        try:
            self._group = ProcessGroup(arguments, folder, {**os.environ, **variables})
        except OSError as error:
            raise StepError(f"the command cannot be started: {error.strerror or error}") from None
        process = self._group.process
        self._readers = [
            threading.Thread(target=self._read_output, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def scores(self) -> Iterator[dict[str, float]]:
        """Yield the metrics of each line that is a mapping, until the command has ended.

        Raises:
            StepError: the command has failed or taken too long, or a metric is not valid.
        """
        while (line := self._next_line()) is not None:
            item = _mapping(line)
            if item is not None:
                yield checked_scores(item, "the command reported")
        self._check_exit()

    def finish(self) -> None:
        """Wait until the command has ended after its last step, and check its exit code.

        Raises:
            StepError: it has failed or taken too long.
        """
        while self._next_line() is not None:
            continue
        self._check_exit()

    def kill(self) -> None:
        """End the command and all processes of its group."""
        self._group.kill()
        for reader in self._readers:
            reader.join(1)
        if not any(reader.is_alive() for reader in self._readers):
            self._group.close_pipes()
        self._report.close()

    def _next_line(self) -> bytes | None:
        """Return the next line of standard output or of the report; None when the command has ended."""
        while True:
            if (line := self._reported()) is not None:
                return line
            if self.ended:
                return None
            if self._end is not None and time.monotonic() > self._end:
                raise StepError(self._late)
            try:
                line = self._lines.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._end_rest()
                continue
            if line is not None:
                return line
            self._await_exit()

    def _await_exit(self) -> None:
        """Wait for the exit of a command that has closed its output."""
        try:
            self._group.process.wait(None if self._end is None else max(0.0, self._end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise StepError(self._late) from None
        self.ended = True

    def _end_rest(self) -> None:
        """End what a command has left running that holds its output open; its last line has been read."""
        if self._group.process.poll() is None:
            return
        self._looks += 1
        if self._looks == 1:
            self._group.kill_rest()
        else:  # another session holds the output
            self.ended = True

    def _reported(self) -> bytes | None:
        line = self._report.readline(MAX_OUTPUT_LINE)
        self._partial += line
        if not self._partial.endswith(b"\n"):
            return None
        line, self._partial = self._partial, b""
        return line

    def _read_output(self, output: IO[bytes]) -> None:
        skipping = False
        with contextlib.suppress(OSError, ValueError):
            while line := output.readline(MAX_OUTPUT_LINE):
                complete = line.endswith(b"\n")
                if complete and not skipping and line.lstrip()[:1] == b"{":
                    self._lines.put(line)
                skipping = not complete
        self._lines.put(None)

    def _read_errors(self, errors: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := errors.readline(MAX_OUTPUT_LINE):
                text = line.decode("utf-8", "replace").rpartition("\r")[2].strip()
                if text:
                    self._errors.append(text)

    def _check_exit(self) -> None:
        code = self._group.process.returncode
        if code == 0:
            return
        if code == -signal.SIGKILL:  # by the system or by hand, so the trial is not to blame
            raise ResourceExhausted("the command was killed by SIGKILL, as when memory runs out")
        self._readers[1].join(1)
        names = {s.value: s.name for s in signal.Signals}
        how = f"was killed by {names.get(-code, -code)}" if code < 0 else f"exited with code {code}"
        last = " | ".join(self._errors)
        raise StepError(printable(f"the command {how}" + (f": {last}" if last else "")))


def filled(argument: str, point: Point, values: Mapping[str, object]) -> str:
    """Return an argument of a command with the values of its placeholders."""
    texts: list[str] = []
    for text, name, _, _ in string.Formatter().parse(argument):
        texts.append(text)
        if name is not None:
            texts.append(_text(point[name]) if name in point else str(values[name]))
    return "".join(texts)


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def _mapping(line: bytes) -> dict[Any, Any] | None:
    """Return the mapping that a line of JSON holds; None for any other line. NaN and Infinity are numbers."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return item if isinstance(item, dict) else None


def _program(program: str, code: TrainingCode) -> str | None:
    """Return the path of a program: `python` is this Python, others are found in the folder of the study or in PATH."""
    if program in ("python", "python3"):
        return sys.executable
    if os.sep in program:
        path = code.path(program)
        return str(path) if path.is_file() and os.access(path, os.X_OK) else None
    return shutil.which(program)
