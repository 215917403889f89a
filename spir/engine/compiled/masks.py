"""Sets of policies as integers: bit n stands for the n-th policy of a bucket."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["positions", "united"]

_BITS = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


def positions(mask: int) -> list[int]:
    """The members in order."""
    if mask.bit_count() * 32 > mask.bit_length():
        return [
            place * 8 + bit
            for place, byte in enumerate(mask.to_bytes((mask.bit_length() + 7) // 8, "little"))
            for bit in _BITS[byte]
        ]
    found = []
    while mask:  # few members: from the last one down
        last = mask.bit_length() - 1
        found.append(last)
        mask ^= 1 << last
    found.reverse()
    return found


def united(masks: Iterable[int]) -> int:
    whole = 0
    for mask in masks:
        whole |= mask
    return whole
