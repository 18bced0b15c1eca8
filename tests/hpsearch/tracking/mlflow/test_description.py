"""The description of a study: its contents, and names that contain Markdown."""

from dataclasses import replace
from pathlib import Path

import cases
import pytest

from hpsearch.config.spec import Spec
from hpsearch.storage.records import Trial
from hpsearch.tracking import StudyInfo
from hpsearch.tracking.mlflow.description import MAX_DESCRIPTION, SIGNATURE, code, description, escaped
from hpsearch.tracking.mlflow.saved_view import view_link
from tests.hpsearch.tracking.mlflow.test_saved_view import with_many_parameters


def study_info(spec: Spec, database: str = "my studies/small.db") -> StudyInfo:
    """Describe a study."""
    return StudyInfo(spec, "identity", 1e9, {"database": database}, {"rows": 1500, "classes": 3})


def test_description() -> None:
    """It has the search, the best trial, and the commands to resume and to use the model."""
    spec = cases.small(**{"stages": cases.FULL["stages"]})
    metrics = {"val/loss": 0.25, "test/accuracy": 0.875, "fit/loss": 0.1}
    point = {"learning_rate": 0.01234567, "hidden_units": 8}
    best = Trial("fine", 3, {}, point, "complete", 0.25, metrics=metrics)
    text = description(study_info(spec), "7", best, "small")
    for part in (
        "**Study small**, metric `val/loss`, seed 5",
        "`iris` (sklearn), 1,500 rows, 3 classes",
        "`hidden_units tanh`",
        "Stage `coarse`: 18 trials, random",
        "Stage `fine`: 13 trials, tpe, in a narrowed range",
        "Stage `confirm`: top 3 × 2 seeds",
        "| `learning_rate` | 0.001 … 1 | `log` |",
        "| `hidden_units` | 4, 8 | ordered values |",
        "| `l2` | 0.0001 | fixed |",
        "**Best trial**: `fine/3`",
        "- `val/loss` 0.25",
        "- `test/accuracy` 0.875",
        "- `learning_rate` = 0.01235",
        "`hpsearch resume 'my studies/small.db'`",
        "`hpsearch export 'my studies/small.db' --to model/`",
        'hpsearch.load_model("model/")',
        'mlflow.pyfunc.load_model("models:/small@champion")',
        f"]({view_link('', '7')})",
    ):
        assert part in text, part
    assert "fit/loss" not in text and text.endswith(SIGNATURE)
    early = description(study_info(spec), "7")
    assert "no trial is complete" in early and "@champion" not in early


NASTY = "<img src=x onerror=alert(1)> | `a` ](javascript:alert) ${SHELL} *b*\n# c &lt;"


@pytest.mark.parametrize("text", [NASTY, "`", "a|b", "<b>", "x\ny", "[a](b)`"])
def test_nothing_in_a_name_is_markup(text: str) -> None:
    """Characters with a meaning in Markdown are escaped; plain text is between backticks."""
    written = code(text)
    assert not set(written) & set("<>|`*[]#\n\"'\\_!") - {"#"} and written.count("#") == written.count("&#")
    assert code("log10_a") == "`log10_a`" and escaped("a<b") == "a&#60;b"


def test_names_from_the_file(tmp_path: Path) -> None:
    content = cases.content()
    content["data"] = {"source": "csv", "path": "rows/<script>|`x`.csv", "target": "y"}
    content["parameters"]["activation"] = {"values": ["tanh", "relu"]}
    content["model"]["hidden"][0]["activation"] = "activation"
    spec = cases.small(**{key: content[key] for key in ("data", "parameters", "model")})
    point = {"<i>": "<u>|`"}
    trial = Trial("fine", 3, {}, point, "complete", 0.25, metrics={"val/<b>": 1.0})
    text = description(study_info(spec, "<p>`|.db"), "7", trial)
    for tag in ("<script>", "<i>", "<u>", "<b>", "<p>"):
        assert tag not in text
    assert "`x`" not in text


@pytest.mark.parametrize(
    "database", ["postgresql://me:hunter-22@host/db", "mysql://host/db?password=hunter-22", "<a password=hunter-22"]
)
def test_no_passwords(database: str) -> None:
    assert "hunter" not in description(study_info(cases.small(), database), "7")


def test_many_parameters() -> None:
    """MLflow accepts 20,000 characters."""
    spec = with_many_parameters()
    text = description(study_info(spec), "1")
    assert len(text) + 1000 > MAX_DESCRIPTION and len(text) < 20_000 and text.endswith(SIGNATURE)


def test_the_commands_of_a_study_that_shares_its_database() -> None:
    study = replace(study_info(cases.small(), "postgresql://me:${PGPASSWORD}@host/db"), shared=True)
    text = description(study, "7", None, None)
    assert "`hpsearch resume 'postgresql://me:${PGPASSWORD}@host/db' --study small`" in text
