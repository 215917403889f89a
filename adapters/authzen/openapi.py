"""The OpenAPI 3.1 description of the HTTP API, and the AuthZEN metadata. Pure.

Each operation carries `x-mcp2026-policy-id`: the registered id of the policy
that its callers are measured by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.authzen.forms import MAX_BATCH
from adapters.authzen.operations import Operation, Operations
from adapters.authzen.search import MOST_RESULTS
from spir.model.obligation import KNOWN_TYPES

__all__ = ["POLICY_ID", "configuration", "description"]

POLICY_ID = "x-mcp2026-policy-id"

Schema = dict[str, Any]


def configuration(base: str, operations: Operations) -> dict[str, Any]:
    """AuthZEN PDP metadata; `base` is our URL as callers see it."""
    endpoints = {
        "access_evaluation_endpoint": "evaluate",
        "access_evaluations_endpoint": "evaluateMany",
        "search_subject_endpoint": "searchSubject",
        "search_resource_endpoint": "searchResource",
        "search_action_endpoint": "searchAction",
    }
    places = {name: f"{base}{operations.by_id[id].path}" for name, id in endpoints.items()}
    return {"policy_decision_point": base, **places, "obligations_supported": sorted(KNOWN_TYPES)}


def description(base: str, version: str, operations: Operations) -> dict[str, Any]:
    """The OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations.by_id.values():
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SPIR policy decision point",
            "version": version,
            "summary": "OpenID AuthZEN 1.0, with plans and explanations",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base}],
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "headers": _HEADERS,
            "parameters": _PARAMETERS,
            "responses": _RESPONSES,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    request, response = _BODIES[operation.id]
    said: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        POLICY_ID: operation.policy_id,
        "security": [{"bearer": []}] if operation.permission else [],
        "parameters": [_ref("parameters", name) for name in _PARAMETERS],
        "responses": {"200": _response(response), "default": _ref("responses", "Refused")},
    }
    if request:
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": _schema(request)}}}
    for status, schema, text in _MORE.get(operation.id, ()):
        said["responses"][status] = _response(schema, text)
    return said


def _response(schema: str, text: str = "As asked") -> dict[str, Any]:
    form = "text/plain" if schema == "Text" else "application/json"
    headers = {name: _ref("headers", name) for name in _HEADERS}
    return {"description": text, "headers": headers, "content": {form: {"schema": _schema(schema)}}}


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _schema(name: str) -> Schema:
    return _ref("schemas", name)


