"""The invented patients' charts, as FHIR R4 resources (decoded JSON).

Logical ids differ from the identifiers on purpose (`pat-p001` is P001 of HIS):
whoever takes the one for the other fails here and not in a hospital.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from adapters.sandbox.patients import PEOPLE, STAFF, STAFF_SYSTEM, SYSTEM, Person, Plan, Series, StaffMember
from adapters.sandbox.terms import LETTER, coded, interpretation, sct, ucum

__all__ = ["everything", "hospital", "of", "patient_id", "transaction"]

Resource: TypeAlias = dict[str, Any]

_ATTENDING = {"reference": "Practitioner/prac-1001", "display": "Dr. Li Min"}
_HOSPITAL = {"reference": "Organization/org-hospital-a"}


def everything() -> Iterator[Resource]:
    """The hospital's own resources, then each patient's."""
    yield from hospital()
    for one in PEOPLE:
        yield from of(one)


def hospital() -> Iterator[Resource]:
    """Organization, Practitioner and Device: what is no patient's."""
    yield {"resourceType": "Organization", "id": "org-hospital-a", "active": True, "name": "Hospital A"}
    for member in STAFF:
        yield _practitioner(member)
    yield {
        "resourceType": "Device",
        "id": "dev-monitor-1",
        "status": "active",
        "deviceName": [{"name": "Bedside monitor (invented)", "type": "user-friendly-name"}],
        "owner": _HOSPITAL,
    }


def of(one: Person) -> Iterator[Resource]:
    """The whole chart of one patient, the Patient first."""
    yield _patient(one)
    yield from _encounters(one)
    yield _allergy(one)
    yield _condition(one)
    yield from _results(one)
    yield from _vitals(one)
    yield _prescription(one)
    for plan in one.studies:
        yield _order(one, plan)
        yield _imaging_study(one, plan)
        yield _imaging_report(one, plan)
    yield _laboratory_report(one)
    yield _document(one)


