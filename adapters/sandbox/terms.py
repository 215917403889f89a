"""Coded values of the invented charts: small makers of CodeableConcept and Quantity (FHIR R4 datatypes)."""

from __future__ import annotations

from typing import Any

__all__ = ["LETTER", "coded", "interpretation", "sct", "ucum"]

LETTER = ("http://loinc.org", "34133-9", "Summary of episode note")


def coded(system: str, code: str, words: str = "") -> dict[str, Any]:
    """A CodeableConcept of one coding; `words` becomes its display where given."""
    coding = {"system": system, "code": code}
    if words:
        coding["display"] = words
    return {"coding": [coding]}


def sct(code: str, words: str) -> dict[str, Any]:
    return coded("http://snomed.info/sct", code, words)


def interpretation(code: str) -> dict[str, Any]:
    """HL7 table 0078 as FHIR carries it: N, HH, LL, AA ..."""
    return coded("http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", code)


def ucum(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
