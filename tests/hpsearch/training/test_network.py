"""The network of a point, and metrics that do not fit the task."""

from dataclasses import replace
from pathlib import Path

import cases
import pytest
from fold_cases import prepared

from hpsearch.config.spec import Spec
from hpsearch.data.dataset import Dataset
from hpsearch.errors import DataError
from hpsearch.storage.records import Trial
from hpsearch.training.network import build_network
from tests.hpsearch.study import test_loop

spec, dataset = test_loop.spec, test_loop.dataset  # fixtures


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (
            "wine",
            "val/rmse",
            "metric.name: val/rmse is for regression, but the task is classification; choose from accuracy",
        ),
        (
            "diabetes",
            "val/roc_auc",
            "metric.name: val/roc_auc is for classification, but the task is regression; choose from r2",
        ),
        ("diabetes", "val/f1", "choose from r2, rmse, mae"),
    ],
)
def test_metric_of_another_task(data: str, name: str, message: str, tmp_path: Path) -> None:
    from hpsearch.training.network import check_fit

    spec = cases.small(data={"source": "sklearn", "name": data}, metric={"name": name})
    with pytest.raises(DataError) as caught:
        check_fit(spec, prepared(spec, tmp_path)[0])
    assert message in str(caught.value)


def test_an_ensemble_needs_validation_rows(tmp_path: Path) -> None:
    from hpsearch.training.network import check_fit

    spec = cases.small(metric={"name": "train/loss"}, ensemble={"size": 2})
    dataset = replace(prepared(spec, tmp_path)[0], rows=(("train", 150), ("val", 0), ("test", 0)))
    check_fit(spec.model_copy(update={"ensemble": None}), dataset)
    with pytest.raises(DataError, match=r"ensemble: its members are selected by the validation rows.*data\.split"):
        check_fit(spec, dataset)


def test_the_positive_class_must_exist(tmp_path: Path) -> None:
    from hpsearch.training.network import check_fit

    for data, words in (
        ("wine", "there is no class 'class_9'; did you mean"),
        ("diabetes", "; the task is regression"),
    ):
        spec = cases.small(data={"source": "sklearn", "name": data}, metric={"positive": "class_9"})
        with pytest.raises(DataError, match=f"metric.positive: .*{words}"):
            check_fit(spec, prepared(spec, tmp_path)[0])


def test_networks_have_the_layers_of_the_point(
    conditional_reference: tuple[list[Trial], str], conditional_spec: Spec, dataset: Dataset
) -> None:
    for r in conditional_reference[0]:
        kinds = [type(layer).__name__ for layer in build_network(conditional_spec, dataset, r.point).layers]
        assert kinds.count("Dense") == int(r.point["depth"]) + 1
        assert kinds.count("BatchNorm") == (r.point["depth"] >= 1)
        assert kinds.count("Dropout") == r.point["depth"]
