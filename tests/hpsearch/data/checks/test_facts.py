"""All checks of prepared rows: of a bundled table, of a formula, and of a table with text."""

from pathlib import Path

import cases
import numpy as np

from hpsearch.data.checks.columns import column_names
from hpsearch.data.checks.facts import row_facts
from hpsearch.data.dataset import prepare


def test_a_sound_table_has_nothing_to_report(tmp_path: Path) -> None:
    spec = cases.small()
    dataset, prepared = prepare(spec.data, spec.seed, tmp_path)
    facts = row_facts(dataset, prepared[0][0])
    assert facts is not None and not facts.leaks and facts.noise == 0
    assert [d.part for d in facts.drift] == ["val", "test"] and not any(d.notable for d in facts.drift)
    assert not any(r.notable for r in facts.repeats) and facts.largest / facts.smallest < 1.5


def test_a_table_with_a_leak_and_copied_test_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'mf'[int(a + b > 0)]},{'no' if a < b else 'yes'}" for a, b in rng.normal(size=(300, 2))]
    leaking = [f"{row},{row.rpartition(',')[2].upper()}" for row in rows]
    (tmp_path / "train.csv").write_text("\n".join(["a,b,sex,target,copy", *leaking]))
    (tmp_path / "test.csv").write_text("\n".join(["a,b,sex,target,copy", *leaking[:100]]))
    spec = cases.small(
        data={
            "source": "csv",
            "path": str(tmp_path / "train.csv"),
            "test_path": str(tmp_path / "test.csv"),
            "target": "target",
            "task": "classification",
            "split": {"train": 0.7, "val": 0.3, "test": 0},
        }
    )
    folder = tmp_path / "prepared"
    folder.mkdir()
    dataset, prepared = prepare(spec.data, spec.seed, folder)
    names = column_names(prepared[0][0], dataset.inputs[0])
    assert names == ["a", "b", "sex=f", "sex=m", "copy=NO", "copy=YES"]
    facts = row_facts(dataset, prepared[0][0])
    assert facts is not None and {leak.column for leak in facts.leaks} == {"copy=NO", "copy=YES"}
    repeated = {r.part: r for r in facts.repeats}
    assert repeated["test"].notable and not repeated["val"].notable
    assert 0.5 < repeated["test"].share < 0.9  # the share of the copied rows that were drawn for training
