"""Where the mapping tables are: beside the packages in a checkout, inside `spir/data` in a wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from spir.errors import Unavailable

__all__ = ["folder", "read"]


def folder() -> Path:
    """The `mappings` folder. Raises Unavailable where the installation has none."""
    root = Path(__file__).resolve().parent.parent
    for place in (root / "mappings", root / "spir" / "data" / "mappings"):
        if place.is_dir():
            return place
    raise Unavailable("the mapping tables are not installed", hint="install spir-suite again")


def read(name: str) -> dict[str, Any]:
    """The table `mappings/<name>.toml`, decoded."""
    return tomllib.loads((folder() / f"{name}.toml").read_text("utf-8"))
