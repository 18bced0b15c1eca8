"""A table of people, a study file for it, and a study of it with folds and two ways of preprocessing."""

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pandas as pd

import hpsearch


def people(rows: int = 150, seed: int = 5) -> pd.DataFrame:
    """Return a table with numeric and categorical columns, missing cells, and a target that can be learned."""
    generator = np.random.default_rng(seed)
    age, pay = generator.normal(40, 12, rows), generator.lognormal(3, 1, rows)
    town = generator.choice(["Bonn", "Köln", 'the "Ruhr", west', "Ulm"], rows).astype(object)
    happy = np.where(age / 12 + (town == "Bonn") * 2 + generator.normal(0, 0.5, rows) > 3.6, "yes", "no")
    age[generator.random(rows) < 0.1] = np.nan
    town[generator.random(rows) < 0.1] = None
    return pd.DataFrame({"age": age, "happy": happy, "town": town, "pay": pay, "member": generator.random(rows) < 0.5})


def content(folder: Path, table: pd.DataFrame, **data: Any) -> dict[str, Any]:
    """Write the table as `people.csv` and return a study file that predicts `happy`; `data` are further settings."""
    table.to_csv(folder / "people.csv", index=False)
    given = {"source": "csv", "path": str(folder / "people.csv"), "target": "happy", **data}
    return cases.content(**{"data": given, "train.epochs": 3, "stages.0.trials": 4, "stages.1.trials": 3})


def run_study(folder: Path, executor: str = "processes", **changes: Any) -> hpsearch.StudyResult:
    """Run a study in `folder/small.db`, with three folds and the way to impute as a parameter."""
    given = content(folder, people(), split={"folds": 3}, impute="filling")
    given["parameters"]["filling"] = {"values": ["indicator", "most_frequent"]}
    given |= changes
    return hpsearch.run(given, storage=folder / "small.db", tracking_uri="none", workers=1, executor=executor)


def run_ensemble(folder: Path) -> hpsearch.StudyResult:
    """Run that study with an ensemble, whose members impute in both ways, one of them counted twice."""
    return run_study(folder, "inline", seed=11, ensemble={"size": 4})
