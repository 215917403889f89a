"""Queries: what is read, how it is narrowed, and that the rows shown are exactly the rows permitted."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.dataset import DataSet, DatasetError, encode
from adapters.dicom.identifier import Query, read_find
from adapters.dicom.masks import Masks
from adapters.dicom.query import narrow, narrow_key, request_for
from adapters.dicom.rows import Judge, Reading, fits
from adapters.dicom.status import IdentifierError
from adapters.dicom.tables import Level, Root, Service
from spir.model.condition import TRUE
from spir.model.decision import ADMIT_ALL, ADMIT_NONE, Atom, Clause, Decision, Effect, Residual
from spir.model.obligation import Obligation
from tests.given import DR_LI, HIS, GivenRuling

LEVEL, PATIENT_ID, ISSUER, PATIENT_NAME, PHONE = 0x00080052, 0x00100020, 0x00100021, 0x00100010, 0x00102154
STUDY_UID, SERIES_UID, SOP_UID, SOP_CLASS = 0x0020000D, 0x0020000E, 0x00080018, 0x00080016
MODALITIES, MODALITY, STUDY_DATE, STUDY_TIME = 0x00080061, 0x00080060, 0x00080020, 0x00080030
SOP_CLASSES, STUDY_SERIES, STUDY_INSTANCES = 0x00080062, 0x00201206, 0x00201208
REQUEST = request_for(DR_LI, Service.FIND, {"protocol": "dicom"})
MASKS = Masks({"patient.telecom": frozenset({PHONE}), "patient.name": frozenset({PATIENT_NAME})})


def identifier(level: str, keys: Mapping[int, str] | None = None, explicit: bool = True) -> bytes:
    return encode({LEVEL: level.encode(), **{tag: text.encode() for tag, text in (keys or {}).items()}}, explicit)


def query(level: str, keys: Mapping[int, str] | None = None, root: Root = Root.STUDY) -> Query:
    return read_find(root, identifier(level, keys), True)


def bounded(**allowed: list[str]) -> Residual:
    """A residual of one clause: each attribute (with _ for .) among the given values."""
    atoms = tuple(Atom(f"resource.{name.replace('_', '.')}", "in", tuple(values)) for name, values in allowed.items())
    return Residual(TRUE, (Clause(atoms),))


def keys_of(data: bytes) -> dict[int, str | None]:
    parsed = DataSet.parse(data, True)
    return {tag: parsed.text(tag) for tag in parsed.index}


# -- reading ------------------------------------------------------------------------------------


def test_a_study_query_is_read() -> None:
    read = query("STUDY", {PATIENT_ID: "P001", MODALITIES: "", 0x00081030: "*chest*"})
    assert (read.level, dict(read.above), read.values(PATIENT_ID)) == (Level.STUDY, {}, ("P001",))
    assert (read.kept, read.dropped) == ({PATIENT_ID, MODALITIES, 0x00081030}, frozenset())


@pytest.mark.parametrize(
    ("root", "level", "keys", "why"),
    [
        (Root.STUDY, "PATIENT", {}, "a level the model does not have"),
        (Root.STUDY, "FRAME", {}, "a level that does not exist"),
        (Root.STUDY, "SERIES", {}, "a relational query"),
        (Root.STUDY, "SERIES", {STUDY_UID: ""}, "universal matching above the level"),
        (Root.STUDY, "SERIES", {STUDY_UID: "1.2\\1.3"}, "two studies above the level"),
        (Root.STUDY, "SERIES", {STUDY_UID: "1.2.*"}, "a wild card above the level"),
        (Root.STUDY, "SERIES", {STUDY_UID: "1.2", PATIENT_NAME: "A"}, "matching on an attribute of a level above"),
        (Root.STUDY, "STUDY", {MODALITY: "CR"}, "matching on an attribute of a level below"),
        (Root.STUDY, "STUDY", {SERIES_UID: "1.2"}, "a unique key of a level below"),
        (Root.STUDY, "IMAGE", {STUDY_UID: "1.2"}, "no series"),
        (Root.PATIENT, "STUDY", {}, "no patient in the patient root"),
        (Root.PATIENT, "STUDY", {PATIENT_ID: "P*"}, "a wild card for the patient above"),
        (Root.PATIENT, "SERIES", {STUDY_UID: "1.2"}, "a study without its patient in the patient root"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_what_the_hierarchy_does_not_allow_is_refused(root: Root, level: str, keys: dict[int, str], why: str) -> None:
    with pytest.raises(IdentifierError):
        query(level, keys, root)


def test_no_level_is_refused() -> None:
    with pytest.raises(IdentifierError, match="level"):
        read_find(Root.STUDY, encode({PATIENT_ID: b"P001"}, True), True)


@pytest.mark.parametrize(
    ("level", "keys", "dropped"),
    [
        ("STUDY", {MODALITY: ""}, {MODALITY}),  # of a level below
        ("STUDY", {0x00280010: ""}, {0x00280010}),  # rows: a PACS answers from some instance
        ("STUDY", {0x00091001: "x"}, {0x00091001}),  # private
        ("STUDY", {0x00201200: ""}, {0x00201200}),  # a count over the patient
        ("STUDY", {0x00081190: ""}, {0x00081190}),  # an address past the policy
        ("SERIES", {STUDY_UID: "1.2", PATIENT_NAME: ""}, {PATIENT_NAME}),
        ("SERIES", {STUDY_UID: "1.2", MODALITIES: ""}, {MODALITIES}),
        ("SERIES", {STUDY_UID: "1.2", 0x00280010: ""}, set()),
    ],
)
def test_wishes_that_may_not_be_granted_are_dropped(level: str, keys: dict[int, str], dropped: set[int]) -> None:
    read = query(level, keys)
    assert read.dropped == dropped
    sent = narrow(read, ADMIT_ALL, HIS)
    assert sent is not None
    assert not set(keys_of(sent[0])) & dropped


# -- narrowing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "allowed", "expected"),
    [
        ((), None, ()),
        (("CR",), None, ()),
        ((), frozenset({"DX", "CR"}), ("CR", "DX")),
        (("MR", "DX"), frozenset({"CR", "DX"}), ("DX",)),
        (("C*",), frozenset({"CR", "DX"}), ()),
        ((), frozenset({"C*"}), ()),
        (("MR",), frozenset({"CR", "DX"}), None),
        ((), frozenset(), None),
        (("C*",), frozenset(), None),
    ],
)
def test_a_key_is_intersected(
    asked: tuple[str, ...], allowed: frozenset[str] | None, expected: tuple[str, ...] | None
) -> None:
    assert narrow_key(asked, allowed) == expected


def test_a_disallowed_modality_matches_nothing() -> None:
    assert narrow(query("STUDY", {MODALITIES: "MR"}), bounded(modality=["CR", "DX"]), HIS) is None


def test_nobody_s_rows_are_not_asked_for() -> None:
    assert narrow(query("STUDY"), ADMIT_NONE, HIS) is None
    assert narrow(query("SERIES", {STUDY_UID: "1.2"}), bounded(patient_id=[]), HIS) is None
    assert narrow(query("IMAGE", {STUDY_UID: "1.2", SERIES_UID: "1.3"}), bounded(modality=[]), HIS) is None


def test_modalities_are_asked_for_as_alternatives() -> None:
    sent = narrow(query("STUDY", {PATIENT_NAME: "Wang*"}), bounded(modality=["DX", "CR"]), HIS)
    assert sent is not None
    assert [keys_of(data) for data in sent] == [
        {
            STUDY_DATE: "",
            STUDY_TIME: "",
            LEVEL: "STUDY",
            MODALITIES: "CR\\DX",
            PATIENT_NAME: "Wang*",
            PATIENT_ID: "",
            ISSUER: "",
            STUDY_UID: "",
        }
    ]


def test_a_peer_with_one_issuer_is_not_asked_for_it() -> None:
    sent = narrow(query("STUDY"), ADMIT_ALL, HIS, issuers=False)
    asked = narrow(query("STUDY", {ISSUER: ""}), ADMIT_ALL, HIS, issuers=False)
    assert sent is not None and asked is not None
    assert (ISSUER in keys_of(sent[0]), ISSUER in keys_of(asked[0])) == (False, True)


def test_a_peer_without_lists_is_asked_once_for_each_modality() -> None:
    sent = narrow(query("STUDY"), bounded(modality=["DX", "CR"]), HIS, lists=False)
    assert sent is not None
    assert [keys_of(data)[MODALITIES] for data in sent] == ["CR", "DX"]


def test_several_patients_are_asked_for_one_by_one() -> None:
    sent = narrow(query("STUDY"), bounded(patient_id=["HIS|P002", "HIS|P001"], modality=["CR"]), HIS)
    assert sent is not None
    assert [(keys_of(data)[PATIENT_ID], keys_of(data)[MODALITIES]) for data in sent] == [("P001", "CR"), ("P002", "CR")]


def test_too_many_patients_are_left_to_the_judgement_of_rows() -> None:
    sent = narrow(query("STUDY"), bounded(patient_id=[f"HIS|P{n}" for n in range(65)]), HIS)
    assert sent is not None
    assert [keys_of(data)[PATIENT_ID] for data in sent] == [""]


def test_a_patient_id_that_would_be_a_wild_card_is_never_sent_as_a_key() -> None:
    sent = narrow(query("STUDY"), bounded(patient_id=["HIS|P*", "HIS|P001"]), HIS)
    assert sent is not None
    assert [keys_of(data)[PATIENT_ID] for data in sent] == [""]


def test_another_patient_than_those_permitted_is_not_asked_for() -> None:
    assert narrow(query("STUDY", {PATIENT_ID: "P002"}), bounded(patient_id=["HIS|P001"]), HIS) is None
    below = query("SERIES", {PATIENT_ID: "P002", STUDY_UID: "1.2"}, Root.PATIENT)
    assert narrow(below, bounded(patient_id=["HIS|P001"]), HIS) is None


def test_a_wild_card_stays_as_it_was_asked() -> None:
    sent = narrow(
        query("STUDY", {PATIENT_ID: "P*", MODALITIES: "C?"}), bounded(patient_id=["HIS|P1"], modality=["CR"]), HIS
    )
    assert sent is not None
    assert (keys_of(sent[0])[PATIENT_ID], keys_of(sent[0])[MODALITIES]) == ("P*", "C?")


def test_studies_are_asked_for_as_a_list() -> None:
    sent = narrow(query("STUDY", {STUDY_UID: "1.2\\1.3\\1.9"}), bounded(study=["1.9", "1.2", "1.4"]), HIS)
    assert sent is not None
    assert keys_of(sent[0])[STUDY_UID] == "1.2\\1.9"
    assert narrow(query("SERIES", {STUDY_UID: "1.3"}), bounded(study=["1.9"]), HIS) is None


def test_one_modality_is_pushed_to_series_level_and_several_are_not() -> None:
    one = narrow(query("SERIES", {STUDY_UID: "1.2"}), bounded(modality=["CR"]), HIS)
    two = narrow(query("SERIES", {STUDY_UID: "1.2"}), bounded(modality=["CR", "DX"]), HIS)
    assert one is not None and two is not None
    assert (keys_of(one[0])[MODALITY], keys_of(two[0])[MODALITY]) == ("CR", "")


# -- rows: a PACS of rows and a policy of sets ------------------------------------------------------

MODALITY_NAMES = st.sampled_from(["CR", "DX", "CT", "SR"])
PATIENTS = st.sampled_from(["P001", "P002", "P003"])
STUDIES = st.lists(st.tuples(PATIENTS, st.lists(MODALITY_NAMES, min_size=1, max_size=3, unique=True)), max_size=6).map(
    lambda rows: [
        {PATIENT_ID: patient, MODALITIES: "\\".join(modalities), STUDY_UID: f"1.2.{number}"}
        for number, (patient, modalities) in enumerate(rows)
    ]
)
ALLOWED = st.none() | st.frozensets(MODALITY_NAMES, max_size=3)
ALLOWED_PATIENTS = st.none() | st.frozensets(PATIENTS, max_size=3)


def peer_answers(data: bytes, rows: list[dict[int, str]]) -> list[bytes]:
    """What a PACS answers to an identifier: lists are alternatives, wild cards match."""
    asked = DataSet.parse(data, True)

    def matches(row: dict[int, str]) -> bool:
        keys = [tag for tag in asked.index if asked.has_value(tag) and tag != LEVEL]
        return all(fits(asked.values(tag), row[tag].split("\\")) for tag in keys)

    wanted = [tag for tag in asked.index if tag != LEVEL]
    return [identifier("STUDY", {tag: row.get(tag, "") for tag in wanted}) for row in rows if matches(row)]


def ruling_of(modalities: frozenset[str] | None, patients: frozenset[str] | None, **fields: Any) -> GivenRuling:
    """Permits what is in both sets; its residual says so, for narrowing."""
    bounds: dict[str, list[str]] = {}
    if modalities is not None:
        bounds["modality"] = sorted(modalities)
    if patients is not None:
        bounds["patient_id"] = [f"HIS|{patient}" for patient in sorted(patients)]

    def judge(row: Mapping[str, Any]) -> bool:
        patient = (row.get("patient") or {}).get("id", "").removeprefix("HIS|")
        return (modalities is None or row.get("modality") in modalities) and (patients is None or patient in patients)

    residual = bounded(**bounds) if bounds else ADMIT_ALL
    return GivenRuling(Decision(Effect.CONDITIONAL, REQUEST.operation, residual), REQUEST, judge, **fields)


def judge_of(ruling: GivenRuling) -> Judge:
    return Judge(ruling, Reading(HIS), MASKS, "SPIR")


def shown(read: Query, ruling: GivenRuling, rows: list[dict[int, str]], lists: bool = True) -> dict[str, str]:
    """Study UID -> modalities, of what comes out of narrow, the peer, and the judgement of rows."""
    found: dict[str, str] = {}
    for data in narrow(read, ruling.decision.residual, HIS, lists=lists) or ():
        for answer in peer_answers(data, rows):
            row = DataSet.parse(answer, True)
            kept = judge_of(ruling).show_study(read, row, row.values(MODALITIES))
            if kept is not None:
                out = DataSet.parse(kept.data, True)
                found[out.text(STUDY_UID) or ""] = out.text(MODALITIES) or ""
    return found


@given(
    rows=STUDIES,
    modalities=ALLOWED,
    patients=ALLOWED_PATIENTS,
    asked=st.fixed_dictionaries(
        {},
        optional={
            PATIENT_ID: PATIENTS | st.sampled_from(["P*", "P00?"]),
            MODALITIES: MODALITY_NAMES | st.sampled_from(["C*", "CR\\SR", "?R"]),
        },
    ),
    lists=st.booleans(),
)
def test_rows_shown_are_exactly_the_rows_permitted(
    rows: list[dict[int, str]],
    modalities: frozenset[str] | None,
    patients: frozenset[str] | None,
    asked: dict[int, str],
    lists: bool,
) -> None:
    read = query("STUDY", {STUDY_UID: "", MODALITIES: "", PATIENT_ID: "", **asked})
    expected = {}
    for row in rows:
        names = [m for m in row[MODALITIES].split("\\") if modalities is None or m in modalities]
        wanted = fits(read.values(PATIENT_ID), [row[PATIENT_ID]]) and fits(read.values(MODALITIES), names)
        if names and wanted and (patients is None or row[PATIENT_ID] in patients):
            expected[row[STUDY_UID]] = "\\".join(names)
    assert shown(read, ruling_of(modalities, patients), rows, lists) == expected


@given(rows=STUDIES, modalities=ALLOWED, patients=ALLOWED_PATIENTS, asked=st.none() | PATIENTS)
def test_narrowing_never_widens(
    rows: list[dict[int, str]],
    modalities: frozenset[str] | None,
    patients: frozenset[str] | None,
    asked: str | None,
) -> None:
    read = query("STUDY", {STUDY_UID: "", PATIENT_ID: asked or ""})
    everything = {DataSet.parse(d, True).text(STUDY_UID) for d in peer_answers(read.asked.data, rows)}
    sent = narrow(read, ruling_of(modalities, patients).decision.residual, HIS) or ()
    answered = {DataSet.parse(answer, True).text(STUDY_UID) for data in sent for answer in peer_answers(data, rows)}
    assert answered <= everything


def row(**extra: str) -> DataSet:
    keys = {PATIENT_ID: "P001", ISSUER: "", PATIENT_NAME: "Wang^Wu", PHONE: "555", STUDY_UID: "1.2", MODALITIES: "CR"}
    tags = {"modalities": MODALITIES, "patient": PATIENT_ID, "issuer": ISSUER}
    return DataSet.parse(identifier("STUDY", {**keys, **{tags[name]: text for name, text in extra.items()}}), True)


def test_a_partial_study_loses_what_counts_or_lists_the_hidden() -> None:
    keys = {MODALITIES: "CR\\SR", SOP_CLASSES: "1.2\\1.3", STUDY_SERIES: "2", STUDY_INSTANCES: "10", STUDY_UID: "1.2"}
    read = query("STUDY", dict.fromkeys(keys, ""))
    found = judge_of(ruling_of(frozenset({"CR"}), None)).show_study(
        read, DataSet.parse(identifier("STUDY", keys), True), ("CR", "SR")
    )
    assert found is not None
    assert (found.partial, keys_of(found.data)) == (
        True,
        {LEVEL: "STUDY", MODALITIES: "CR", SOP_CLASSES: "", STUDY_UID: "1.2", STUDY_SERIES: "", STUDY_INSTANCES: ""},
    )


def test_matching_on_what_is_hidden_finds_nothing() -> None:
    by_modality = query("STUDY", {MODALITIES: "SR"})
    by_class = query("STUDY", {MODALITIES: "", SOP_CLASSES: "1.2.840.10008.5.1.4.1.1.88.11"})
    judge = judge_of(ruling_of(frozenset({"CR"}), None))
    assert judge.show_study(by_modality, row(modalities="CR\\SR"), ("CR", "SR")) is None
    assert judge.show_study(by_class, row(modalities="CR\\SR"), ("CR", "SR")) is None


def test_what_was_not_asked_for_is_not_answered() -> None:
    found = judge_of(ruling_of(None, None)).show_study(query("STUDY", {PATIENT_NAME: ""}), row(), ("CR",))
    assert found is not None
    assert keys_of(found.data) == {LEVEL: "STUDY", PATIENT_NAME: "Wang^Wu"}


def test_rows_name_us_as_the_place_to_retrieve_from() -> None:
    data = row().edited({0x00080054: b"ORTHANC"})
    found = judge_of(ruling_of(None, None)).show_study(query("STUDY"), DataSet.parse(data, True), ("CR",))
    assert found is not None
    assert keys_of(found.data)[0x00080054] == "SPIR"


@pytest.mark.parametrize("patient", ["", "P001\\P002", "P|1"])
def test_a_row_without_a_readable_patient_is_nobody_s(patient: str) -> None:
    assert Reading(HIS).patient(row(patient=patient)) is None
    assert judge_of(ruling_of(None, frozenset({"P001"}))).show_study(query("STUDY"), row(patient=patient), ()) is None


def test_a_patient_of_an_unknown_issuer_is_another_patient() -> None:
    judge = judge_of(ruling_of(None, frozenset({"P001"})))
    assert judge.show_study(query("STUDY"), row(issuer="ELSEWHERE"), ("CR",)) is None
    assert judge.show_study(query("STUDY"), row(issuer="1.2.3"), ("CR",)) is not None


def test_masked_elements_are_emptied() -> None:
    mask = Obligation("m", "mask", {"paths": ("patient.telecom",)})
    read = query("STUDY", {PATIENT_NAME: "", PHONE: ""})
    found = judge_of(ruling_of(None, None, obligations=(mask,))).show_study(read, row(), ("CR",))
    assert found is not None
    assert (found.partial, keys_of(found.data)) == (True, {LEVEL: "STUDY", PATIENT_NAME: "Wang^Wu", PHONE: ""})


def test_a_masked_row_loses_its_sequences() -> None:
    mask = Obligation("m", "mask", {"paths": ("patient.telecom",)})
    item = b"\xfe\xff\x00\xe0\x0c\x00\x00\x00\x10\x00\x54\x21\x04\x00\x00\x00555 "
    read = query("STUDY", {0x00081032: ""})
    answer = DataSet.parse(row().edited({0x00081032: item}), True)
    found = judge_of(ruling_of(None, None, obligations=(mask,))).show_study(read, answer, ("CR",))
    assert found is not None
    assert b"555" not in found.data


@pytest.mark.parametrize(
    "obligation",
    [
        Obligation("d", "deidentify", {"profile": "basic"}),
        Obligation("x", "never-heard-of"),
        Obligation("m", "mask", {"paths": ("patient.unheard_of",)}),
        Obligation("m", "mask", {"paths": "patient.telecom"}),
        Obligation("m", "mask", {"paths": ("patient.name",)}),  # the client matched on the name
    ],
    ids=lambda obligation: f"{obligation.type} {obligation.properties.get('paths', '')}",
)
def test_a_row_whose_obligation_cannot_be_carried_out_is_withheld(obligation: Obligation) -> None:
    judge = judge_of(ruling_of(None, None, obligations=(obligation,)))
    assert judge.show_study(query("STUDY", {PATIENT_NAME: "Wang*"}), row(), ("CR",)) is None


def test_the_time_of_a_study_is_read_in_its_own_or_the_site_s_zone() -> None:
    def created(**keys: str) -> str | None:
        tags = {"date": STUDY_DATE, "time": STUDY_TIME, "offset": 0x00080201}
        data = identifier("STUDY", {tags[name]: text for name, text in keys.items()})
        found = Reading(HIS).created(DataSet.parse(data, True))
        return found.isoformat() if found else None

    assert created(date="20261121", time="101530.5") == "2026-11-21T10:15:30.500000+00:00"
    assert created(date="20261121", time="10", offset="+0800") == "2026-11-21T10:00:00+08:00"
    assert created(date="20261121") == "2026-11-21T00:00:00+00:00"
    assert [created(date="2026"), created(time="10"), created(date="20261399"), created(date="20261121", time="x")] == [
        None
    ] * 4


@given(data=st.binary(max_size=200), root=st.sampled_from(Root), explicit=st.booleans())
def test_any_identifier_is_read_or_refused(data: bytes, root: Root, explicit: bool) -> None:
    for start in (b"", identifier("STUDY", explicit=explicit), identifier("SERIES", {STUDY_UID: "1.2"}, explicit)):
        with suppress(DatasetError):
            narrow(read_find(root, start + data, explicit), ADMIT_ALL, HIS)
