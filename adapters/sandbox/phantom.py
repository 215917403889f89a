"""Pixels for invented images: ellipses filled row by row, in plain Python.

A phantom is what a physicist puts in a scanner instead of a patient. Each is a
few ellipses painted over one another; a row of an ellipse is one slice
assignment, so that the whole sandbox is painted in a fraction of a second
without numpy.
"""

from __future__ import annotations

import math
import random
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Ellipse", "head", "paint", "plate", "speckle", "words"]


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Centre and half axes in units of half the image (-1 to 1, y downwards), and the value to paint."""

    x: float
    y: float
    a: float
    b: float
    value: int


def paint(size: int, background: int, shapes: Iterable[Ellipse]) -> list[int]:
    """`size` x `size` values, row by row; later shapes lie over earlier ones."""
    pixels = [background] * (size * size)
    half = size / 2
    for shape in shapes:
        for row in range(size):
            rise = ((row + 0.5) / half - 1 - shape.y) / shape.b
            if abs(rise) >= 1:
                continue
            reach = shape.a * math.sqrt(1 - rise * rise)
            left = max(0, round((1 + shape.x - reach) * half))
            right = min(size, round((1 + shape.x + reach) * half))
            if left < right:
                pixels[row * size + left : row * size + right] = [shape.value] * (right - left)
    return pixels


def head(size: int, level: float, scale: int) -> list[int]:
    """An axial slice: skull, brain and two ventricles; `level` from 0 (top) to 1, `scale` is the skull's value."""
    girth = 0.55 + 0.4 * math.sin(math.pi * min(max(level, 0.0), 1.0))
    brain = scale // 3
    return paint(
        size,
        0,
        (
            Ellipse(0, 0, 0.75 * girth, 0.92 * girth, scale),
            Ellipse(0, 0, 0.68 * girth, 0.85 * girth, brain),
            Ellipse(-0.16, 0.05, 0.09 * girth, 0.3 * girth, brain // 2),
            Ellipse(0.16, 0.05, 0.09 * girth, 0.3 * girth, brain // 2),
            Ellipse(0.25, -0.35, 0.08, 0.08, brain + brain // 3),
        ),
    )


def plate(size: int, shift: float, scale: int) -> list[int]:
    """A projection image: a bright body with two dark fields, moved sideways by `shift`."""
    return paint(
        size,
        scale // 20,
        (
            Ellipse(shift, 0.05, 0.85, 0.95, scale * 3 // 4),
            Ellipse(-0.38 + shift, 0, 0.3, 0.62, scale // 4),
            Ellipse(0.38 + shift, 0, 0.3, 0.62, scale // 4),
            Ellipse(0.12 + shift, 0.3, 0.28, 0.3, scale),
        ),
    )


def speckle(size: int, seed: int) -> list[int]:
    """An ultrasound-like image, 8 bit: noise of a fixed seed with two dark cysts."""
    noise = random.Random(seed).randbytes(size * size)
    mask = paint(
        size, 2, (Ellipse(0, 0.1, 0.9, 0.85, 4), Ellipse(-0.2, 0, 0.2, 0.2, 1), Ellipse(0.4, 0.4, 0.1, 0.1, 1))
    )
    return [grain * weight // 5 for grain, weight in zip(noise, mask, strict=True)]


def words(pixels: list[int]) -> bytes:
    """16-bit little endian, whatever this machine is."""
    packed = array("h", pixels)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
