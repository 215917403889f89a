"""Sets of policies as integers: bit n stands for the n-th policy of a bucket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["mask_of", "positions"]

_BITS = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


def positions(mask: int) -> Iterator[int]:
    """The members in order. Linear in the size of the mask, however many it has."""
    for place, byte in enumerate(mask.to_bytes((mask.bit_length() + 7) // 8, "little")):
        if byte:
            for bit in _BITS[byte]:
                yield place * 8 + bit


def mask_of(members: Iterable[int]) -> int:
    """The set of these members."""
    found = sorted(members)
    if not found:
        return 0
    octets = bytearray(found[-1] // 8 + 1)
    for member in found:
        octets[member >> 3] |= 1 << (member & 7)
    return int.from_bytes(octets, "little")
