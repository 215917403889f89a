"""The operations of the HTTP API, with the policy id of each and the permission that the id stands for. Pure.

The table is `mappings/pdp.toml`; what is served, what is asked of callers and
what the OpenAPI description says all come from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spir.errors import DocumentError

__all__ = ["Operation", "Operations"]


@dataclass(frozen=True, slots=True)
class Operation:
    """`permission`: the operation code that the caller must be permitted; "" is open to all."""

    id: str
    method: str
    path: str
    policy_id: str
    permission: str
    summary: str


@dataclass(frozen=True, slots=True)
class Operations:
    """`policies`: the registered policy ids, each with its permission."""

    by_id: Mapping[str, Operation]
    policies: Mapping[str, str]

    @classmethod
    def build(cls, table: Mapping[str, Any]) -> Operations:
        """From the decoded mapping table. Raises DocumentError for an id that is not registered."""
        policies = {id: permission for id, permission, _ in table["policies"]}
        found: dict[str, Operation] = {}
        for id, method, path, policy_id, summary in table["operations"]:
            if policy_id not in policies:
                raise DocumentError(f"operation `{id}` names the policy id `{policy_id}`, which is not registered")
            found[id] = Operation(id, method, path, policy_id, policies[policy_id], summary)
        return cls(found, policies)
