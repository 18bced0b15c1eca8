"""The examples of training code in `studies/own/` run, and the study files on its page are valid."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import hpsearch
from hpsearch.config.load import spec_from_mapping
from tests.hpsearch.paths import REPOSITORY

OWN = REPOSITORY / "studies" / "own"
QUICK = {  # fewer and shorter trials
    "pytorch": ("stages.0.budget=1", "stages.1.budget=2", "stages.2.seeds=2"),
    "boosting": ("train.epochs=3", "stages.0.trials=4", "stages.1.trials=2", "stages.2.top=1"),
}
GOALS = {"branin": 0.6, "command": 0.01, "pytorch": 0.25, "boosting": 1.0}  # that the best trial reaches


def _marked(study: str) -> object:
    """Return the parameter of a study; importing PyTorch in each worker takes seconds."""
    return pytest.param(study, marks=[pytest.mark.crash] if study == "pytorch" else [])


@pytest.mark.parametrize("study", [_marked(path.stem) for path in sorted(OWN.glob("*.yaml"))])
def test_examples(study: str, tmp_path: Path) -> None:
    if study == "pytorch" and importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch")
    folder = tmp_path / "own"
    shutil.copytree(OWN, folder)
    result = hpsearch.run(folder / f"{study}.yaml", overrides=QUICK.get(study, ()), tracking_uri="none", workers=2)
    assert result.best_value < GOALS[study]
    assert set(result.trials.state) <= {"complete", "pruned"}


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", (OWN / "README.md").read_text("utf-8"), re.DOTALL))
def test_study_files_on_the_page(block: str) -> None:
    spec, notices = spec_from_mapping(YAML(typ="safe", pure=True).load(block), "page")
    assert spec.name and notices == []
