"""Ensembles: members with their own preprocessing predict together, as in the study, and are saved as one model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from people_cases import people, run_ensemble, run_study

import hpsearch
from hpsearch.config.references import preprocessing_values
from hpsearch.data.dataset import prepare
from hpsearch.errors import DataError, StorageError
from hpsearch.models.export import ensemble_model
from hpsearch.models.members import weighted_mean
from hpsearch.models.model import Model
from hpsearch.models.prepared import pack_others, unpack_others
from hpsearch.storage.study_db import read
from hpsearch.study.ending.ensemble import scores_on_test
from tests.hpsearch import test_cli

Call = test_cli.Call
call = test_cli.call  # a fixture


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> hpsearch.StudyResult:
    """Return a study with folds, two ways of preprocessing, and an ensemble with members of both."""
    result = run_ensemble(tmp_path_factory.mktemp("study"))
    members = result.ensemble.members
    assert sorted(m.count for m in members) == [1, 2]
    assert {m.preprocessing[0].missing_indicators == () for m in members} == {True, False}
    return result


def test_weighted_mean() -> None:
    one, other = np.float32([[0.25], [1]]), np.float32([[1], [0]])
    mean = weighted_mean([one, other], [2, 1])
    assert mean.dtype == np.float32 and mean.tolist() == [[0.5], [np.float32(2 / 3)]]
    assert weighted_mean([one], [7]) is one


def test_the_mean_of_the_members(ran: hpsearch.StudyResult) -> None:
    """Each with its own preprocessing, all folds together, counted as often as it was selected."""
    first, *others = ran.ensemble.members
    singles = [Model(m.predictor, m.preprocessing, ran.ensemble.classes, {}).scores(people()) for m in (first, *others)]
    counts = [m.count for m in ran.ensemble.members]
    np.testing.assert_allclose(ran.ensemble.scores(people()), np.average(singles, axis=0, weights=counts), atol=1e-7)
    assert abs(singles[0] - singles[1]).max() > 0.01


def test_predictions_equal_those_of_the_study(ran: hpsearch.StudyResult, tmp_path: Path) -> None:
    """The stored test scores are those of the model's own predictions of the test rows."""
    spec, model = ran.summary.spec, ran.ensemble
    dataset, _ = prepare(spec.data, spec.seed, tmp_path, preprocessing_values(spec))
    each = []
    for m, key in zip(model.members, ran.summary.ensemble.members, strict=True):  # type: ignore[union-attr]
        at = dataset.at({t.key: t.point for stage in ran.summary.trials for t in stage}[key])
        test = at.part("test")
        assert test is not None
        folds = [m.network.predict(m.theta[k : k + 1], test.of(k).x)[0] for k in range(3)]
        each.append(np.mean(folds, axis=0, dtype=np.float64).astype(np.float32))
    mean = weighted_mean(each, [m.count for m in model.members])
    said = model.scores(people())[:, 1]
    assert np.isin(mean[:, 0], said).all(), "the model predicts a test row differently from the study"
    stored = ran.summary.ensemble
    assert stored is not None
    expected = scores_on_test(spec, dataset, mean[None])
    assert expected == {name: stored.scores[name] for name in expected} and len(expected) > 4


def test_exported(ran: hpsearch.StudyResult, call: Call) -> None:
    """`export --ensemble` writes it; loaded, it predicts the same bits, and so does `predict`."""
    database = ran.url.removeprefix("sqlite:///")
    said = call("export", database, "--to", "model", "--ensemble")
    assert said.code == 0 and "small ensemble of fine/1 × 2, coarse/1, val/loss" in said.out
    loaded, frame = hpsearch.load_model("model"), people()
    assert loaded.scores(frame).tobytes() == ran.ensemble.scores(frame).tobytes()
    frame.to_csv("new.csv", index=False)
    assert call("predict", "model", "new.csv", "--out", "out.csv").code == 0
    assert (np.loadtxt("out.csv", str, delimiter=",", skiprows=1)[:, 0] == loaded.predict(frame)).all()
    about = json.loads(Path("model/model.json").read_text("utf-8"))["about"]
    assert [m["count"] for m in about["members"]] == [2, 1] and "parameters" not in about
    assert {m["parameters"]["filling"] for m in about["members"]} == {"indicator", "most_frequent"}
    assert about["metrics"] == dict(ran.summary.ensemble.scores)  # type: ignore[union-attr]
    assert call("export", database, "--to", "model").code == 0
    assert len(hpsearch.load_model("model").members) == 1


def test_no_ensemble(call: Call, tmp_path: Path) -> None:
    database = tmp_path / "small.db"
    run_study(tmp_path, "inline")
    said = call("export", database, "--to", "model", "--ensemble")
    assert said.code == 2 and not Path("model").exists() and len(said.err.splitlines()) == 1
    assert "the study has no ensemble; add ensemble: {size: 5} to its study file and run it again" in said.err


def test_weights_that_are_missing(ran: hpsearch.StudyResult) -> None:
    stored = ran.summary.ensemble
    assert stored is not None
    lost = stored._replace(members={("coarse", 99): 1})
    with pytest.raises(StorageError, match="the weights of coarse/99 are not stored"):
        read(ran.url, lambda storage: ensemble_model(ran.summary.spec, storage, lost, ran.summary.trials))


DAMAGE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "count": (lambda c: c["others"][0].update(count=0), "others.0.count"),
    "no count": (lambda c: c["others"][0].pop("count"), "others.0.count"),
    "more members": (lambda c: c["others"].append(c["others"][0]), "there is no array"),
    "classes": (lambda c: c["others"][0]["network"].update(loss={"name": "squared_error"}), "network"),
    "columns": (lambda c: c["others"][0]["preprocessing"][0].update(categorical={}), "preprocessing"),
    "folds": (lambda c: c["others"][0]["preprocessing"].pop(), "its weights are"),
    "key": (lambda c: c["others"][0].update(theta=1), "others.0.theta"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_members(ran: hpsearch.StudyResult, tmp_path: Path, case: str) -> None:
    ran.ensemble.save(tmp_path / "model")
    file, (change, message) = tmp_path / "model" / "model.json", DAMAGE[case]
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(DataError, match=f"contains no model that this version can read.*{message}"):
        Model.load(tmp_path / "model")


def test_members_of_other_columns(ran: hpsearch.StudyResult) -> None:
    """A column cannot be numeric for one member and categorical for another."""
    first, *others = ran.ensemble.members
    content, arrays = pack_others(others)
    about = {"others": content, "classes": ["no", "yes"], "features": list(ran.ensemble.features), "input_format": {}}
    assert [m.count for m in unpack_others(about, arrays, first)] == [1]
    numeric = tuple(replace(fold, categorical={}) for fold in first.preprocessing)
    with pytest.raises(ValueError, match=r"others\.0: must read the same columns as the first member"):
        unpack_others(about, arrays, replace(first, preprocessing=numeric))