def transaction(resources: Iterable[Resource]) -> Resource:
    """A transaction Bundle that creates or replaces each resource under its own id (FHIR R4 http.html#transaction)."""
    entries = [
        {
            "fullUrl": f"urn:sandbox:{resource['resourceType']}:{resource['id']}",
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
        }
        for resource in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def patient_id(one: Person) -> str:
    """The logical id of the Patient resource."""
    return f"pat-{one.id.lower()}"


# -- resources of the hospital and of a patient ----------------------------------------------


def _practitioner(member: StaffMember) -> Resource:
    return {
        "resourceType": "Practitioner",
        "id": f"prac-{member.number}",
        "identifier": [{"system": STAFF_SYSTEM, "value": member.number}],
        "active": True,
        "name": [{"family": member.family, "given": [member.given]}],
    }


def _patient(one: Person) -> Resource:
    names: list[Resource] = [{"use": "official", "family": one.family, "given": [one.given]}]
    if one.native[0]:
        names.append({"use": "usual", "text": "".join(one.native), "family": one.native[0], "given": [one.native[1]]})
    return {
        "resourceType": "Patient",
        "id": patient_id(one),
        "identifier": [{"use": "usual", "system": SYSTEM, "value": one.id}],
        "active": True,
        "name": names,
        "telecom": [
            {"system": "phone", "value": one.phone, "use": "mobile"},
            {"system": "email", "value": f"{one.id.lower()}@example.invalid"},
        ],
        "gender": {"F": "female", "M": "male", "O": "other"}[one.sex],
        "birthDate": _date(one.born),
        "address": [{"use": "home", "line": [one.street], "city": "Nowhere", "country": "ZZ"}],
        "managingOrganization": _HOSPITAL,
    }


def _encounters(one: Person) -> Iterator[Resource]:
    """A visit of last year, and the one of now (visit number V1, V2 ... as in PV1-19)."""
    yield _encounter(one, "past", f"V{one.number}00", "finished", "AMB", {"start": "2025-03-01", "end": "2025-03-01"})
    yield _encounter(one, "now", f"V{one.number}", "in-progress", "IMP", {"start": "2026-11-21"})


def _encounter(one: Person, name: str, visit: str, status: str, kind: str, period: Resource) -> Resource:
    return {
        **_begin("Encounter", one, f"enc-{name}"),
        "identifier": [{"system": f"{SYSTEM}.2", "value": visit}],
        "status": status,
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": kind},
        "subject": _subject(one),
        "participant": [{"individual": _ATTENDING}],
        "period": period,
        "serviceProvider": _HOSPITAL,
    }


def _allergy(one: Person) -> Resource:
    base = "http://terminology.hl7.org/CodeSystem/allergyintolerance"
    return {
        **_begin("AllergyIntolerance", one, "allergy"),
        "clinicalStatus": coded(f"{base}-clinical", "active"),
        "verificationStatus": coded(f"{base}-verification", "confirmed"),
        "criticality": "high",
        "code": sct(*one.allergy),
        "patient": _subject(one),
        "recordedDate": "2025-03-01",
    }


def _condition(one: Person) -> Resource:
    return {
        **_begin("Condition", one, "condition"),
        "clinicalStatus": coded("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
        "code": sct("38341003", "Hypertensive disorder"),
        "subject": _subject(one),
    }


def _results(one: Person) -> Iterator[Resource]:
    """Two laboratory results: potassium, critically high for every third patient, and glucose."""
    critical = one.number % 3 == 1
    yield {
        **_observation(one, "potassium", "laboratory", ("2823-3", "Potassium [Moles/volume] in Serum or Plasma")),
        "valueQuantity": ucum(7.1 if critical else 4.2, "mmol/L"),
        "interpretation": [interpretation("HH" if critical else "N")],
    }
    yield {
        **_observation(one, "glucose", "laboratory", ("2345-7", "Glucose [Mass/volume] in Serum or Plasma")),
        "valueQuantity": ucum(90 + one.number, "mg/dL"),
        "interpretation": [interpretation("N")],
    }


def _vitals(one: Person) -> Iterator[Resource]:
    yield {
        **_observation(one, "pulse", "vital-signs", ("8867-4", "Heart rate")),
        "valueQuantity": ucum(60 + one.number, "/min"),
    }
    pressure = (("8480-6", "Systolic blood pressure", 120), ("8462-4", "Diastolic blood pressure", 75))
    yield {
        **_observation(one, "pressure", "vital-signs", ("85354-9", "Blood pressure panel")),
        "component": [
            {"code": coded("http://loinc.org", number, words), "valueQuantity": ucum(value + one.number, "mm[Hg]")}
            for number, words, value in pressure
        ],
    }


def _observation(one: Person, name: str, category: str, code: tuple[str, str]) -> Resource:
    return {
        **_begin("Observation", one, name),
        "status": "final",
        "category": [coded("http://terminology.hl7.org/CodeSystem/observation-category", category)],
        "code": coded("http://loinc.org", *code),
        "subject": _subject(one),
        "encounter": {"reference": f"Encounter/enc-now-{one.id.lower()}"},
        "effectiveDateTime": f"2026-11-21T08:{one.number:02}:00+08:00",
    }


def _prescription(one: Person) -> Resource:
    return {
        **_begin("MedicationRequest", one, "prescription"),
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": sct("387458008", "Aspirin"),
        "subject": _subject(one),
        "authoredOn": "2026-11-21",
        "requester": _ATTENDING,
        "dosageInstruction": [{"text": "one invented tablet a day"}],
    }


def _order(one: Person, plan: Plan) -> Resource:
    return {
        **_begin("ServiceRequest", one, f"order-{plan.accession.lower()}"),
        "identifier": [_accession(plan)],
        "status": "completed",
        "intent": "order",
        "priority": "routine",
        "code": {"text": plan.description},
        "subject": _subject(one),
        "requester": _ATTENDING,
        "authoredOn": _date(plan.date),
    }


def _imaging_study(one: Person, plan: Plan) -> Resource:
    return {
        **_begin("ImagingStudy", one, f"study-{plan.accession.lower()}"),
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{plan.uid}"}, _accession(plan)],
        "status": "available",
        "modality": [_modality(name) for name in plan.modalities],
        "subject": _subject(one),
        "started": _date(plan.date),
        "numberOfSeries": len(plan.series),
        "numberOfInstances": sum(series.images for series in plan.series),
        "description": plan.description,
        "series": [_series(plan, number, series) for number, series in enumerate(plan.series, 1)],
    }


def _series(plan: Plan, number: int, series: Series) -> Resource:
    return {
        "uid": plan.series_uid(number),
        "number": number,
        "modality": _modality(series.modality),
        "description": series.description,
        "numberOfInstances": series.images,
    }


def _imaging_report(one: Person, plan: Plan) -> Resource:
    return {
        **_begin("DiagnosticReport", one, f"report-{plan.accession.lower()}"),
        "status": "final",
        "category": [coded("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD")],
        "code": coded("http://loinc.org", "18748-4", "Diagnostic imaging report"),
        "subject": _subject(one),
        "effectiveDateTime": _date(plan.date),
        "imagingStudy": [{"reference": f"ImagingStudy/study-{plan.accession.lower()}-{one.id.lower()}"}],
        "conclusion": "No abnormality was invented.",
    }


def _laboratory_report(one: Person) -> Resource:
    return {
        **_begin("DiagnosticReport", one, "report-laboratory"),
        "status": "final",
        "category": [coded("http://terminology.hl7.org/CodeSystem/v2-0074", "LAB")],
        "code": coded("http://loinc.org", "24323-8", "Comprehensive metabolic panel"),
        "subject": _subject(one),
        "effectiveDateTime": "2026-11-21T09:00:00+08:00",
        "result": [{"reference": f"Observation/{name}-{one.id.lower()}"} for name in ("potassium", "glucose")],
    }


def _document(one: Person) -> Resource:
    return {
        **_begin("DocumentReference", one, "document"),
        "status": "current",
        "type": coded(*LETTER),
        "subject": _subject(one),
        "date": "2025-03-01T12:00:00+08:00",
        "content": [{"attachment": {"contentType": "text/plain", "data": "aW52ZW50ZWQ=", "title": "Invented letter"}}],
    }


# -- pieces ----------------------------------------------------------------------------------


def _begin(kind: str, one: Person, name: str) -> Resource:
    return {"resourceType": kind, "id": f"{name}-{one.id.lower()}"}


def _subject(one: Person) -> Resource:
    return {"reference": f"Patient/{patient_id(one)}"}


def _accession(plan: Plan) -> Resource:
    kind = coded("http://terminology.hl7.org/CodeSystem/v2-0203", "ACSN")
    return {"type": kind, "system": f"{SYSTEM}.3", "value": plan.accession}


def _modality(name: str) -> Resource:
    return {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": name}


def _date(compact: str) -> str:
    """YYYYMMDD as YYYY-MM-DD."""
    return f"{compact[:4]}-{compact[4:6]}-{compact[6:]}"
