"""The cases of the other tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "hpsearch"))

from quick import migrations_read_once  # noqa: F401
