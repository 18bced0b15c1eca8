"""The worked experiments of the study files: medians over their seeds, 16 or 32. Long ones have a quarter of the seeds
here, and all of them behind `soak`.

Docstrings give the published figures and those of independent reproductions. Marked `experiments`: minutes.
"""

from functools import cache
from pathlib import Path

import numpy as np
import paths
import pytest
from experiment import Trained, at, median, trained

pytestmark = pytest.mark.experiments

DATA = paths.DATA
mnist = pytest.mark.skipif(not (DATA / "mnist.npz").exists(), reason="MNIST is not in ../shared/data")
adult = pytest.mark.skipif(not (DATA / "adult-train.csv").exists(), reason="Adult is not in ../shared/data")


@cache
def stages(file: str) -> dict[str, list[Trained]]:
    """Return the stages of a study without overrides, trained once for all tests."""
    return trained(file)


def epochs(trials: list[Trained]) -> float:
    return median(t.result.epochs for t in trials)


def count(trials: list[Trained], bound: float) -> float:
    """Return the median number of weights up to a bound."""
    return median((abs(t.weights()) <= bound).sum() for t in trials)


def magnitude(trials: list[Trained]) -> float:
    """Return the median of Σ|W|."""
    return median(abs(t.weights()).sum() for t in trials)


def accuracy(trials: list[Trained]) -> float:
    """Return the median test accuracy, or R² for a regression."""
    return median(t.test_accuracy for t in trials)


@pytest.mark.parametrize("seeds", [8, pytest.param(32, marks=pytest.mark.soak)])
def test_curve(seeds: int) -> None:
    """Published: 5000 epochs, R² .9818, Σ|W| 45.3. Reproduced: 32 of 32 stop; median 4900 (2400-9200); R² .967-.984."""
    trials = trained("curve.yaml", f"stages.0.seeds={seeds}")["seeds"]
    assert len(trials) == seeds and all(t.reached for t in trials)
    assert 2400 <= epochs(trials) <= 9200
    assert 0.967 <= accuracy(trials) <= 0.984
    assert 43 <= magnitude(trials) <= 55  # 45.3 published, 47-55 reproduced


def test_arc() -> None:
    """Published: 420 epochs, test 1.0. Reproduced: 31 of 32 stop; median 330 (250-630); 1.0."""
    trials = stages("arc.yaml")["seeds"]
    assert len(trials) == 32 and sum(t.reached for t in trials) >= 30
    assert 250 <= epochs(trials) <= 630
    assert accuracy(trials) == 1.0


