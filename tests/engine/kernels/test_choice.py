"""Choice of the kernel: what it covers, and what happens where Numba is missing, broken, or cannot write its cache."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from layer_cases import LAYER_CASES

from engine.activations import ACTIVATIONS
from engine.kernels import choice
from engine.kernels.choice import KernelUnavailable, compile_network, is_covered, load_kernel
from engine.kernels.program import OPERATION, Operation
from engine.layers import LAYERS, Dense
from engine.losses import SquaredError
from engine.network import Network

REPOSITORY = Path(__file__).parents[3]
F32 = np.dtype(np.float32)
BY_NUMPY = {"flatten", "conv2d", "conv_transpose2d", "max_pool2d", "mean_pool2d"}  # layers of images


@pytest.mark.parametrize("layer", LAYERS)
def test_all_layers_of_features_are_covered(layer: str) -> None:
    covered = [is_covered(network) for network in LAYER_CASES[layer] if len(network.inputs) == 1]
    assert covered == [layer not in BY_NUMPY] * len(covered)
    assert not any(is_covered(network) for network in LAYER_CASES[layer] if len(network.inputs) == 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_all_activations_are_covered(activation: str) -> None:
    assert is_covered(Network((3,), (Dense(4), ACTIVATIONS[activation](), Dense(1)), SquaredError()))


def test_every_operation_is_used() -> None:
    """By a layer or an activation; so a network of the contract tests runs its code."""
    networks = [n for cases in LAYER_CASES.values() for n in cases if is_covered(n)]
    networks += [Network((3,), (Dense(4), kind(), Dense(1)), SquaredError()) for kind in ACTIVATIONS.values()]
    used = {int(row[OPERATION]) for network in networks for row in compile_network(network).instructions}
    assert used == set(Operation)


def python(code: str, folder: Path, **environment: str) -> str:
    """Run code in a process of its own, with a folder before all others for imports; return what it printed."""
    paths = os.pathsep.join([str(folder), str(REPOSITORY)])
    env = os.environ | {"PYTHONPATH": paths, "XDG_CACHE_HOME": str(folder / "cache")} | environment
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOAD = """
import numpy as np
from engine.kernels.choice import KernelUnavailable, load_kernel
try:
    load_kernel(np.dtype(np.float32))
except KernelUnavailable as error:
    print(error)
"""


def test_numba_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text('raise ImportError("Numba needs NumPy 2.4 or less. Got NumPy 2.9.")')
    expected = "Numba cannot be imported: Numba needs NumPy 2.4 or less. Got NumPy 2.9."
    assert python(LOAD, tmp_path) == expected
    other = "import engine.kernels.choice as c\nprint(c.is_compiled(), len(c._markers()))"
    assert python(other, tmp_path) == "False 2"  # even where the kernel was compiled by another Numba


def test_missing_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.startswith("engine.kernels.") or n.partition(".")[0] == "numba"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(KernelUnavailable, match="Numba cannot be imported: import of numba halted"):
        load_kernel(F32)


def test_no_folder_for_the_cache(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="needs the fast extra")
    without = (
        "from numba.core import caching as c\n(getattr(c, 'CacheImpl', 0) or c._CacheImpl)._locator_classes = []\n"
    )
    assert python(without + LOAD, tmp_path).startswith("Numba cannot cache what it compiles: cannot cache function")


def test_a_changed_source_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of the package counts, not only the one with the functions that Python calls."""
    before = choice.source_digest()
    for path in Path(choice.__file__).parent.glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(choice, "__file__", str(tmp_path / "choice.py"))
    assert choice.source_digest() == before
    with (tmp_path / "functions.py").open("a") as file:
        file.write("# changed\n")
    assert choice.source_digest() != before


TRAIN = """
import hashlib, sys
import numpy as np
sys.path.insert(0, "tests/engine")
from engine_cases import F32, hyperparameters, network, rows, start
from engine.training.trainer import train
net, data, trials = network("softmax_cross_entropy", 3, "tanh", 5, (33, 17)), None, hyperparameters(1, "adam")
data = rows("softmax_cross_entropy", 3, 100, 5)
state = start(net, trials)
training = train(net, trials, state, data, data, kernel="compiled")
for _ in range(5):
    epoch = next(training)
from engine.kernels.kernel import kernel
hits = sum(kernel(F32).train_steps.stats.cache_hits.values())
print(hits, hashlib.sha256(state.theta.tobytes()).hexdigest(), epoch.val.loss.tolist())
"""


@pytest.mark.crash
def test_freshly_compiled_and_from_the_cache(tmp_path: Path) -> None:
    """The same bits, also for code of another CPU, and after a compilation that was killed."""
    pytest.importorskip("numba", reason="needs the fast extra")
    (tmp_path / "killed").mkdir()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "NUMBA_CACHE_DIR": str(tmp_path / "killed")}
    with subprocess.Popen([sys.executable, "-c", TRAIN], env=environment, cwd=REPOSITORY) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(4)
        process.kill()
    code = f"import os; os.chdir({str(REPOSITORY)!r})\n{TRAIN}"
    fresh, cached = (python(code, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "killed")).split(" ", 1) for _ in range(2))
    generic = python(code, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "generic"), NUMBA_CPU_NAME="generic").split(" ", 1)
    assert (fresh[0], cached[0], generic[0]) == ("0", "1", "0")
    assert fresh[1] == cached[1] == generic[1]
