"""The study of the README: its accuracy, and the same table for one worker and for two."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import paths
import pytest

STUDY = paths.STUDIES / "digits.yaml"


def table(folder: Path, workers: int) -> Any:
    """Return `show --json` without seconds."""
    hpsearch = [sys.executable, "-m", "hpsearch"]
    database = f"sqlite:///{folder}/digits-{workers}.db"
    options = ["--storage", database, "--tracking-uri", "none", "--quiet", "--workers", str(workers)]
    subprocess.run([*hpsearch, "run", str(STUDY), *options], check=True, capture_output=True)
    shown = subprocess.run([*hpsearch, "show", database, "--json"], check=True, capture_output=True)
    content = json.loads(shown.stdout)
    assert content["stages"][0]["epochs_saved"] > 0 and len(content["confirmed"]) == 3
    for trial in [*content["trials"], content["best"]]:
        del trial["seconds"]
    return content


@pytest.mark.experiments
def test_digits(tmp_path: Path) -> None:
    one, two = table(tmp_path, 1), table(tmp_path, 2)
    assert one == two
    for stage, budget in (("coarse", 5), ("fine", 20)):  # full trainings of 50 epochs, until four more jobs end
        epochs = sum(t["epochs"] for t in one["trials"] if t["stage"] == stage)
        assert 50 * budget <= epochs <= 50 * (budget + 4)
    assert one["stages"][2]["finished"] == 15
    assert one["best"]["metrics"]["test/accuracy"] >= 0.97
