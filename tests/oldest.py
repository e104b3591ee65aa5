"""Print pyproject.toml's requirements at the oldest version that each allows, as constraints for pip."""

import tomllib
from itertools import chain
from pathlib import Path

project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
requirements = chain(project["dependencies"], *project["optional-dependencies"].values())
print(*sorted({line.replace(">=", "==") for line in requirements if ">=" in line}), sep="\n")