def _object(required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(of: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": of, **more}


_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer"}
_ANY: Schema = {"type": "object"}
_PATHS: Schema = _list(_TEXT, description="attribute paths, or their beginnings, that are known only row by row")
_SEMANTICS = ["execute_all", "deny_on_first_deny", "permit_on_first_permit"]

# operation -> (schema of what is sent, schema of what comes back)
_BODIES: Mapping[str, tuple[str, str]] = {
    "evaluate": ("Evaluation", "Decision"),
    "evaluateMany": ("Evaluations", "Decisions"),
    "searchSubject": ("SubjectSearch", "EntitiesFound"),
    "searchResource": ("ResourceSearch", "EntitiesFound"),
    "searchAction": ("ActionSearch", "ActionsFound"),
    "plan": ("PlanRequest", "Plan"),
    "explain": ("Evaluation", "Explanation"),
    "reload": ("Nothing", "Reloaded"),
    "configuration": ("", "Configuration"),
    "description": ("", "Document"),
    "metrics": ("", "Text"),
    "alive": ("", "Readiness"),
    "ready": ("", "Readiness"),
}

# operation -> (status, schema, text) of what else may come back
_MORE: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "ready": (("503", "Readiness", "Decisions are not sound now"),),
    "reload": (
        ("422", "Reloaded", "What was read is refused: what was in force stays"),
        ("409", "Refusal", "Somebody else is having it read at this moment"),
    ),
}

_SEARCHED: dict[str, Schema] = {"context": _ANY, "page": _schema("Page")}
_FOUND = _object("next_token", next_token=_TEXT, count=_COUNT)

_SCHEMAS: dict[str, Schema] = {
    "Subject": _object("type id", type=_NAME, id=_NAME, properties=_ANY),
    "Action": _object("name", name=_NAME, properties=_ANY),
    "Resource": _object("type id", type=_NAME, id=_TEXT, properties=_ANY),
    "Typed": _object("type", type=_NAME, properties=_ANY),
    "Page": _object("", token=_TEXT, limit={"type": "integer", "minimum": 1, "description": f"at most {MOST_RESULTS}"}),
    "Evaluation": _object(
        "subject action resource",
        subject=_schema("Subject"),
        action=_schema("Action"),
        resource=_schema("Resource"),
        context=_ANY,
        deferred=_PATHS,
    ),
    "Evaluations": _object(
        "",
        subject=_ANY,
        action=_ANY,
        resource=_ANY,
        context=_ANY,
        deferred=_PATHS,
        evaluations=_list(_ANY, maxItems=MAX_BATCH),
        options=_object("", evaluations_semantic={"enum": _SEMANTICS, "default": "execute_all"}),
    ),
    "Obligation": _object("id type properties", id=_TEXT, type=_TEXT, properties=_ANY),
    "Reason": _object("id reason_admin", id=_TEXT, reason_admin=_ANY, code=_TEXT, policy=_TEXT, layer=_TEXT),
    "Condition": {
        "type": "object",
        "required": ["type", "operator", "value"],
        "properties": {
            "type": {"enum": ["compound", "field"]},
            "operator": {"enum": ["and", "or", "eq", "ne", "lt", "lte", "gt", "gte", "in", "exists"]},
            "field": _TEXT,
            "exact": {**_FLAG, "description": "false: it admits more than the policies do; ask again for each row"},
            "policies": _list(_TEXT),
        },
    },
    "DecisionContext": _object(
        "",
        conditional=_FLAG,
        residual=_schema("Condition"),
        exact=_FLAG,
        obligations=_list(_schema("Obligation")),
        pending=_list(_schema("Obligation"), description="what would be due if the residual held"),
        advice=_list(_schema("Obligation")),
        reasons=_list(_schema("Reason")),
        valid_until={"type": "string", "format": "date-time"},
        error=_object("status message", status=_COUNT, message=_TEXT),
    ),
    "Decision": _object("decision", decision=_FLAG, context=_schema("DecisionContext")),
    "Decisions": {
        "anyOf": [_schema("Decision"), _object("evaluations", evaluations=_list(_schema("Decision")))],
    },
    "SubjectSearch": _object(
        "subject action resource",
        subject=_schema("Typed"),
        action=_schema("Action"),
        resource=_schema("Resource"),
        **_SEARCHED,
    ),
    "ResourceSearch": _object(
        "subject action resource",
        subject=_schema("Subject"),
        action=_schema("Action"),
        resource=_schema("Typed"),
        **_SEARCHED,
    ),
    "ActionSearch": _object("subject resource", subject=_schema("Subject"), resource=_schema("Resource"), **_SEARCHED),
    "EntitiesFound": _object(
        "results page", results=_list(_object("type id", type=_TEXT, id=_TEXT, context=_ANY)), page=_FOUND
    ),
    "ActionsFound": _object("results page", results=_list(_object("name", name=_TEXT, context=_ANY)), page=_FOUND),
    "PlanRequest": _object(
        "subject action resource",
        subject=_schema("Subject"),
        action=_schema("Action"),
        resource=_object("type", type=_NAME, id=_TEXT, properties=_ANY),
        context=_ANY,
        deferred=_PATHS,
        unknown=_PATHS,
    ),
    "Plan": _object(
        "effect operation obligations pushdown",
        effect={"enum": ["permit", "deny", "conditional"]},
        operation=_TEXT,
        residual=_schema("Condition"),
        exact=_FLAG,
        condition={**_TEXT, "description": "the whole residual, in CEL"},
        obligations=_list(_schema("Obligation")),
        tied=_list(_object("obligation condition", obligation=_schema("Obligation"), condition=_TEXT)),
        pushdown={**_ANY, "description": "what each adapter would ask its peer for"},
    ),
    "Explanation": _object(
        "request decision layers",
        request=_ANY,
        decision=_ANY,
        layers=_list({**_ANY, "description": "`left_out`: how many policies did not fit into the answer"}),
    ),
    "Nothing": {**_ANY, "description": "an empty object"},
    "Reloaded": _object(
        "changed bundle generation problems",
        changed={**_FLAG, "description": "whether something else is in force now"},
        bundle={**_TEXT, "description": "fingerprint of the policies in force"},
        generation={**_COUNT, "description": "of the bundle in force; 0 for documents in folders"},
        problems={**_ANY, "description": "what was refused, by part: policies, directory"},
        error=_object("status message", status=_COUNT, message=_TEXT),
    ),
    "Configuration": _object(
        "policy_decision_point access_evaluation_endpoint",
        policy_decision_point=_TEXT,
        access_evaluation_endpoint=_TEXT,
    ),
    "Readiness": _object("status", status=_TEXT, problems=_ANY),
    "Document": _object("openapi info paths", openapi=_TEXT, info=_ANY, paths=_ANY),
    "Refusal": _object("error", error=_object("status message", status=_COUNT, message=_TEXT)),
    "Text": _TEXT,
}

_HEADERS: dict[str, Schema] = {
    "X-Request-ID": {"schema": _TEXT, "description": "the caller's, or one of ours"},
    "X-Policy-Version": {"schema": _TEXT, "description": "fingerprint of the bundle that decided"},
    "traceparent": {"schema": _TEXT, "description": "W3C trace context"},
}

_PARAMETERS: dict[str, Schema] = {
    "requestId": {"name": "X-Request-ID", "in": "header", "required": False, "schema": _TEXT},
    "trace": {"name": "traceparent", "in": "header", "required": False, "schema": _TEXT},
}

_RESPONSES: dict[str, Schema] = {
    "Refused": {
        "description": "400 no request, 401 not identified, 403 not permitted, 404, 405, 413 too long, 503 not now",
        "content": {"application/json": {"schema": _schema("Refusal")}},
    }
}
