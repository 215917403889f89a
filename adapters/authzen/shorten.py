"""An explanation that fits into an answer: what matters stays, the rest is counted. Pure.

An operation may have thousands of policies, and each atom of each of them shows
the values that it met. What made the decision is told before what did not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["LONGEST", "shortened"]

LONGEST = 512 * 1024  # bytes of all policies of an explanation

_SILENT = ("does not grant", "does not delegate", "does not apply", "is met")


def shortened(said: dict[str, Any], encode: Callable[[Any], bytes], longest: int = LONGEST) -> dict[str, Any]:
    """`Explanation.to_json` with no more policies than fit; `left_out` of a layer says how many are missing there."""
    policies = [(layer, policy) for layer in said["layers"] for policy in layer["policies"]]
    kept, left = set(), longest
    for _, policy in sorted(policies, key=lambda one: one[1]["verdict"].startswith(_SILENT)):
        left -= len(encode(policy))
        if left < 0:
            break
        kept.add(id(policy))
    if len(kept) == len(policies):
        return said
    return {**said, "layers": [_without(layer, kept) for layer in said["layers"]]}


def _without(layer: dict[str, Any], kept: set[int]) -> dict[str, Any]:
    policies = [policy for policy in layer["policies"] if id(policy) in kept]
    return {**layer, "policies": policies, "left_out": len(layer["policies"]) - len(policies)}
