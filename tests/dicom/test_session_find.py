"""C-FIND from request to final response: whole exchanges, and scenes against a PACS in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.dataset import DataSet
from adapters.dicom.find import find
from adapters.dicom.message import CCancelRq, CFindRq, CFindRsp
from adapters.dicom.query import request_for
from adapters.dicom.session import Bounds, ClientGone, Lookup, Message, PeerGone, Said, Side
from adapters.dicom.status import Status
from adapters.dicom.tables import Service
from spir.errors import PeerError, Unavailable
from spir.exchange import Answer, AskPeer, Await, Commit, Decide, Notification, Notify
from spir.model.condition import TRUE
from spir.model.decision import ADMIT_ALL, Atom, Clause, Decision, Effect, Residual
from spir.model.obligation import Obligation
from spir.model.request import Request
from spir.record.event import EventKind, Outcome
from tests.dicom.scenes import (
    CALLER,
    FIND,
    MODALITIES,
    MODALITY,
    PATIENT_FIND,
    PATIENT_ID,
    PATIENT_NAME,
    PHONE,
    SERIES_UID,
    SITE,
    SOP_CLASS,
    SOP_UID,
    SR,
    STUDY_UID,
    Pacs,
    Recorded,
    data,
    finding,
    instance,
    play,
    query,
    texts,
)
from tests.given import DR_LI, NOON, GivenRuling, deny, permit

REQUEST = request_for(DR_LI, Service.FIND, CALLER.context)
RQ = CFindRq(7, FIND)
KEYS = {PATIENT_NAME: "", MODALITIES: "", STUDY_UID: ""}
WARD = [
    instance(1, "P001", "CR", "1.1", "1.1.1"),
    instance(2, "P001", "CR", "1.1", "1.1.1"),
    instance(1, "P001", "SR", "1.1", "1.1.2"),
    instance(1, "P001", "CT", "1.2", "1.2.1"),
    instance(1, "P002", "DX", "1.3", "1.3.1"),
]


def radiographs_of_p001(request: Request) -> GivenRuling:
    """Conditional: CR and DX of one patient, with a residual that says so."""
    atoms = (Atom("resource.modality", "in", ("CR", "DX")), Atom("resource.patient.id", "==", "HIS|P001"))
    residual = Residual(TRUE, (Clause(atoms),))

    def judge(row: Mapping[str, Any]) -> bool:
        return row.get("modality") in ("CR", "DX") and (row.get("patient") or {}).get("id") == "HIS|P001"

    return GivenRuling(Decision(Effect.CONDITIONAL, request.operation, residual), request, judge)


def final(status: int, comment: str = "") -> Answer:
    return Answer(Message(1, CFindRsp(7, FIND, status, comment)))


def pending(keys: dict[int, str], status: int = 0xFF00) -> Answer:
    return Answer(Message(1, CFindRsp(7, FIND, status, has_data=True), data(keys, "STUDY")))


def said(keys: dict[int, str]) -> Said:
    return Said(Side.PEER, CFindRsp(7, FIND, 0xFF00, has_data=True), data(keys, "STUDY"))


NARROWED = AskPeer(
    Message(
        1,
        RQ,
        data(
            {
                0x00080020: "",
                0x00080030: "",
                MODALITIES: "CR\\DX",
                PATIENT_NAME: "",
                PATIENT_ID: "P001",
                0x00100021: "",
                STUDY_UID: "",
            },
            "STUDY",
        ),
    )
)
ROW = {PATIENT_NAME: "Wang^Wu", PATIENT_ID: "P001", MODALITIES: "CR\\SR", STUDY_UID: "1.1"}


def test_a_query_is_decided_narrowed_asked_judged_recorded_and_answered() -> None:
    play(
        find(SITE, CALLER, finding(data(KEYS, "STUDY"))),
        (Decide(REQUEST), radiographs_of_p001(REQUEST)),
        (NARROWED, None),
        (Await(), said(ROW)),
        (Await(), said({**ROW, PATIENT_ID: "P002"})),
        (Await(), Said(Side.PEER, CFindRsp(7, FIND, 0))),
        (
            Recorded(
                kind=EventKind.DECISION,
                operation="search:imaging",
                subject="dr.li",
                outcome=Outcome.PARTIAL,
                patients=("HIS|P001",),
                detail={"service": "C-FIND", "status": "0000", "level": "STUDY", "shown": 1, "withheld": 1},
            ),
            1,
        ),
        (pending({PATIENT_NAME: "Wang^Wu", MODALITIES: "CR", STUDY_UID: "1.1"}), None),
        (final(0), None),
    )


def test_no_row_is_said_that_no_durable_record_covers() -> None:
    play(
        find(SITE, CALLER, finding(data(KEYS, "STUDY"))),
        (Decide(REQUEST), radiographs_of_p001(REQUEST)),
        (NARROWED, None),
        (Await(), said(ROW)),
        (Await(), Said(Side.PEER, CFindRsp(7, FIND, 0))),
        (Recorded(outcome=Outcome.PARTIAL), Unavailable("the disk is full")),
        (final(0xA700, "the audit trail does not work now"), None),
    )


def test_many_rows_go_page_by_page_each_with_a_record_of_whose_they_are() -> None:
    made = [instance(1, f"P{number:03}", "CT", f"1.{number}", f"1.{number}.1") for number in range(1, 601)]
    said_so_far: list[tuple[str, ...]] = []

    session = find(SITE, CALLER, finding(data(KEYS, "STUDY")))
    order = [kind for kind, _ in _told(session, Pacs(made), said_so_far)]
    assert [len(patients) for patients in said_so_far] == [256, 256, 88]
    assert order == ["record", *["row"] * 256, "record", *["row"] * 256, "record", *["row"] * 88, "final"]


def _told(session: Any, pacs: Pacs, patients: list[tuple[str, ...]]) -> list[tuple[str, Any]]:
    """What a permitted query says to the client and to the audit trail, in order."""
    told: list[tuple[str, Any]] = []
    rows: list[Any] = []
    command = next(session)
    while True:
        event: Any = None
        match command:
            case Decide(request):
                event = permit(request)
            case AskPeer(Message(_, _, identifier)):
                rows = [Said(Side.PEER, CFindRsp(7, FIND, 0xFF00, has_data=True), row) for row in pacs.find(identifier)]
                rows.append(Said(Side.PEER, CFindRsp(7, FIND, 0)))
            case Await():
                event = rows.pop(0)
            case Commit(items):
                patients.append(items[0].event.patients)
                told.append(("record", items))
            case Answer(Message(_, response, _)):
                told.append(("row" if response.status == 0xFF00 else "final", response))
        try:
            command = session.send(event)
        except StopIteration:
            return told


def test_a_query_that_goes_on_over_a_discharge_shows_nothing_after_it() -> None:
    clock = iter(NOON + timedelta(seconds=number / 4) for number in range(1000))
    asked = 0

    def ruler(request: Request) -> GivenRuling:
        nonlocal asked
        asked += 1
        return permit(request) if asked == 1 else deny(request)

    site = replace(SITE, clock=lambda: next(clock))
    made = [instance(1, "P001", "CT", f"1.{number}", f"1.{number}.1") for number in range(1, 9)]
    answers, event = query(find(site, CALLER, finding(data(KEYS, "STUDY"))), Pacs(made), ruler)
    assert asked == 2
    assert len(answers) < len(made)
    assert event is not None
    assert event.outcome is Outcome.PARTIAL
    assert event.detail["shown"] + event.detail["withheld"] == len(made)


def test_an_identity_that_expires_during_a_query_ends_what_it_shows() -> None:
    clock = iter(NOON + timedelta(seconds=number) for number in range(1000))
    caller = replace(CALLER, identity=replace(CALLER.identity, expires=NOON + timedelta(seconds=5)))
    site = replace(SITE, clock=lambda: next(clock))
    made = [instance(1, "P001", "CT", f"1.{number}", f"1.{number}.1") for number in range(1, 9)]
    _, event = query(find(site, caller, finding(data(KEYS, "STUDY"))), Pacs(made), permit)
    assert event is not None
    assert event.detail["withheld"] > 0


@pytest.mark.parametrize(
    ("keys", "patients"),
    [
        ({PATIENT_ID: "P002"}, ("HIS|P002",)),
        ({PATIENT_ID: " P002 "}, ("HIS|P002",)),
        ({PATIENT_ID: "P002", 0x00100021: "urn:oid:1.2.3"}, ("HIS|P002",)),
        ({PATIENT_ID: "P002", 0x00100021: "ELSEWHERE"}, ()),
        ({PATIENT_ID: "P0*"}, ()),
        ({PATIENT_ID: "P002\\P003"}, ("HIS|P002", "HIS|P003")),
        ({}, ()),
    ],
)
@pytest.mark.parametrize("ruler", [deny, radiographs_of_p001])
def test_a_query_about_somebody_is_found_by_that_patient(
    keys: dict[int, str], patients: tuple[str, ...], ruler: Any
) -> None:
    _, event = query(find(SITE, CALLER, finding(data({**KEYS, **keys}, "STUDY"))), Pacs([]), ruler)
    assert event is not None
    assert event.patients == patients


def test_a_query_about_the_series_of_a_hidden_study_is_found_by_its_patient() -> None:
    asked = finding(data({STUDY_UID: "1.3", SERIES_UID: "", MODALITY: ""}, "SERIES"))
    answers, event = query(find(SITE, CALLER, asked), Pacs(WARD), radiographs_of_p001)
    assert len(answers) == 1
    assert event is not None
    assert event.patients == ("HIS|P002",)


def test_a_denied_query_looks_like_one_that_finds_nothing() -> None:
    play(
        find(SITE, CALLER, finding(data(KEYS, "STUDY"))),
        (Decide(REQUEST), deny(REQUEST)),
        (Recorded(outcome=Outcome.REFUSED, status="0000"), 1),
        (final(0), None),
    )


def test_a_site_may_want_denials_said_aloud() -> None:
    play(
        find(replace(SITE, find_denial=Status.NOT_AUTHORISED), CALLER, finding(data(KEYS, "STUDY"))),
        (Decide(REQUEST), deny(REQUEST)),
        (Recorded(outcome=Outcome.REFUSED, status="0124"), 1),
        (final(0x0124), None),
    )


@pytest.mark.parametrize("kind", ["deidentify", "limit", "never-heard-of"])
def test_an_obligation_that_a_query_cannot_carry_out_denies(kind: str) -> None:
    play(
        find(SITE, CALLER, finding(data(KEYS, "STUDY"))),
        (Decide(REQUEST), permit(REQUEST, obligations=(Obligation("o", kind),))),
        (Recorded(outcome=Outcome.REFUSED), 1),
        (final(0), None),
    )


def test_the_peer_is_asked_nothing_where_nothing_can_match() -> None:
    play(
        find(SITE, CALLER, finding(data({**KEYS, PATIENT_ID: "P002"}, "STUDY"))),
        (Decide(REQUEST), radiographs_of_p001(REQUEST)),
        (Recorded(outcome=Outcome.SUCCESS), 1),
        (final(0), None),
    )


def test_a_relational_query_is_refused_and_recorded_before_any_decision() -> None:
    play(
        find(SITE, CALLER, finding(data({SERIES_UID: ""}, "SERIES"))),
        (Recorded(kind=EventKind.REFUSAL, outcome=Outcome.REFUSED, status="A900", decision=None), 1),
        (final(0xA900, "(0020,000D) StudyInstanceUID must have exactly one value here"), None),
    )


def test_bytes_that_are_no_identifier_are_refused() -> None:
    play(
        find(SITE, CALLER, finding(b"\x01\x02\x03")),
        (Recorded(kind=EventKind.REFUSAL, status="C000"), 1),
        (final(0xC000, "a data set ends in the middle of an element"), None),
    )


def test_nothing_final_is_said_without_a_durable_record() -> None:
    play(
        find(SITE, CALLER, finding(data({**KEYS, PATIENT_ID: "P002"}, "STUDY"))),
        (Decide(REQUEST), radiographs_of_p001(REQUEST)),
        (Recorded(outcome=Outcome.SUCCESS), Unavailable("the disk is full")),
        (final(0xA700, "the audit trail does not work now"), None),
    )


def test_a_cancel_is_passed_on_and_rows_that_still_come_are_dropped() -> None:
    play(
        find(SITE, CALLER, finding(data(KEYS, "STUDY"))),
        (Decide(REQUEST), radiographs_of_p001(REQUEST)),
        (NARROWED, None),
        (Await(), Said(Side.CLIENT, CCancelRq(6))),  # of an operation that is over
        (Await(), Said(Side.CLIENT, CCancelRq(7))),
        (AskPeer(Message(1, CCancelRq(7))), None),
        (Await(), said(ROW)),
        (Await(), Said(Side.PEER, CFindRsp(7, FIND, 0xFE00))),
        (Recorded(outcome=Outcome.PARTIAL, status="FE00"), 1),
        (final(0xFE00), None),
    )


def test_a_peer_that_goes_away_is_an_error_that_may_be_tried_again() -> None:
    play(
        find(SITE, CALLER, finding(data(KEYS, "STUDY"))),
        (Decide(REQUEST), radiographs_of_p001(REQUEST)),
        (NARROWED, None),
        (Await(), PeerGone("the PACS went away")),
        (Recorded(outcome=Outcome.ERROR, status="A700"), 1),
        (final(0xA700, "the PACS went away"), None),
    )


def test_a_client_that_goes_away_leaves_a_record() -> None:
    play(
        find(SITE, CALLER, finding(data(KEYS, "STUDY"))),
        (Decide(REQUEST), radiographs_of_p001(REQUEST)),
        (NARROWED, None),
        (Await(), ClientGone("the client went away")),
        (Recorded(outcome=Outcome.ERROR), 1),
    )


def test_the_peer_s_failure_is_the_client_s_without_the_peer_s_words() -> None:
    play(
        find(SITE, CALLER, finding(data(KEYS, "STUDY"))),
        (Decide(REQUEST), radiographs_of_p001(REQUEST)),
        (NARROWED, None),
        (Await(), Said(Side.PEER, CFindRsp(7, FIND, 0xC001, "no such patient Wang"))),
        (Recorded(outcome=Outcome.ERROR, status="C001"), 1),
        (final(0xC001), None),
    )


def test_an_unreadable_row_is_withheld() -> None:
    broken = Said(Side.PEER, CFindRsp(7, FIND, 0xFF00, has_data=True), b"\x08\x00")
    play(
        find(SITE, CALLER, finding(data(KEYS, "STUDY"))),
        (Decide(REQUEST), radiographs_of_p001(REQUEST)),
        (NARROWED, None),
        (Await(), broken),
        (Await(), Said(Side.PEER, CFindRsp(7, FIND, 0))),
        (Recorded(outcome=Outcome.PARTIAL, withheld=1), 1),
        (final(0), None),
    )


def test_notifications_are_committed_with_the_record() -> None:
    duty = Obligation("tell", "notify", {"channel": "alert", "priority": "high"})
    session = find(SITE, CALLER, finding(data({**KEYS, PATIENT_ID: "P002"}, "STUDY")))
    next(session)
    ruling = replace(radiographs_of_p001(REQUEST), obligations=(duty,))
    commit = session.send(replace(ruling, decision=replace(ruling.decision, obligations=(duty,))))
    assert isinstance(commit, Commit)
    body = {"obligation": "tell", "protocol": "dicom", "operation": "search:imaging", "subject": "dr.li"}
    assert commit.items[1:] == (
        Notify(Notification("alert", "notify", "high", body | {"time": "2026-11-21T12:00:00+00:00"})),
    )


# -- scenes ---------------------------------------------------------------------------------------


def shown(level: str, keys: dict[int, str], uid: str = FIND, pacs: Pacs | None = None, site: Any = SITE) -> list[Any]:
    answers, _ = query(find(site, CALLER, finding(data(keys, level), uid)), pacs or Pacs(WARD), radiographs_of_p001)
    rows = [{t: v for t, v in texts(message.data).items() if t != 0x00080052} for message in answers[:-1]]
    return [*rows, answers[-1].command.status]


def test_a_study_is_shown_with_its_permitted_modalities_only() -> None:
    assert shown("STUDY", {MODALITIES: "", STUDY_UID: ""}) == [{MODALITIES: "CR", STUDY_UID: "1.1"}, 0]


def test_only_permitted_series_of_a_study_are_shown() -> None:
    assert shown("SERIES", {STUDY_UID: "1.1", SERIES_UID: "", MODALITY: ""}) == [
        {MODALITY: "CR", STUDY_UID: "1.1", SERIES_UID: "1.1.1"},
        0,
    ]


def test_series_of_a_study_of_somebody_else_are_not_shown() -> None:
    assert shown("SERIES", {STUDY_UID: "1.3", SERIES_UID: ""}) == [0]


def test_images_of_a_permitted_series_are_shown_and_of_another_not() -> None:
    assert shown("IMAGE", {STUDY_UID: "1.1", SERIES_UID: "1.1.1", SOP_UID: ""}) == [
        {SOP_UID: "1.1.1.1", STUDY_UID: "1.1", SERIES_UID: "1.1.1"},
        {SOP_UID: "1.1.1.2", STUDY_UID: "1.1", SERIES_UID: "1.1.1"},
        0,
    ]
    assert shown("IMAGE", {STUDY_UID: "1.1", SERIES_UID: "1.1.2", SOP_UID: ""}) == [0]
    assert shown("IMAGE", {STUDY_UID: "1.1", SERIES_UID: "9.9", SOP_UID: ""}) == [0]


def test_a_series_named_with_the_study_of_another_patient_is_not_shown() -> None:
    mixed = [*WARD, {**instance(1, "P002", "CR", "1.3", "1.1.1"), SOP_UID: "9"}]
    assert shown("IMAGE", {STUDY_UID: "1.3", SERIES_UID: "1.1.1", SOP_UID: ""}, pacs=Pacs(mixed)) == [0]


def test_a_study_uid_of_two_patients_belongs_to_nobody() -> None:
    class TwoRows(Pacs):
        def lookup(self, lookup: Lookup) -> tuple[DataSet, ...]:
            return (*super().lookup(lookup), *super().lookup(lookup))

    assert shown("SERIES", {STUDY_UID: "1.1", SERIES_UID: ""}, pacs=TwoRows(WARD)) == [0]


def test_rows_that_a_sloppy_peer_brings_from_elsewhere_are_withheld() -> None:
    class Sloppy(Pacs):
        def find(self, identifier: bytes) -> Any:
            keys = DataSet.parse(identifier, True)
            return super().find(keys.edited({STUDY_UID: b"", SERIES_UID: b""}))

    series = {STUDY_UID: "1.1", SERIES_UID: "", MODALITY: ""}
    assert [row[SERIES_UID] for row in shown("SERIES", series, pacs=Sloppy(WARD))[:-1]] == ["1.1.1"]
    images = {STUDY_UID: "1.1", SERIES_UID: "1.1.1", SOP_UID: ""}
    assert [row[SOP_UID] for row in shown("IMAGE", images, pacs=Sloppy(WARD))[:-1]] == ["1.1.1.1", "1.1.1.2"]


def test_patients_are_shown_if_one_of_their_studies_is() -> None:
    assert shown("PATIENT", {PATIENT_ID: "", 0x00201200: ""}, PATIENT_FIND) == [
        {PATIENT_ID: "P001", 0x00201200: ""},
        0,
    ]


def test_a_series_of_the_patient_root_is_of_the_patient_named() -> None:
    keys = {STUDY_UID: "1.1", SERIES_UID: "", MODALITY: ""}
    assert shown("SERIES", {**keys, PATIENT_ID: "P001"}, PATIENT_FIND) == [
        {MODALITY: "CR", PATIENT_ID: "P001", STUDY_UID: "1.1", SERIES_UID: "1.1.1"},
        0,
    ]
    assert shown("SERIES", {**keys, PATIENT_ID: "P002"}, PATIENT_FIND) == [0]


class WithoutModalities(Pacs):
    """A PACS that does not support Modalities in Study, an optional key."""

    def rows(self, level: str, keys: DataSet) -> Any:
        return super().rows(level, DataSet.parse(keys.edited({MODALITIES: None}), True))


def test_modalities_that_a_row_does_not_tell_are_looked_up() -> None:
    pacs = WithoutModalities(WARD)
    assert shown("STUDY", {MODALITIES: "", STUDY_UID: ""}, pacs=pacs) == [{MODALITIES: "CR", STUDY_UID: "1.1"}, 0]
    assert [(lookup.level, lookup.keys[STUDY_UID]) for lookup in pacs.lookups] == [
        ("SERIES", b"1.1"),
        ("SERIES", b"1.2"),
    ]


def test_a_row_beyond_the_budget_of_lookups_is_withheld() -> None:
    site = replace(SITE, bounds=Bounds(lookups=0))
    assert shown("STUDY", {MODALITIES: "", STUDY_UID: ""}, pacs=WithoutModalities(WARD), site=site) == [0]


def test_a_lookup_that_fails_withholds_the_row_it_was_for() -> None:
    class Failing(WithoutModalities):
        def lookup(self, lookup: Lookup) -> tuple[DataSet, ...]:
            if lookup.keys.get(STUDY_UID) == b"1.2":
                raise PeerError("the PACS refuses")
            return super().lookup(lookup)

    pacs = Failing([row for row in WARD if row[STUDY_UID] != "1.2"])
    assert shown("STUDY", {STUDY_UID: ""}, pacs=pacs) == [{STUDY_UID: "1.1"}, 0]


def test_wishes_not_granted_are_said_in_the_status() -> None:
    answers, _ = query(
        find(SITE, CALLER, finding(data({STUDY_UID: "", MODALITY: ""}, "STUDY"))), Pacs(WARD), radiographs_of_p001
    )
    assert [message.command.status for message in answers] == [0xFF01, 0]


def test_a_row_that_two_queries_bring_is_shown_once() -> None:
    both = [instance(1, "P001", "CR", "1.1", "1.1.1"), instance(1, "P001", "DX", "1.1", "1.1.2")]
    pacs = Pacs(both)
    assert shown("STUDY", {STUDY_UID: ""}, pacs=pacs, site=replace(SITE, modality_lists=False)) == [
        {STUDY_UID: "1.1"},
        0,
    ]
    assert [asked[MODALITIES] for asked in pacs.asked] == ["CR", "DX"]


def test_the_class_of_an_image_is_part_of_its_judgement() -> None:
    def no_reports(request: Request) -> GivenRuling:
        decision = Decision(Effect.CONDITIONAL, request.operation, ADMIT_ALL)
        return GivenRuling(decision, request, lambda row: row.get("sop_class") not in (None, SR))

    odd = [instance(1, "P001", "CR", "1.1", "1.1.1"), {**instance(2, "P001", "CR", "1.1", "1.1.1"), SOP_CLASS: SR}]
    session = find(SITE, CALLER, finding(data({STUDY_UID: "1.1", SERIES_UID: "1.1.1", SOP_UID: ""}, "IMAGE")))
    answers, event = query(session, Pacs(odd), no_reports)
    assert [texts(message.data).get(SOP_UID) for message in answers[:-1]] == ["1.1.1.1"]
    assert event is not None and event.outcome is Outcome.PARTIAL


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["P001", "P002"]), st.sampled_from(["CR", "DX", "CT"]), st.integers(1, 3), st.integers(1, 2)
        ),
        max_size=8,
    ),
    st.sampled_from(["PATIENT", "STUDY"]),
)
def test_no_answer_names_what_is_not_permitted(made: list[tuple[str, str, int, int]], level: str) -> None:
    pacs = Pacs(
        [
            instance(n, patient, modality, f"{patient[-1]}.{study}", f"{patient[-1]}.{study}.{modality}.{series}")
            for n, (patient, modality, study, series) in enumerate(made)
        ]
    )
    keys = {
        PATIENT_ID: "",
        PATIENT_NAME: "",
        PHONE: "",
        **({STUDY_UID: "", MODALITIES: ""} if level == "STUDY" else {}),
    }
    rows = shown(level, keys, PATIENT_FIND if level == "PATIENT" else FIND, pacs)[:-1]
    mine = [row for row in pacs.instances if row[PATIENT_ID] == "P001" and row[MODALITY] in ("CR", "DX")]
    unique = PATIENT_ID if level == "PATIENT" else STUDY_UID
    assert {row[unique] for row in rows} == {row[unique] for row in mine}
    assert all(row[PATIENT_ID] == "P001" and "CT" not in row.get(MODALITIES, "") for row in rows)
