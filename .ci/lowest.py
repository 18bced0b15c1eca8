"""Check that the installed release of each dependency is the oldest that pyproject.toml allows."""

import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
extras = project["optional-dependencies"]
newer = []
for text in [*project["dependencies"], *extras["fast"], *extras["onnx"], *extras["png"], *extras["postgres"]]:
    requirement = Requirement(text)
    lowest = next(s.version for s in requirement.specifier if s.operator == ">=")
    if Version(version(requirement.name)) > Version(lowest):
        newer.append(f"{requirement.name} {version(requirement.name)}, allowed from {lowest}")
if newer:
    sys.exit("other dependencies do not allow the oldest releases:\n" + "\n".join(newer))
