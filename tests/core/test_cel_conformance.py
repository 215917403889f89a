"""Every conformance test of CEL that falls within the declared subset, and a reason for each that does not.

What the subset leaves out is decided by the file, the section, or what the
expression uses. In four points the language differs on purpose: comparing
values of different types is unknown where CEL says false; times have
microseconds; the keys of a map are texts; and a name that nobody declared is
refused when a condition is read, where CEL lets it fail when it is evaluated.
An evaluation error of CEL is unknown here, or refused on reading.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from spir.engine.evaluate import Result, Scope, evaluate
from spir.errors import ConditionError
from spir.language.cel import parse
from spir.model.value import Unknown, Why, freeze
from tests.core.textproto import Message, read

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "cel-spec"
IN_SCOPE, OUT_OF_SCOPE = 795, 1661

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the conformance tests of CEL are not in ../shared/data")

FILES_OUT_OF_SCOPE = {
    "bindings_ext": "an extension: cel.bind",
    "block_ext": "an extension: cel.block",
    "encoders_ext": "an extension: base64",
    "math_ext": "an extension: math",
    "network_ext": "an extension: net",
    "string_ext": "an extension: strings",
    "proto2_ext": "an extension: proto",
    "macros2": "an extension: macros of two variables",
    "optionals": "optional values",
    "enums": "protobuf enums",
    "dynamic": "protobuf messages: well-known types",
    "wrappers": "protobuf messages: wrappers",
    "proto2": "protobuf messages",
    "proto3": "protobuf messages",
    "type_deduction": "what a type checker deduces, not what a value is",
    "namespace": "containers and qualified names of variables",
}

SECTIONS_OUT_OF_SCOPE = {
    "fields/qualified_identifier_resolution": "containers and qualified names of variables",
    "parse/receiver_function_names": "names that nobody declared are refused on reading",
}

# What an expression uses, apart from its texts.
EXPRESSIONS_OUT_OF_SCOPE = {
    r"\b(0x[0-9a-fA-F]+|\d+)[uU]\b|\buint\b": "unsigned numbers",
    r"\btype\(": "types as values",
    r"TestAllTypes|NestedTestAllTypes|GlobalEnum|google\.protobuf|cel\.expr": "protobuf messages",
}

DIFFERENT = {
    "names that nobody declared are refused on reading": {
        "basic/variables/unbound_is_runtime_error",
        "basic/functions/unbound_is_runtime_error",
    },
    "values of different types are not comparable": {
        "comparisons/eq_literal/not_eq_list_null",
        "comparisons/eq_literal/not_eq_list_elem_null",
        "comparisons/eq_literal/not_eq_map_null",
        *(
            f"comparisons/eq_literal/not_eq_dyn_{name}_null"
            for name in ("bool", "bytes", "double", "duration", "int", "list", "map", "string", "timestamp")
        ),
        "macros/exists/list_elem_type_exhaustive",
    },
    "times have microseconds": {
        "timestamps/timestamp_conversions/toString_timestamp_nanos",
        "timestamps/timestamp_arithmetic/add_time_to_duration_nanos_negative",
        "timestamps/timestamp_arithmetic/add_time_to_duration_nanos_positive",
        "timestamps/timestamp_range/add_duration_nanos_over",
        "timestamps/timestamp_range/add_duration_nanos_under",
    },
}


@dataclass(frozen=True)
class Example:
    file: str
    section: str
    name: str
    expression: str
    body: Message

    @property
    def id(self) -> str:
        return f"{self.file}/{self.section}/{self.name}"


def examples() -> list[Example]:
    found = []
    for path in sorted(FOLDER.glob("*.textproto")):
        for section in read(path.read_text("utf-8")).get("section", []):
            for test in section.get("test", []):
                texts = (part[0].decode() for part in (section["name"], test["name"], test["expr"]))
                found.append(Example(path.stem, *texts, test))
    return found


def out_of_scope(example: Example) -> str:
    """Why the subset leaves the example out; "" if it does not."""
    if example.file in FILES_OUT_OF_SCOPE:
        return FILES_OUT_OF_SCOPE[example.file]
    section = f"{example.file}/{example.section}"
    if section in SECTIONS_OUT_OF_SCOPE:
        return SECTIONS_OUT_OF_SCOPE[section]
    plain = re.sub(
        r"[bBrR]{0,2}('''.*?'''|\"\"\".*?\"\"\"|'(\\.|[^'\\])*'|\"(\\.|[^\"\\])*\")", "''", example.expression
    )
    for pattern, reason in EXPRESSIONS_OUT_OF_SCOPE.items():
        if re.search(pattern, plain):
            return reason
    if _uses(example.body, ("uint64_value", "object_value", "enum_value", "type_value")):
        return "a value that the language does not have"
    if "the keys of a map are texts" in str(outcome(example)):
        return "keys of maps that are no texts"
    return next((reason for reason, names in DIFFERENT.items() if example.id in names), "")


def _uses(data: Any, keys: tuple[str, ...]) -> bool:
    if isinstance(data, list):
        return any(_uses(item, keys) for item in data)
    if isinstance(data, dict):
        return any(key in keys or _uses(value, keys) for key, value in data.items() if key != "type_env")
    return False


def meant(value: Message) -> Any:
    ((kind, (raw,)),) = value.items()
    match kind:
        case "int64_value":
            return int(raw, 0)
        case "double_value":
            return float(raw)
        case "bool_value":
            return raw == "true"
        case "string_value":
            return raw.decode()
        case "bytes_value":
            return raw
        case "null_value":
            return None
        case "list_value":
            return [meant(item) for item in raw.get("values", [])]
        case "map_value":
            return {meant(entry["key"][0]): meant(entry["value"][0]) for entry in raw.get("entries", [])}
    raise AssertionError(f"no value: {kind}")


def bindings(example: Example) -> dict[str, Any]:
    found = {}
    for binding in example.body.get("bindings", []):
        (value,) = binding["value"]
        found[binding["key"][0].decode()] = freeze(meant(value["value"][0]))
    return found


def outcome(example: Example) -> Result | ConditionError:
    variables = bindings(example)
    try:
        condition = parse(example.expression, variables=variables)
    except ConditionError as error:
        return error
    scope = Scope(datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("UTC"), variables)
    return evaluate(condition, lambda path: Unknown.of(path, Why.MISSING), scope)


def same(found: Any, expected: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if isinstance(expected, float) and isinstance(found, float):
        return found == expected or (math.isnan(found) and math.isnan(expected))
    if isinstance(expected, (list, tuple)):
        return isinstance(found, tuple) and len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, Mapping):
        return (
            isinstance(found, Mapping)
            and found.keys() == expected.keys()
            and all(same(found[key], expected[key]) for key in found)
        )
    return type(found) is type(expected) and found == expected


def passes(example: Example) -> bool:
    found = outcome(example)
    if "eval_error" in example.body:
        return isinstance(found, (Unknown, ConditionError))
    expected = meant(example.body["value"][0]) if "value" in example.body else True
    return same(found, expected)


def test_every_example_in_scope_passes():
    failed = [example.id for example in examples() if not out_of_scope(example) and not passes(example)]
    assert failed == []


def test_the_scope_does_not_drift():
    reasons = [out_of_scope(example) for example in examples()]
    assert (reasons.count(""), len(reasons) - reasons.count("")) == (IN_SCOPE, OUT_OF_SCOPE)


def test_what_differs_on_purpose_does_differ():
    named = {name for names in DIFFERENT.values() for name in names}
    assert {example.id for example in examples() if example.id in named and not passes(example)} == named
