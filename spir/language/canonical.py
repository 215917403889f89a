"""JSON in one form, for digests and comparisons."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["canonical"]


def canonical(data: Any) -> str:
    """JSON with sorted keys and without blanks: equal data gives equal text."""
    return _ENCODER.encode(data)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
