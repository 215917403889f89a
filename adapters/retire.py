"""Let go of a large structure a little at a time.

Dropping the last reference to rules of 10,000 policies frees hundreds of
thousands of objects in one go, and nothing else runs meanwhile (measured: 8 ms
and more). Here every object of it is held by a list first, so that dropping
one frees that one alone.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

__all__ = ["held", "let_go"]

CONTAINERS = (tuple, list, dict, set, frozenset)
OURS = "spir."
SHARDS = 1024


def held(root: Any, keep: Iterator[Any]) -> list[Any]:
    """All objects that `root` is made of, what it is made of after it; `keep` and what those hold is left out.

    It looks into containers and objects of ours only, not into functions or
    modules: those lead everywhere.
    """
    # Many small sets: one large one would be enlarged, and freed, in steps of milliseconds.
    seen: list[set[int]] = [set() for _ in range(SHARDS)]
    for one in keep:
        seen[(id(one) >> 4) % SHARDS].add(id(one))
    found = [root]
    for one in found:  # it grows while it is gone through
        for part in gc.get_referents(one):
            shard = seen[(id(part) >> 4) % SHARDS]
            if id(part) not in shard and (type(part) in CONTAINERS or type(part).__module__.startswith(OURS)):
                shard.add(id(part))
                found.append(part)
    while seen:
        seen.pop()
    return found


def let_go(objects: list[Any]) -> None:
    """Drop from the first to the last: each frees itself, for its parts are still in the list."""
    objects.reverse()
    while objects:
        objects.pop()
