"""Settings that belong to a whole process, made by the program that uses us or by other packages.

None of them changes a result, and none is changed by a study or an estimator.
"""

import asyncio
import copy
import decimal
import gc
import io
import json
import locale
import logging
import logging.config
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cases
import numpy as np
import optuna
import pandas as pd
import pytest
from pandas._config import config as pandas_config
from people_cases import content, people

import hpsearch


def state() -> dict[str, Any]:
    """Return the settings of this process that other packages read."""
    loggers = {name: logger for name, logger in logging.root.manager.loggerDict.items() if not _is_placeholder(logger)}
    return {
        "loggers": {name: _logger_state(logger) for name, logger in [("", logging.root), *loggers.items()]},
        "logging.disable": logging.root.manager.disable,
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "sys.path": list(sys.path),
        "streams": [sys.stdin, sys.stdout, sys.stderr],
        "hooks": [sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning],
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "gc": gc.isenabled(),
        "numpy.errstate": np.geterr(),
        "numpy.printoptions": np.get_printoptions(),
        "numpy.random": repr(np.random.get_state()),
        "random": random.getstate(),
        "pandas": copy.deepcopy(pandas_config._global_config),  # type: ignore[attr-defined]
        "decimal": str(decimal.getcontext()).split(", flags")[0],
        "locale": locale.setlocale(locale.LC_ALL),
    }


def _is_placeholder(logger: object) -> bool:
    return not isinstance(logger, logging.Logger)


def _logger_state(logger: Any) -> tuple[Any, ...]:
    return logger.level, logger.disabled, logger.propagate, list(logger.handlers), list(logger.filters)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what differs, except loggers that are new: a library's import makes them."""
    known = {**after, "loggers": {name: after["loggers"].get(name) for name in before["loggers"]}}
    return {name: (before[name], known[name]) for name in before if before[name] != known[name]}


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@contextmanager
def logging_set_up() -> Iterator[None]:
    """Provide a program's logging: all messages, and the loggers of libraries switched off or passed on."""
    loggers = [logging.root, *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger))]
    before = [(x, x.level, x.disabled, x.propagate, list(x.handlers)) for x in loggers]
    handler = {"class": "logging.StreamHandler", "stream": io.StringIO()}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": True,
            "handlers": {"all": handler},
            "root": {"level": "DEBUG", "handlers": ["all"]},
            "loggers": {"optuna": {"level": "DEBUG", "propagate": True}},
        }
    )
    try:
        yield
    finally:
        for logger, level, disabled, propagate, handlers in before:
            logger.setLevel(level)
            logger.disabled, logger.propagate, logger.handlers = disabled, propagate, handlers


