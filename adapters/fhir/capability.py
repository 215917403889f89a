"""What we say of ourselves: the CapabilityStatement and the SMART configuration. The upstream's are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from adapters.fhir.outcome import JSON, Response
from adapters.fhir.tables import Tables, TypeRow

__all__ = ["capability_statement", "smart_configuration"]

INTERACTIONS = ("read", "vread", "search-type", "create", "update", "delete")


def capability_statement(tables: Tables, base: str, version: str, date: datetime) -> Response:
    """The same for everybody: what could be permitted, not what is (FHIR R4 capabilitystatement.html)."""
    body = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date.date().isoformat(),
        "kind": "instance",
        "software": {"name": "SPIR", "version": version},
        "implementation": {"description": "An access policy in front of a FHIR server", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "security": {"cors": False, "description": "Bearer tokens; every request is decided and recorded"},
                "resource": [_resource(row) for row in tables.types.values()],
            }
        ],
    }
    return Response(200, orjson.dumps(body), (("Content-Type", JSON),))


def smart_configuration(configured: Mapping[str, Any]) -> Response:
    """`configured`: what the site's authorisation server offers, by the names of SMART App Launch 2."""
    body = {"capabilities": ["permission-v2"], **configured}
    return Response(200, orjson.dumps(body), (("Content-Type", "application/json"),))


def _resource(row: TypeRow) -> dict[str, Any]:
    return {
        "type": row.fhir,
        "interaction": [{"code": code} for code in INTERACTIONS],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [{"name": item.name, "type": item.type} for item in row.parameters.values()],
    }
