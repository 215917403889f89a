"""JSON Schemas (2020-12) of the kinds of documents: `schema(kind)`.

For editors and other programs. A schema knows the shape; what it cannot know
(declared names, conditions that parse, ids that are unique) is checked when a
document is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from spir.errors import DocumentError
from spir.language.cel import ROOTS
from spir.language.contents import KINDS, LANGUAGE
from spir.language.kinds import permission_map, policy_set, policy_test, template, vocabulary_document
from spir.language.kinds.instance import INSTANCE_FIELDS
from spir.language.kinds.obligations import PROPERTIES
from spir.language.nearest import suggestion
from spir.language.parameters import FORMATS, KEYWORDS, PARAMETER_FIELDS, TYPES
from spir.model.facts import Joining
from spir.model.obligation import PROFILES
from spir.model.policy import Emergency, Kind, OnMissing

__all__ = ["schema"]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "pattern": r"\S"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_NAME: Schema = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,119}$"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_OBJECT: Schema = {"type": "object"}
_VERSION: Schema = {"type": "string", "pattern": r"^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$"}
_JURISDICTION: Schema = {"type": "string", "pattern": r"^([A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)?$"}
_OPERATION: Schema = {"type": "string", "pattern": r"^[^:]+:[^:]+(:[^:]+)?$", "description": "verb:type[:category]"}
_OPERATIONS: Schema = {"type": "array", "items": _OPERATION, "minItems": 1}
_WORDS: Schema = {"type": "array", "items": {"type": "string", "pattern": r"^[a-z][a-z0-9_-]{0,59}$"}}
_PATH: Schema = {"type": "string", "pattern": r"^(subject|resource|action|context)(\.[A-Za-z_][A-Za-z0-9_]*){1,6}$"}


def schema(kind: str) -> dict[str, Any]:
    """The schema of a kind of documents. Raises DocumentError for a kind that is not read."""
    if kind not in _SCHEMAS:
        raise DocumentError(f"`{kind[:60]}` is no kind of document", hint=suggestion(kind, KINDS))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind,
        **_SCHEMAS[kind](),
    }


def _form(allowed: tuple[str, ...], needed: tuple[str, ...], fields: Mapping[str, Schema]) -> Schema:
    """An object with these fields and no others; those that are not described are text."""
    properties = {name: fields.get(name, _TEXT) for name in allowed}
    return {"type": "object", "properties": properties, "required": list(needed), "additionalProperties": False}


def _document(kind: str, needed: tuple[str, ...], fields: Mapping[str, Schema]) -> Schema:
    head: dict[str, Schema] = {"spir": {"const": LANGUAGE}, "kind": {"const": kind}}
    return _form(KINDS[kind], ("spir", "kind", *needed), {**head, **fields})


def _one_of(names: Iterable[str]) -> Schema:
    return {"enum": list(names)}


def _condition() -> Schema:
    dimensions = dict.fromkeys(ROOTS, _TEXTS)
    short: Schema = {"type": "object", "properties": dimensions, "additionalProperties": False, "minProperties": 1}
    return {"oneOf": [{**_TEXT, "description": "CEL"}, {**short, "description": "the short spelling, by dimension"}]}


# -- PolicySet -------------------------------------------------------------------------------


def _policy_set() -> Schema:
    policy = {"oneOf": [_policy(), _instance()]}
    fields = {**_head(), "policies": {"type": "array", "items": policy}}
    return _document("PolicySet", ("name", "layer", "jurisdiction", "version", "policies"), fields)


def _head() -> dict[str, Schema]:
    return {
        "name": _NAME,
        "layer": _one_of(policy_set.LAYERS),
        "jurisdiction": _JURISDICTION,
        "version": _VERSION,
    }


def _policy() -> Schema:
    fields = {**_common(), "effect": _one_of(kind.value for kind in Kind), "when": _condition()}
    return _form(policy_set.POLICY_FIELDS, ("id", "effect", "operations"), fields)


def _instance() -> Schema:
    fields: dict[str, Schema] = {
        **_common(),
        "template": _NAME,
        "version": {**_TEXT, "description": "a range of versions, as >=1.0 <2"},
        "with": {"type": "object", "description": "the template's parameters: `spir template show`"},
    }
    return _form(INSTANCE_FIELDS, ("id", "template"), fields)


def _common() -> dict[str, Schema]:
    """What a policy has whether it is written out or made from a template."""
    return {
        "id": _NAME,
        "operations": _OPERATIONS,
        "obligations": {"type": "array", "items": {"oneOf": [_obligation(kind) for kind in PROPERTIES]}},
        "valid": _form(("from", "until"), (), {"from": _TIME, "until": _TIME}),
        "emergency": _one_of(item.value for item in Emergency),
        "on_missing": _one_of(item.value for item in OnMissing),
    }


def _obligation(kind: str) -> Schema:
    number: Schema = {"type": "integer", "minimum": 0}
    special: dict[str, Schema] = {
        "paths": {**_TEXTS, "minItems": 1},
        "profile": _one_of(PROFILES),
        **dict.fromkeys(("count", "days", "bytes"), number),
        "type": {"const": kind},
    }
    names = ("id", "type", *PROPERTIES[kind])
    fields = {name: special.get(name, _NAME) for name in names}
    if kind != "limit":
        return _form(names, ("type", PROPERTIES[kind][0]), fields)
    return {**_form(names, ("type",), fields), "anyOf": [{"required": [name]} for name in PROPERTIES[kind]]}


# -- PermissionMap ---------------------------------------------------------------------------


def _permission_map() -> Schema:
    rules = {"oneOf": [_rule("holds", "grants"), _rule("event", "does")]}
    fields = {**_head(), "rules": {"type": "array", "items": rules}, "default": {"const": "deny"}}
    return _document("PermissionMap", ("rules",), fields)


def _rule(*keys: str) -> Schema:
    others = {"holds", "grants", "event", "does"} - set(keys)
    allowed = tuple(name for name in permission_map.RULE_FIELDS if name not in others)
    return _form(allowed, keys, {"id": _NAME, "when": _condition(), "holds": _OPERATION, "event": _OPERATION})


# -- Vocabulary ------------------------------------------------------------------------------


def _vocabulary() -> Schema:
    action = {"operations": _OPERATIONS, "parameters": _mapping({"anyOf": [{"const": ""}, _PATH]})}
    fields = {
        "verbs": _WORDS,
        "types": _mapping(_WORDS),
        "attributes": {**_mapping(_attribute()), "propertyNames": _PATH},
        "short": _mapping(_PATH),
        "actions": _mapping(_form(vocabulary_document.ACTION_FIELDS, ("operations",), action)),
    }
    return _document("Vocabulary", (), fields)


def _mapping(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def _attribute() -> Schema:
    joins = [kind.value for kind in Joining if kind is not Joining.PRIORITY]
    order = _form(("priority",), ("priority",), {"priority": {**_TEXTS, "minItems": 1}})
    bound: Schema = {"type": ["number", "null"]}
    fields: dict[str, Schema] = {
        "type": _one_of(vocabulary_document.TYPES),
        "enum": _TEXTS,
        "interval": {"type": "array", "items": bound, "minItems": 2, "maxItems": 2},
        "required": {"type": "boolean"},
        "max_age": {"type": "string", "description": "a duration as 15m or 24h"},
        "join": {"oneOf": [_one_of(joins), order]},
    }
    return _form(vocabulary_document.ATTRIBUTE_FIELDS, ("type",), fields)


# -- Template --------------------------------------------------------------------------------


def _template() -> Schema:
    texts = {"oneOf": [_TEXT, _form(template.LANGUAGES, (), {})]}
    whole = _condition()["oneOf"]
    fields: dict[str, Schema] = {
        **_common(),
        "template_id": _NAME,
        "version": _VERSION,
        "title": texts,
        "description": texts,
        "effect": _one_of(template.EFFECTS),
        "parameters": {**_mapping(_parameter()), "propertyNames": {"pattern": r"^[A-Za-z_][A-Za-z0-9_]{0,59}$"}},
        "conditions": whole[1],
        "when": {"oneOf": whole},
        "obligations": {"type": "array", "items": _OBJECT, "description": "{parameter: name} stands for its value"},
        **dict.fromkeys(("cert_fingerprint", "digest"), _SHA256),
        **dict.fromkeys(("valid_from", "valid_until"), _TIME),
        "signature": _form(("key", "value"), ("key", "value"), {}),
    }
    found = _document("Template", ("template_id", "effect"), fields)
    # other systems exchange templates without our head; with half of it, it is a mistake
    head = {"dependentRequired": {"spir": ["kind"], "kind": ["spir"]}, "not": {"required": ["conditions", "when"]}}
    return {**found, "required": ["template_id", "effect"], **head}


_SHA256: Schema = {
    "type": "string",
    "pattern": "^([Ss][Hh][Aa]-?256:)?([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$",
}


def _parameter() -> Schema:
    """A JSON Schema of JSON Schemas: the subset that parameters are written in."""
    return {"oneOf": [_typed(type, ("title", "description", "default", "examples")) for type in KEYWORDS]}


def _typed(type: str, also: tuple[str, ...]) -> Schema:
    names = [name for name in PARAMETER_FIELDS if name in (*KEYWORDS[type], *also)]
    count: Schema = {"type": "integer", "minimum": 0}
    number: Schema = {"type": "number"}
    fields: dict[str, Schema] = {
        "type": {"const": type},
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), count),
        **dict.fromkeys(("minimum", "maximum"), number),
        "enum": {"type": "array", "minItems": 1},
        "format": _one_of(FORMATS),
        "uniqueItems": {"type": "boolean"},
        "default": {},
        "examples": {"type": "array"},
    }
    if "items" in names:
        fields["items"] = {"oneOf": [_typed(item, ()) for item in TYPES]}
    return _form(("type", *names), ("type", *(("items",) if "items" in names else ())), fields)


# -- PolicyTest ------------------------------------------------------------------------------


def _policy_test() -> Schema:
    anything: Schema = {}
    given = _form(policy_test.GIVEN_FIELDS, (), dict.fromkeys(policy_test.GIVEN_FIELDS, anything))
    fields: dict[str, Schema] = {"given": given, "request": _OBJECT, "rows": {"type": "array"}, "expect": _OBJECT}
    case = _form(policy_test.CASE_FIELDS, ("name", "request", "expect"), fields)
    cases: Schema = {"type": "array", "items": case, "minItems": 1}
    return _document("PolicyTest", ("name", "cases"), {"given": given, "cases": cases})


_SCHEMAS: Mapping[str, Callable[[], Schema]] = MappingProxyType(
    {
        "PolicySet": _policy_set,
        "PermissionMap": _permission_map,
        "Vocabulary": _vocabulary,
        "Template": _template,
        "PolicyTest": _policy_test,
    }
)