@contextmanager
def pandas_options(**options: Any) -> Iterator[None]:
    known = {name.replace("__", "."): value for name, value in options.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated in some versions
        known = {name: value for name, value in known.items() if _exists(name)}
        with pd.option_context(*(part for option in known.items() for part in option)):
            yield


def _exists(option: str) -> bool:
    with pytest.MonkeyPatch.context():
        try:
            pd.get_option(option)
        except pd.errors.OptionError:
            return False
    return True


@contextmanager
def numpy_settings() -> Iterator[None]:
    seeded = np.random.get_state()
    np.random.seed(0)
    random.seed(0)
    with np.errstate(all="raise"), np.printoptions(precision=1, threshold=3, suppress=True, legacy="1.13"):
        yield
    np.random.set_state(seeded)


@contextmanager
def decimal_context() -> Iterator[None]:
    traps = [decimal.Inexact, decimal.Rounded, decimal.FloatOperation, decimal.Subnormal]
    with decimal.localcontext(decimal.Context(prec=2, traps=traps)):
        yield


@contextmanager
def replaced_streams() -> Iterator[None]:
    """Provide streams without a file, as in a notebook, and hooks that would be noticed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("stdin", "stdout", "stderr"):
            patch.setattr(sys, name, io.StringIO())
        patch.setattr(sys, "excepthook", lambda *_: None)
        yield
        assert sys.stdout.getvalue() == sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


@contextmanager
def no_collections() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def errors_for_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("error", optuna.exceptions.ExperimentalWarning)
        yield


@contextmanager
def other_locale() -> Iterator[None]:
    """Provide a locale with a decimal comma, where one is installed."""
    before = locale.setlocale(locale.LC_ALL)
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"):
        try:
            locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
        break
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


SETTINGS: dict[str, tuple[Callable[[], AbstractContextManager[None]], ...]] = {
    "logging": (logging_set_up,),
    "pandas objects": (
        lambda: pandas_options(
            future__infer_string=False, mode__copy_on_write=True, mode__string_storage="python", display__max_rows=1
        ),
    ),
    "pandas strings": (
        lambda: pandas_options(
            future__infer_string=True,
            mode__copy_on_write="warn",
            mode__string_storage="pyarrow",
            display__precision=1,
            compute__use_numexpr=False,
        ),
    ),
    "NumPy": (numpy_settings,),
    "Python": (decimal_context, replaced_streams, no_collections, errors_for_warnings, other_locale),
}


# ── studies and estimators ────────────────────────────────────────────────────────────────────────────────────────────
def study_in(folder: Path) -> dict[str, Any]:
    return content(folder, people(80), scale="quantile")


def run_study(given: dict[str, Any], folder: Path) -> str:
    """Run a study, which trains in this process, and return the predictions of its model."""
    result = hpsearch.run(given, storage=folder / "small.db", tracking_uri="none", executor="inline")
    assert len(hpsearch.load_study(folder / "small.db").trials) == len(result.trials)
    return repr(result.model.predictions(people(9)).to_dict("list"))


def table(folder: Path) -> str:
    return cases.table(folder / "small.db").replace(str(folder), "")


def fit_estimators() -> list[bytes]:
    """Return the predictions of both estimators."""
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(40, 3)), generator.normal(size=40)
    settings: dict[str, Any] = {"hidden": (5,), "epochs": 4, "random_state": 2, "early_stopping": True}
    labels = np.where(y > 0, "high", "low")
    classifier, regressor = hpsearch.MLPClassifier(**settings), hpsearch.MLPRegressor(**settings)
    return [classifier.fit(x, labels).predict_proba(x).tobytes(), regressor.fit(x, y).predict(x).tobytes()]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[bytes], str]:
    folder = tmp_path_factory.mktemp("expected")
    return run_study(study_in(folder), folder), fit_estimators(), table(folder)


@pytest.mark.parametrize("name", SETTINGS)
def test_results_do_not_depend_on_settings(name: str, tmp_path: Path, expected: Any) -> None:
    """Nor does a study or an estimator change one."""
    given = study_in(tmp_path)  # here, because pandas writes numbers by NumPy's settings
    with ExitStack() as stack:
        for setting in SETTINGS[name]:
            stack.enter_context(setting())
        before = state()
        found = run_study(given, tmp_path), fit_estimators()
        changed = changes(before, state())
    assert (*found, table(tmp_path)) == expected
    assert changed == {}


def test_inside_a_running_event_loop(tmp_path: Path, expected: Any) -> None:
    """As in a notebook."""

    async def cell() -> str:
        return run_study(study_in(tmp_path), tmp_path)

    assert asyncio.run(cell()) == expected[0]
    assert table(tmp_path) == expected[2]


SCRIPT = """
import json, logging, multiprocessing.forkserver, os, signal, sys, warnings

logging.basicConfig(level=logging.DEBUG, filename="messages.log")
multiprocessing.forkserver.set_forkserver_preload(["json"])
import hpsearch
import optuna, ruamel.yaml, scipy.special, scipy.stats, sklearn.preprocessing, threadpoolctl  # these add filters

def state():
    root, server = logging.getLogger(), multiprocessing.forkserver._forkserver
    return {
        "start method": multiprocessing.get_start_method(allow_none=True),
        "fork server": [server._forkserver_pid, server._preload_modules],
        "main": sys.modules["__main__"].study,
        "logging": [root.level, len(root.handlers), root.manager.disable],
        "environment": dict(os.environ),
        "signals": [str(signal.pthread_sigmask(signal.SIG_BLOCK, ())), str(signal.getsignal(signal.SIGINT))],
        "warnings": list(map(str, warnings.filters)),
        "threads": sorted(pool["num_threads"] for pool in threadpoolctl.threadpool_info()),
    }

study = "study.json"
before = state()
hpsearch.run(json.load(open(study)), storage="small.db", tracking_uri="none", workers=2)
slow = sorted({"mlflow", "matplotlib", "torch"} & set(sys.modules))
print(json.dumps({"before": before, "after": state(), "slow": slow}))
multiprocessing.set_start_method("spawn")
"""


def test_a_program_with_settings_for_its_child_processes(tmp_path: Path, expected: Any) -> None:
    """Its start method stays open, its fork server is its own; libraries that only the tracker needs are not imported.

    The table is the same with several threads of BLAS, and with warnings as errors.
    """
    (tmp_path / "study.json").write_text(json.dumps(study_in(tmp_path)), "utf-8")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    path = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, **threads, "PYTHONWARNINGS": "error", "PYTHONPATH": path}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["before"] == found["after"] and found["slow"] == []
    assert table(tmp_path) == expected[2]
