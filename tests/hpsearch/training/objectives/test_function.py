"""Trials that a Python function trains: steps, resuming to the bit, and one clear line for each mistake."""

import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from code_cases import FORGETS, LEARNS, SEED, continued, error_of, one, own_spec, task_of, trained, write_code

from engine.types import EngineError
from hpsearch.data.dataset import Dataset, prepare
from hpsearch.errors import TrainingCodeError
from hpsearch.training.objectives import objective_of
from hpsearch.training.objectives.code import find_code
from hpsearch.training.objectives.function import as_number, check_function
from hpsearch.training.objectives.stepping.progress import unpack_saved
from hpsearch.training.task import STATELESS, Task, TrialResult


def settled(folder: Path, code: str, train: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    """Return the messages of the check of a function."""
    task = task_of(folder, code, train=train or {}, **changes)
    return check_function(task.spec, task.dataset, task.code)


def test_a_generator_gives_a_curve(tmp_path: Path) -> None:
    result = trained(tmp_path, LEARNS)
    curve = result.history["val/loss"]
    assert (result.state, result.epochs, result.best_epoch, result.value) == ("complete", 6, 6, curve[-1])
    assert result.history["epoch_seen"] == [1, 2, 3, 4, 5, 6] and curve == sorted(curve, reverse=True)
    assert result.weights is not None and unpack_saved(result.weights)[0] is not None


@pytest.mark.parametrize(
    ("body", "value", "saved"),
    [
        ("return 2.5", 2.5, None),
        ("return 3", 3.0, None),
        ("import numpy as np; return np.float32(0.5)", 0.5, None),
        ("import numpy as np; return np.array([[0.5]])", 0.5, None),
        ("return {'val/loss': 0.5, 'other': 1}", 0.5, None),
        ("return {'val/loss': 0.5}, lambda: b'kept'", 0.5, b"kept"),
        ("return 0.5, None", 0.5, None),
    ],
)
def test_a_plain_function_is_a_trial_of_one_step(tmp_path: Path, body: str, value: float, saved: bytes | None) -> None:
    result = trained(tmp_path, f"def train(params):\n    {body}\n", train={"epochs": 1})
    assert (result.state, result.value, result.epochs) == ("complete", value, 1)
    assert result.weights is not None and unpack_saved(result.weights) == (saved,)


def test_receives_what_it_asks_for_by_name(tmp_path: Path) -> None:
    code = """
    def train(*, seed, epochs, params, state="unset"):
        return {"val/loss": params["rate"], "seed": seed, "epochs": epochs, "none": float(state is None)}
    """
    history = trained(tmp_path, code).history
    assert history == {"val/loss": [0.25], "seed": [float(SEED % 2**31)], "epochs": [6.0], "none": [1.0]}


@pytest.mark.parametrize("pauses", [(1,), (1, 2, 3, 4, 5), (4,)])
def test_resumed_to_the_bit_with_all_generators(tmp_path: Path, pauses: tuple[int, ...]) -> None:
    """Also what the process does with its generators in between changes nothing."""
    task = task_of(tmp_path, LEARNS)
    straight, part = one(task), TrialResult(0, "running", None, 0, 0, {})
    for epoch in pauses:
        part = one(
            continued(task, part, epoch)
            if part.checkpoint
            else Task(task.spec, task.dataset, task.trials, epoch, code=task.code)
        )
        assert (part.state, part.epochs) == ("running", epoch)
        random.seed(epoch), np.random.seed(epoch)
    assert one(continued(task, part, 6)) == straight


def test_the_generators_of_this_process_are_restored(tmp_path: Path) -> None:
    random.seed(3), np.random.seed(3)
    want = random.random(), np.random.rand()
    random.seed(3), np.random.seed(3)
    trained(tmp_path, LEARNS)
    assert (random.random(), np.random.rand()) == want


def test_generators_that_are_not_seeded(tmp_path: Path) -> None:
    task = task_of(tmp_path, LEARNS, train={"seed_generators": False})
    random.seed(1), np.random.seed(1)
    first = one(task)
    random.seed(2), np.random.seed(2)
    assert one(task).history["val/loss"] != first.history["val/loss"]
    seeded = task_of(tmp_path)
    assert one(seeded) == one(seeded)


def test_without_a_state_a_trial_trains_again_from_its_seed(tmp_path: Path) -> None:
    """The table is that of the same function with a state."""
    with_state = trained(tmp_path, LEARNS)
    task = task_of(tmp_path, FORGETS)
    half = one(Task(task.spec, task.dataset, task.trials, 3, code=task.code))
    assert (half.state, half.checkpoint, half.epochs) == ("running", STATELESS, 3)
    (again,) = (t._replace(checkpoint=None, epochs=0, history=None) for t in task.trials)
    whole = one(Task(task.spec, task.dataset, (again,), 6, code=task.code))
    assert (whole.history, whole.value) == (with_state.history, with_state.value)


def test_not_paused_by_time_without_a_state(tmp_path: Path) -> None:
    """It would begin again and again."""
    for code, epochs in ((FORGETS, 6), (LEARNS, 1)):
        task = task_of(tmp_path, code)
        assert one(Task(task.spec, task.dataset, task.trials, 6, 0.0, task.code)).epochs == epochs


def test_the_rules_that_end_a_trial(tmp_path: Path) -> None:
    curve = """
    def train(params, state=None):
        for n, x in enumerate([5, 3, 4, 2, 6, 6, 6, 6]):
            yield x, lambda n=n: bytes([n])
    """
    for rules, epochs, best, value in (
        ({}, 8, 4, 2.0),
        ({"early_stopping": {"patience": 2}}, 6, 4, 2.0),
        ({"early_stopping": {"patience": 1}}, 3, 2, 3.0),
        ({"stop": {"value": 3.5}}, 2, 2, 3.0),
        ({"stop": {"change": 0.5, "checks": 2}}, 7, 4, 2.0),
        ({"keep": "last"}, 8, 8, 6.0),
    ):
        result = trained(tmp_path, curve, train={"epochs": 8, **rules})
        assert (result.state, result.epochs, result.best_epoch, result.value) == ("complete", epochs, best, value), (
            rules
        )
        assert result.weights is not None and unpack_saved(result.weights) == (bytes([best - 1]),)


@pytest.mark.parametrize("value", ["float('nan')", "1e400", "10**400", "float('inf')"])
def test_values_that_are_not_finite_diverge(tmp_path: Path, value: str) -> None:
    result = trained(
        tmp_path, f"def train(params):\n    yield 1.0\n    while True:\n        yield {{'val/loss': {value}}}\n"
    )
    assert (result.state, result.epochs, result.error) == ("diverged", 2, None)


def test_a_generator_that_ends_early_is_complete(tmp_path: Path) -> None:
    result = trained(tmp_path, "def train(params):\n    yield from [3.0, 2.0]\n")
    assert (result.state, result.epochs, result.value) == ("complete", 2, 2.0)


def test_metrics_that_appear_late_or_have_gaps(tmp_path: Path) -> None:
    code = """
    def train(params):
        for n in range(3):
            yield {"val/loss": 3.0 - n, **({"f1": n} if n == 1 else {})}
    """
    (first, second, third) = trained(tmp_path, code).history["f1"]
    assert math.isnan(first) and second == 1.0 and math.isnan(third)


def test_folds_are_means_with_seeds_and_rows_of_their_own(tmp_path: Path) -> None:
    code = """
    def train(params, seed, data, state=None):
        assert not data.train.x.flags.writeable and data.test is None and data.val.y.dtype.kind == "i"
        n = int(state or 0)
        while True:
            n += 1
            yield {"val/loss": 10 / n + data.fold, "seed": seed, "rows": len(data.train.x)}, lambda: b"%d" % n
    """
    data = {"source": "sklearn", "name": "iris", "split": {"folds": 3, "test": 0}}
    spec = own_spec(data=data)
    dataset, _ = prepare(spec.data, spec.seed, tmp_path)
    task = task_of(tmp_path, code, data=data, dataset=dataset)
    whole = one(task)
    assert whole.history["val/loss"] == pytest.approx([10 / n + 1.0 for n in range(1, 7)])
    assert whole.history["val/loss_std"] == pytest.approx([1.0] * 6) and whole.history["rows"] == [100.0] * 6
    assert whole.history["seed"][0] not in (0.0, float(SEED % 2**31))
    assert whole.weights is not None and unpack_saved(whole.weights) == (b"6",) * 3
    half = one(Task(task.spec, task.dataset, task.trials, 2, code=task.code))
    assert one(continued(task, half, 6)) == whole


FAILS = {
    "raises": ("raise ValueError('one\\ntwo\\x1b[31m')", "train.py:2: ValueError: one"),
    "assert": ("assert params['rate'] > 1", "train.py:2: AssertionError"),
    "key": ("return params['rato']", "train.py:2: KeyError: 'rato'"),
    "file": ("open('absent')", "train.py:2: FileNotFoundError: [Errno 2] No such file or directory: 'absent'"),
    "exits": ("import sys; sys.exit(3)", "train.py:2: sys.exit(3)"),
    "exits by raise": ("raise GeneratorExit", "train.py:2: GeneratorExit"),
    "in a library": ("import json; json.loads('{')", "train.py:2: JSONDecodeError: "),
    "none": ("return", "train.py:1: train(): returned None; must be a mapping of metrics to numbers"),
    "text": ("return '1.0'", "train.py:1: train(): returned '1.0'; must be a mapping"),
    "yields none": ("yield", "train.py:2: train(): yielded None; must be a mapping"),
    "yields a set": ("yield {1}", "train.py:2: train(): yielded {1}; must be a mapping"),
    "none for a metric": ("yield {'val/loss': None}", "train.py:2: train(): yielded None for 'val/loss'; must"),
    "true": ("yield {'val/loss': True}", "train.py:2: train(): yielded True for 'val/loss'; must"),
    "array": ("import numpy; yield {'val/loss': numpy.ones(2)}", "train.py:2: train(): yielded array([1., 1.]) for"),
    "missing metric": ("yield {'val_loss': 1.0}", "train.py:2: train(): yielded no 'val/loss'"),
    "empty": ("yield {}", "train.py:2: train(): yielded no 'val/loss', the metric of the study"),
    "later": ("yield 1.0; yield {'x': 1.0}", "train.py:2: train(): yielded no 'val/loss', the metric of the study"),
    "line in a name": ("yield {'val/loss\\n': 1.0}", "train.py:2: train(): yielded the name 'val/loss\\n'"),
    "number as a name": ("yield {1: 1.0}", "train.py:2: train(): yielded the name 1; a"),
    "many": ("yield dict.fromkeys(map(str, range(9999)), 1)", "train.py:2: train(): yielded 9,999 metrics; at most"),
    "nothing": ("return 1.0\n    yield", "train.py:1: train(): ended before it yielded metrics"),
    "stop iteration": ("raise StopIteration\n    yield", "train.py:2: RuntimeError: generator raised StopIteration"),
    "control characters": ("yield type('A', (), {'__repr__': lambda s: '\\x1b\\n'})()", "train.py:2: train(): yielded"),
    "address": ("raise ValueError(object())", "train.py:2: ValueError: <object object>"),
    "address of a result": ("return object()", "train.py:1: train(): returned <object object>; must be a mapping"),
    "save raises": ("yield 1.0, lambda: 1 / 0", "train.py:2: ZeroDivisionError: division by zero"),
    "save needs more": ("yield 1.0, lambda x: b''", "train.py:train: TypeError: train.<locals>.<lambda>() missing 1"),
    "saves text": ("yield 1.0, lambda: 'text'", "train.py:2: train(): its function to save must return bytes, got"),
    "saves no function": ("yield 1.0, 2.0", "train.py:2: train(): yielded metrics and 2.0; the second must"),
    "recursion": ("return train(params)", "train.py:2: RecursionError: maximum recursion depth exceeded"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAILS)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, kind: str) -> None:
    body, error = FAILS[kind]
    assert error_of(tmp_path, f"def train(params, state=None):\n    {body}\n").startswith(error)


def test_saving_without_a_state_to_resume_from(tmp_path: Path) -> None:
    error = error_of(tmp_path, "def train(params):\n    while True:\n        yield 1.0, lambda: b''\n")
    assert error == "train.py:3: train(): yielded a function to save, but has no argument 'state' to resume from"


@pytest.mark.parametrize(
    "ending", ["raise ValueError", "import sys; sys.exit(1)", "raise GeneratorExit"], ids=["raises", "exits", "closes"]
)
def test_clean_up_changes_no_result(tmp_path: Path, ending: str) -> None:
    code = f"def train(params):\n    try:\n        while True:\n            yield 1.0\n    finally:\n        {ending}\n"
    assert trained(tmp_path, code).state == "complete"


def test_ctrl_c_is_no_result_of_a_trial(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, "def train(params):\n    raise KeyboardInterrupt\n")


def test_lack_of_memory_is_no_result_of_a_trial(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="out of memory"):
        trained(tmp_path, "def train(params):\n    raise MemoryError\n")


def test_what_it_changes_is_restored(tmp_path: Path) -> None:
    """Its parameters, the current folder, and parameters of the next trial."""
    code = """
    import os
    def train(params):
        params["rate"], params["new"] = 9.0, 1
        os.chdir("/")
        yield params["rate"]
        os.chdir("/")
        yield params["rate"] - 1
    """
    folder, task = os.getcwd(), task_of(tmp_path, code)
    assert [one(task).history["val/loss"] for _ in range(2)] == [[9.0, 8.0]] * 2
    assert task.trials[0].point == {"rate": 0.25} and os.getcwd() == folder


def test_damaged_checkpoints_are_recognized(tmp_path: Path) -> None:
    task = task_of(tmp_path, LEARNS)
    half = one(Task(task.spec, task.dataset, task.trials, 3, code=task.code))
    check, point = objective_of(task.spec).check_checkpoint, task.trials[0].point
    check(task.spec, task.dataset, point, half)
    whole = half.checkpoint or b""
    for content in (whole[:-40], b"", b"PK\3\4" + whole[4:50], whole[:200] + bytes(60) + whole[260:]):
        with pytest.raises(EngineError):
            check(task.spec, task.dataset, point, half._replace(checkpoint=content))
    with pytest.raises(EngineError, match="another epoch"):
        check(task.spec, task.dataset, point, half._replace(epochs=2))


REFUSED = {
    "def train(parms): return 1.0": "train.py:1: train(): unknown argument 'parms'; did you mean 'params'?",
    "def train(a): return 1.0": "train.py:1: train(): unknown argument 'a'; there is params, seed, state, data,",
    "def train(*, a): return 1.0": "train.py:1: train(): unknown argument 'a'; there is",
    "def train(params, /): return 1.0": "train.py:1: train(): arguments are passed by name; remove the '/' after",
    "async def train(params): return 1.0": "train.py:1: must be a function, got an async function: train",
    "x = 1\nclass train: pass": "train.py:2: must be a function, got a class: train",
    "def trian(params): return 1.0": "train.py: has no 'train'; did you mean 'trian'?",
    "if False:\n    def train(): return 1.0": "train.py: has no 'train'",
    "def train(data): return 1.0": "train.py:1: train(): asks for data, and the study file has none",
    "def train(params)\n    return 1.0": "train.py:1: SyntaxError: expected ':'",
    "x = 1\0": "train.py: SyntaxError: source code string cannot contain null bytes",
}


@pytest.mark.parametrize("code", REFUSED, ids=list(map(str, range(len(REFUSED)))))
def test_refused_before_anything_runs(tmp_path: Path, code: str) -> None:
    with pytest.raises(TrainingCodeError) as caught:
        settled(tmp_path, code + "\n", {"epochs": 1})
    assert str(caught.value).startswith(REFUSED[code]) and str(caught.value).count("params") <= 2


LATE = {  # what only running shows
    "train = 3": "train.py:train: must be a function in Python, got 3",
    "train = max": "train.py:train: must be a function in Python, got <built-in function max>",
    "import functools\ntrain = functools.partial(lambda params, k: k)": "train.py:train: unknown argument 'k'",
    "import absent_module\ndef train(): return 1.0": "train.py:1: ModuleNotFoundError: No module named 'absent_module'",
    "import sys\nsys.exit(2)\ndef train(): return 1.0": "train.py:2: sys.exit(2)",
    "def decorated(f): return lambda k: 1.0\n@decorated\ndef train(): return 1.0": "train.py:1: <lambda>(): unknown",
}


@pytest.mark.parametrize("code", LATE, ids=list(map(str, range(len(LATE)))))
def test_what_only_importing_shows_ends_the_study(tmp_path: Path, code: str) -> None:
    """It is no result of a trial: every trial would fail."""
    with pytest.raises(TrainingCodeError) as caught:
        trained(tmp_path, code + "\n")
    assert str(caught.value).startswith(LATE[code])


@pytest.mark.parametrize(
    "code",
    [
        "train = lambda params: 1.0\n",
        "import functools\ntrain = functools.partial(lambda params, k: k, k=1.0)\n",
        "class Train:\n    def __call__(self, params): return 1.0\ntrain = Train()\n",
        "def made():\n    def train(params): return 1.0\n    return train\ntrain = made()\n",
        "import functools\ndef d(f): return functools.wraps(f)(lambda **k: f(**k))\n@d\ndef train(): return 1.0\n",
        "def train(params):\r\n    return 1.0\r\n",
        "\ufeffdef train(params): return 1.0\n",
        "# -*- coding: utf-8 -*-\ndef train(params): return 1.0  # é\n",
        "def train(params): return (x for x in [1.0])\n",
    ],
)
def test_every_kind_of_callable_trains(tmp_path: Path, code: str) -> None:
    task = task_of(tmp_path, train={"epochs": 1}, code=code)
    check_function(task.spec, task.dataset, task.code)
    assert one(task).value == 1.0


def test_messages_about_steps_and_states(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingCodeError, match=r"train.py:1: train\(\): train.epochs is 6, but the function has no yield"
    ):
        settled(tmp_path, "def train(params):\n    def inner():\n        yield 1.0\n    return 1.0\n")
    assert settled(tmp_path, LEARNS) == []
    (note,) = settled(tmp_path, LEARNS, {"epochs": 1})
    assert note.endswith("yields, and train.epochs is 1: only its first step is used")
    (note,) = settled(tmp_path, FORGETS, pruning={"kind": "promote", "min_epochs": 2, "reduction": 2})
    assert "has no argument 'state', so a paused trial of search trains again from its seed" in note


def test_asks_for_data_that_a_study_lacks(tmp_path: Path) -> None:
    """Also where the definition is not in plain sight."""
    with pytest.raises(TrainingCodeError, match="asks for data, and the study file has none"):
        trained(tmp_path, "train = lambda data: 1.0\n")


def test_numbers() -> None:
    for value in (1, 1.0, np.float64(1), np.int8(1), np.array(1.0), np.array([1.0])):
        assert as_number(value) == 1.0
    for value in (None, True, "1", b"1", [1.0], np.ones(2), np.bool_(True), 1j, np.complex64(1)):
        assert as_number(value) is None
    assert as_number(10**400) == math.inf and as_number(-(10**400)) == -math.inf


def test_functions_of_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    write_code(tmp_path, "from .other import VALUE\ndef train(params): return VALUE\n", "own_package/model.py")
    write_code(tmp_path, "VALUE = 4.0\n", "own_package/other.py")
    write_code(tmp_path, "", "own_package/__init__.py")
    spec = own_spec(train={"function": "own_package.model:train"})
    code = find_code(spec, tmp_path)
    assert [name for name, _ in code.files] == ["own_package/model.py"]
    task = Task(spec, Dataset.empty(str(tmp_path)), task_of(tmp_path, LEARNS).trials, 1, code=code)
    assert one(task).value == 4.0
