"""The registry of samplers."""

import os
import subprocess
import sys

import pytest

from hpsearch import samplers
from hpsearch.samplers import SAMPLERS, missing_extra


def test_importing_is_cheap() -> None:
    """Every check of a study file imports the registry."""
    heavy = "{'optuna', 'scipy', 'torch', 'cmaes', 'sklearn'} & set(sys.modules)"
    use = "hpsearch.samplers.missing_extra('gp')"
    code = f"import sys, hpsearch.samplers; {use}; sys.exit(repr({heavy}) if {heavy} else 0)"
    paths = os.pathsep.join(path for path in sys.path if path)
    fresh = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert fresh.returncode == 0, fresh.stderr


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(missing_extra(name) is None for name in SAMPLERS if name != "gp")
    monkeypatch.setattr(samplers, "find_spec", lambda module: None)
    assert missing_extra("gp") == "sampler gp needs torch: pip install 'hpsearch[gp]'"
    assert missing_extra("cmaes") is missing_extra("random") is None
