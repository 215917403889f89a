"""The nearest known word to one that is not known: the most useful part of an error message."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["nearest", "suggestion"]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, letter case aside; None if none is alike."""
    words = {name.lower(): name for name in sorted(known)}
    found = get_close_matches(word.lower()[:200], words, n=1, cutoff=0.6)
    return words[found[0]] if found else None


def suggestion(word: str, known: Iterable[str], kind: str = "") -> str:
    """A hint for an error: the nearest known word, else all of them where they are few, else what declares them."""
    names = sorted(known)
    found = nearest(word, names)
    if found is not None:
        return f"did you mean `{found}`?"
    if not names or len(names) > 12:
        return f"declare it in a document of kind {kind}" if kind else ""
    return f"known: {', '.join(names)}"
