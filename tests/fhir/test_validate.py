from __future__ import annotations

import json

import pytest

from adapters.fhir.validate import check
from tests.fhir.given_fhir import observation, patient

pytest.importorskip("fhir.resources", reason="the extra `fhir` is not installed")


def test_a_valid_resource_passes():
    assert check("Observation", json.dumps(observation("o", "p")).encode()) is None


def test_what_is_wrong_is_named_by_its_place_and_never_by_its_value():
    said = check("Patient", json.dumps(patient("p", "P001", birthDate="Mrs Lin", gender=7)).encode())
    assert "birthDate" in said and "gender" in said
    assert "Lin" not in said and "P001" not in said
