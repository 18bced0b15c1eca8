"""`hpsearch next`: the study file that follows from the advice is valid, holds the changes, and runs."""

import math
from pathlib import Path

import pytest

from hpsearch.config.load import load_spec
from hpsearch.errors import OutputError
from hpsearch.report.advice.followup import follow_up, follow_up_lines, write_follow_up
from tests.hpsearch.report.advice.advice_cases import ROWS, study, summary_of
from tests.hpsearch.test_cli import Call, call  # noqa: F401 (a fixture)

RICHER = {
    "model": {"hidden": [{"units": "hidden_units", "activation": {"name": "leaky_relu", "slope": 0.1}}]},
    "train": {"optimizer": "momentum", "epochs": 20, "schedule": {"name": "step", "every": 5, "gamma": 0.5}},
}


def test_the_changes_are_made_and_the_best_point_is_the_guess(tmp_path: Path) -> None:
    of = summary_of(study(**RICHER), lambda p: 0.5 + 0.05 * math.log10(float(p["l2"])), scores={}, best=20)
    found = follow_up(of)
    assert found.name == "small-2" and found.text is not None
    out = tmp_path / "small-2.yaml"
    write_follow_up(found, out)
    spec, notices = load_spec(out)
    assert not notices and spec == found.spec and spec.name == "small-2"
    assert spec.parameters["l2"].max == 0.1  # type: ignore[union-attr]
    assert spec.train.epochs == 40 and spec.model == of.spec.model and spec.data == of.spec.data
    assert of.champion is not None
    guess = spec.parameters["learning_rate"].guess  # type: ignore[union-attr]
    assert guess == pytest.approx(of.champion.point["learning_rate"], rel=1e-5)
    assert "# The best l2, " in found.text and "#   train.epochs: 20 → 40" in found.text
    assert "guess: " not in "".join(line for line in found.text.splitlines() if line.startswith("#"))
    with pytest.raises(OutputError, match="exists; name another file with --out"):
        write_follow_up(found, out)
    lines = "\n".join(follow_up_lines(found, of.spec, out, "small.db"))
    assert f"Run it: hpsearch run {out}" in lines and "--fork" not in lines  # with more epochs, outcomes differ


def test_a_study_of_which_only_ranges_change_can_take_its_trials() -> None:
    of = summary_of(study(), lambda p: 0.5 + 0.05 * math.log10(float(p["l2"])), scores={})
    lines = follow_up_lines(follow_up(of), of.spec, Path("a b.yaml"), "small.db")
    assert lines[-1].endswith("hpsearch run 'a b.yaml' --set name=small --storage small.db --fork small-2")


def test_without_a_reason_nothing_is_written() -> None:
    found = follow_up(summary_of(study(name="small-9"), lambda p: 0.5, scores={}))
    assert found.text is None and found.name == "small-10"
    assert follow_up_lines(found, found.spec, Path("x.yaml"), "d") == [
        "The trials give no reason to change the study file; nothing is written."
    ]


def test_a_change_that_would_break_the_file_is_left_to_a_person() -> None:
    """A study of one point over seeds cannot search a new parameter."""
    one = study(parameters={"learning_rate": 0.1, "hidden_units": 4}, stages=[{"name": "seeds", "seeds": 16}])
    of = summary_of(one, lambda p: 0.8, ROWS, {"fit/accuracy": 1.0, "val/accuracy": 0.8})
    found = follow_up(of)
    assert found.text is None and [c.key for c in found.left] == ["parameters.l2"]
    assert "For you to decide, not changed:" in follow_up_lines(found, one, Path("x.yaml"), "d")


def test_the_command(call: Call, database: Path, tmp_path: Path) -> None:  # noqa: F811
    said = call("next", database, "--out", tmp_path / "next.yaml")
    assert said.code == 0, said.err
    written = (tmp_path / "next.yaml").exists()
    assert ("written, with these changes" in said.out) == written
    if written:
        assert call("check", tmp_path / "next.yaml").code == 0
        assert call("next", database, "--out", tmp_path / "next.yaml").code == 2
