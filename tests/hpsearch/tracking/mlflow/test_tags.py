"""Names in MLflow: parameters of axes, and tags."""

from hpsearch.core.space import Range, Values, build_space
from hpsearch.tracking.mlflow import tags


def test_parameters_of_log_axes() -> None:
    """MLflow's charts have no log axes, so parameters of log axes are log10 of the internal value."""
    space = build_space(
        {
            "rate": Range(min=1e-3, max=1.0, scale="log"),
            "beta": Range(min=0.5, max=0.99, scale="one_minus_log"),
            "share": Range(min=0.0, max=1.0),
            "size": Values(values=(16, 32), ordered=True),
            "kind": Values(values=("a", "b")),
        }
    )
    assert [tags.param_name(axis) for axis in space.axes] == [
        "log10_rate",
        "log10_one_minus_beta",
        "share",
        "size",
        "kind",
    ]


def test_tags_differ() -> None:
    """A name that is used twice would overwrite another value."""
    names = [value for name, value in vars(tags).items() if name.isupper()]
    assert len(names) > 10 and len(set(names)) == len(names)
