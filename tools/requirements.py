"""Prints what an extra of pyproject.toml asks for, on one line for pip: `requirements.py test`."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(extra: str) -> list[str]:
    """The requirements of `extra`, with the package's own."""
    project = tomllib.loads(Path(__file__).parent.parent.joinpath("pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"][extra]]


if __name__ == "__main__":
    print(" ".join(requirement.replace(" ", "") for requirement in requirements(sys.argv[1])))
