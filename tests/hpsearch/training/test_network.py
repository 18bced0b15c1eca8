"""Networks that do not fit the data, and metrics that do not fit the task."""

from pathlib import Path

import cases
import pytest
from fold_cases import prepared

from hpsearch.errors import DataError


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (
            "wine",
            "val/rmse",
            "metric.name: val/rmse is for regression, the task is classification; choose from accuracy",
        ),
        (
            "diabetes",
            "val/roc_auc",
            "metric.name: val/roc_auc is for classification, the task is regression; choose from r2",
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
