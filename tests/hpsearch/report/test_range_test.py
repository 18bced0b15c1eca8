"""`hpsearch range-test`: the table, the range worth searching, and refusals."""

import re
from pathlib import Path

import cases
import pytest
from click.testing import CliRunner

from hpsearch.cli import commands


def test_range_test(tmp_path: Path) -> None:
    """The suggested learning rates are in the range in which this model trains."""
    path = cases.write(tmp_path, **cases.RICH)
    result = CliRunner().invoke(commands, ["range-test", str(path), "--steps", "120"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = re.search(r"falls most steeply at ([\d.e+-]+)\.", result.output)
    assert found and 1e-3 < float(found[1]) < 5
    assert "Worth searching: learning_rate: {min: " in result.output


@pytest.mark.parametrize(("option", "message"), [("--steps=1", "steps must be"), ("--low=0", "low must be above 0")])
def test_range_test_refuses(tmp_path: Path, option: str, message: str) -> None:
    result = CliRunner().invoke(commands, ["range-test", str(cases.write(tmp_path)), option])
    assert result.exit_code == 2 and message in result.output