@pytest.mark.soak
@pytest.mark.parametrize("seeds", [4, 16])
def test_bank(seeds: int) -> None:
    """Reproduced: sigmoid not by 3500 epochs, test .936-.968; ReLU 7 of 12 by 3000, test .904-.974."""
    trials = trained("bank.yaml", f"stages.0.seeds={seeds}")["both"]
    smooth, sharp = at(trials, activation="sigmoid"), at(trials, activation="relu")
    assert len(smooth) == len(sharp) == seeds

    def by(some: list[Trained], epoch: int) -> int:
        return sum(min(t.result.history["val/loss"][: epoch // 50]) <= 0.08 for t in some)

    assert by(smooth, 3500) == 0 and by(sharp, 3000) >= 6 * seeds / 16
    assert 0.936 <= accuracy(smooth) <= 0.968
    assert 0.904 <= accuracy(sharp) <= 0.974


@pytest.mark.soak
@pytest.mark.parametrize("seeds", [4, 16])
def test_overfit(seeds: int) -> None:
    """R² by regularizer: none .961; L2 .01 .982-.990 with 204 little; L1 .005 .987, 524 little, 492 zero."""
    trials = trained("overfit.yaml", f"stages.0.seeds={seeds}")["regularizers"]
    none = at(trials, l2=0.0, l1=0.0, dropout=0.0)
    l2, l1, dropout = at(trials, l2=0.01), at(trials, l1=0.005), at(trials, dropout=0.1)
    assert [len(some) for some in (none, l2, l1, dropout)] == [seeds] * 4
    assert accuracy(none) == pytest.approx(0.961, abs=0.003)  # .961 published, .9608 reproduced
    assert count(none, 0.01) < 30
    assert 0.982 <= accuracy(l2) <= 0.991 and 150 <= count(l2, 0.01) <= 230
    assert 0.981 <= accuracy(l1) <= 0.991
    assert count(l1, 0.01) == pytest.approx(524.5, abs=5) and count(l1, 1e-4) == pytest.approx(492, abs=10)
    assert accuracy(dropout) > accuracy(none) + 0.005


def test_overfit_stopped_early() -> None:
    """Published: about 2500 epochs, .9907. Reproduced: 1600-2800, .990.

    Here the best weights are restored, which published codes forget: .9936; the last weights give .985.
    """
    trials = stages("overfit_stopped.yaml")["seeds"]
    assert len(trials) == 32
    assert 1600 <= epochs(trials) <= 2800
    assert 0.990 <= accuracy(trials) <= 0.995
    last = trained("overfit_stopped.yaml", "train.keep=last")["seeds"]
    assert 0.982 <= accuracy(last) <= 0.991 and epochs(last) == epochs(trials)
    assert all(t.result.best_epoch == t.result.epochs - 800 for t in trials if t.result.epochs < 20000)


@pytest.mark.soak  # some settings never reach the target
def test_optimizers() -> None:
    """Published: SGD .3 5000, momentum .1 2000, Nesterov .1 1400, AdaGrad .7 1750; RMSProp and Adam fail at .1."""
    trials = stages("optimizers.yaml")["optimizers"]
    rates = {"sgd": 0.3, "momentum": 0.1, "nesterov": 0.1, "adagrad": 0.7, "adadelta": 0.1, "rmsprop": 0.005}
    found = {name: at(trials, optimizer=name, learning_rate=rate) for name, rate in rates.items()}
    found["adam"] = at(trials, optimizer="adam", learning_rate=0.005)
    assert {len(some) for some in found.values()} == {16}
    for name, some in found.items():
        assert sum(t.reached for t in some) >= 12, name
        if name != "sgd":
            assert epochs(some) < epochs(found["sgd"]), name
    published = {"sgd": 5000, "momentum": 2000, "nesterov": 1400, "adagrad": 1750}
    for name, number in published.items():
        assert number / 2 <= epochs(found[name]) <= number * 2, name
    for name in ("rmsprop", "adam"):
        assert not any(t.reached for t in at(trials, optimizer=name, learning_rate=0.1)), name


def test_adadelta_ignores_the_learning_rate() -> None:
    few = [
        trained(
            "optimizers.yaml", "train.epochs=50", "stages.0.seeds=1",
            f"stages.0.points=[{{optimizer: adadelta, learning_rate: {rate}}}]",
        )["optimizers"][0]
        for rate in (0.001, 1.0)
    ]  # fmt: skip
    assert np.array_equal(few[0].theta, few[1].theta)


@pytest.mark.soak  # the longest: three settings never reach the target
def test_learning_rates_batch_sizes_widths() -> None:
    """Published: α .1 never, .3 marginal, .5 8200, .7 3500; 2 hidden never, 8 fastest; the orderings hold."""
    found = stages("rates.yaml")
    rate = {a: at(found["rates"], learning_rate=a) for a in (0.1, 0.3, 0.5, 0.7)}
    assert not any(t.reached for t in rate[0.1])
    assert epochs(rate[0.3]) > epochs(rate[0.5]) > epochs(rate[0.7])
    assert 0.6 * 3500 <= epochs(rate[0.7]) <= 1.4 * 3500
    batches = {b: at(found["batches"], batch_size=b) for b in (5, 20)}
    assert epochs(batches[5]) < epochs(rate[0.5]) < epochs(batches[20])
    widths = {u: at(found["widths"], units=u) for u in (2, 8)}
    assert not any(t.reached for t in widths[2])
    assert epochs(widths[8]) < epochs(rate[0.5])


@pytest.mark.soak
@pytest.mark.parametrize(("limit", "seeds"), [(5_000, 4), (10_000, 16)])
def test_initializers(limit: int, seeds: int) -> None:
    """Zeros never reach the target, because their columns stay equal. A wider initialization reaches it sooner."""
    trials = trained("initializers.yaml", f"train.epochs={limit}", f"stages.0.seeds={seeds}")["initializers"]
    found = {name: at(trials, initializer=name) for name in ("zero", "normal", "xavier_uniform", "he_uniform")}
    assert not any(t.reached for t in found["zero"])
    for t in found["zero"]:
        first = t.theta[0, :4]
        assert np.all(first == first[0]) and first[0] != 0
    assert epochs(found["normal"]) > epochs(found["xavier_uniform"]) > epochs(found["he_uniform"])


@mnist
@pytest.mark.parametrize("seeds", [4, pytest.param(16, marks=pytest.mark.soak)])
def test_mnist(seeds: int) -> None:
    """Five dense layers. Published and reproduced: .9697."""
    trials = trained("mnist.yaml", f"data.path={DATA / 'mnist.npz'}", f"stages.0.seeds={seeds}")["seeds"]
    assert len(trials) == seeds and all(t.result.history["val/loss"][-1] <= 0.12 for t in trials)
    assert accuracy(trials) == pytest.approx(0.9697, abs=0.004)


@mnist
@pytest.mark.parametrize("seeds", [4, pytest.param(16, marks=pytest.mark.soak)])
def test_mnist_memorized(seeds: int) -> None:
    """Published: train 1.0, test .8423, Σ|W| 1722, 2815 little. Reproduced: .850-.879; 1697-1727; 2670-2834."""
    trials = trained("mnist_small.yaml", f"data.path={DATA / 'mnist.npz'}", f"stages.0.seeds={seeds}")["seeds"]
    assert len(trials) == seeds
    assert median(t.result.history["train/accuracy"][-1] for t in trials) == 1.0
    assert 0.8423 <= accuracy(trials) <= 0.879
    assert 1697 <= magnitude(trials) <= 1727
    assert 2670 <= count(trials, 0.01) <= 2834 and 20 <= count(trials, 1e-4) <= 44


@adult
def test_income(tmp_path: Path) -> None:
    """Adult without missing values. Published: .8432. Reproduced: .837-.842."""
    arrays = income()
    np.savez(tmp_path / "income.npz", **arrays)
    assert (len(arrays["x"]), len(arrays["test_x"])) == (30162, 15060)
    trials = trained("income.yaml", f"data.path={tmp_path / 'income.npz'}")["seeds"]
    assert len(trials) == 16
    assert 0.837 <= accuracy(trials) <= 0.844


def income() -> dict[str, np.ndarray]:
    """Return rows without `?`, with categories as numbers in alphabetical order."""
    tables = {}
    for part, name in (("", "adult-train.csv"), ("test_", "adult-test.csv")):
        lines = (DATA / name).read_text("utf-8").splitlines()
        cells = [[cell.strip() for cell in line.rstrip(".").split(",")] for line in lines if line.count(",") == 14]
        tables[part] = np.array([row for row in cells if "?" not in row])
    arrays: dict[str, np.ndarray] = {}
    columns = np.concatenate(list(tables.values()))
    known = {k: sorted(set(columns[:, k])) for k in range(14) if not columns[0, k].lstrip("-").isdigit()}
    for part, table in tables.items():
        numbers = [[known[k].index(v) if k in known else float(v) for k, v in enumerate(row[:14])] for row in table]
        arrays[f"{part}x"] = np.array(numbers)
        arrays[f"{part}y"] = (table[:, 14] == ">50K").astype(np.int64)
    return arrays
