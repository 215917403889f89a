"""How commands answer: text for people, JSON for programs, and the exit code.

0 is ok, 1 a finding or a denial, 2 wrong usage or bad input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["FINDING", "OK", "USAGE", "say"]

OK = 0
FINDING = 1
USAGE = 2


def say(arguments: Any, data: Any, lines: Iterable[str]) -> None:
    """Print `data` as one JSON document if `--json` was given, else the lines."""
    if getattr(arguments, "json", False):
        print(json.dumps(data, ensure_ascii=False, indent=2, default=str))
    else:
        for line in lines:
            print(line)
    sys.stdout.flush()
