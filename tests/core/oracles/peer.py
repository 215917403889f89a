"""What another policy language makes of a policy set: the common part of the oracles."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from spir.model.policy import OperationPattern, Policy
from spir.model.request import Request

__all__ = ["Opinion", "document", "library", "pattern"]


@dataclass(frozen=True)
class Opinion:
    """A peer's answer: the permits that hold, the denies and unmet requires, and those it skipped for an error.

    A peer that stops at a deny does not name the permits: None.
    """

    permitted: bool
    permits: frozenset[str] | None
    forbids: frozenset[str]
    skipped: frozenset[str] = frozenset()


def library(module: str, distribution: str) -> Any:
    """A peer's Python package. Skips the test by its name, or fails where peers are required."""
    try:
        return import_module(module)
    except ImportError:
        message = f"peer `{distribution}` is not installed: pip install the dev extra"
        if os.environ.get("SPIR_REQUIRE_PEERS") == "1":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)


def document(request: Request) -> dict[str, Any]:
    """The request's attributes by dimension and name, as both peers are given them."""
    subject, resource = dict(request.subject.properties), dict(request.resource.properties)
    return {
        "subject": _plain({"id": request.subject.id, **subject}),
        "resource": _plain(resource),
        "context": _plain(dict(request.context)),
        "action": {"name": request.action.name},
    }


def pattern(policy: Policy) -> OperationPattern:
    (only,) = policy.operations
    return only


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
