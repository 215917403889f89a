"""What a message says, in our words: the intermediate form between the tokenizer and the session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spir.model.facts import Change

__all__ = ["Matter", "Reading"]


@dataclass(frozen=True, slots=True)
class Matter:
    """One thing to be decided about a message.

    `patient` is canonical, "" if the message is about nobody. `properties` are
    those of the resource. `content` is what a notification about it may say
    beside who, what and when: codes and order numbers, JSON-ready, no text.
    `merged` are the names that end in `patient`.
    """

    operation: str
    patient: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)
    merged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A message as it was understood: `event` as `ADT^A01`; all `matters` must be permitted before `changes` count.

    `warnings` are fixed words for the audit trail, never content.
    """

    event: str
    matters: tuple[Matter, ...]
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
