"""C-MOVE and C-GET from request to final response, as whole exchanges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.dicom.dataset import DataSet, DatasetError, encode
from adapters.dicom.get import get
from adapters.dicom.identifier import LEVEL, MODALITIES_IN_STUDY
from adapters.dicom.message import CCancelRq, CGetRq, CGetRsp, CMoveRq, CMoveRsp, CStoreRq, CStoreRsp
from adapters.dicom.move import move
from adapters.dicom.query import request_for
from adapters.dicom.session import Call, ClientGone, Lookup, Message, PassOn, PeerGone, Said, Sends, Side, Site, Skip
from adapters.dicom.tables import Service
from spir.errors import PeerError, Unavailable
from spir.exchange import Answer, AskPeer, Await, Decide
from spir.model.decision import ADMIT_ALL, Decision, Effect
from spir.model.obligation import Obligation
from spir.model.request import Request
from spir.record.event import EventKind, Outcome
from tests.dicom.scenes import (
    CALLER,
    CR,
    GET,
    MODALITY,
    MOVE,
    PATIENT_ID,
    SERIES_COUNT,
    SERIES_UID,
    SITE,
    SOP_CLASS,
    SOP_UID,
    STUDY_UID,
    Recorded,
    call,
    data,
    play,
)
from tests.given import DR_LI, NOON, GivenRuling, deny, permit

MOVING = request_for(DR_LI, Service.MOVE, {**CALLER.context, "destination": "WS1"})
GETTING = request_for(DR_LI, Service.GET, CALLER.context)
NOTHING = data({}, "")
FAILED = 0x00080058


def movement(keys: dict[int, str], level: str = "STUDY", destination: str = "WS1") -> Call:
    return call(MOVE, CMoveRq(5, MOVE, destination), data(keys, level))


def getting(keys: dict[int, str], level: str = "STUDY") -> Call:
    return call(GET, CGetRq(5, GET), data(keys, level))


def radiographs(request: Request, obligations: tuple[Obligation, ...] = ()) -> GivenRuling:
    def judge(row: Mapping[str, Any]) -> bool:
        mine = (row.get("patient") or {}).get("id") == "HIS|P001"
        return mine and row.get("modality") in ("CR", "DX")

    decision = Decision(Effect.CONDITIONAL, request.operation, ADMIT_ALL)
    return GivenRuling(decision, request, judge, obligations)


def rows(*keys: dict[int, str]) -> tuple[DataSet, ...]:
    return tuple(DataSet.parse(data(one, ""), True) for one in keys)


STUDY = {PATIENT_ID: "P001", STUDY_UID: "1.1"}
ASK_STUDY = AskPeer(
    Lookup(
        "STUDY",
        {
            **dict.fromkeys((0x00080020, 0x00080030, MODALITIES_IN_STUDY, PATIENT_ID, 0x00100021), b""),
            STUDY_UID: b"1.1",
        },
    )
)
ASK_SERIES = AskPeer(Lookup("SERIES", {MODALITY: b"", SERIES_COUNT: b"", STUDY_UID: b"1.1", SERIES_UID: b""}))
SERIES = rows(
    {STUDY_UID: "1.1", SERIES_UID: "1.1.1", MODALITY: "CR", SERIES_COUNT: "2"},
    {STUDY_UID: "1.1", SERIES_UID: "1.1.2", MODALITY: "SR", SERIES_COUNT: "9"},
    {STUDY_UID: "1.1", SERIES_UID: "1.1.3", MODALITY: "DX", SERIES_COUNT: "1"},
)
# INVARIANT of these playbooks: the record is durable before the PACS is told to send anything.
RESOLVED = [(ASK_STUDY, rows(STUDY)), (ASK_SERIES, SERIES), (Recorded(status="FF00", outcome=Outcome.PARTIAL), 1)]


def up(series: str) -> AskPeer:
    keys = {LEVEL: "SERIES", STUDY_UID: "1.1", SERIES_UID: series}
    return AskPeer(Message(1, CMoveRq(5, MOVE, "WS1_PACS"), data(keys, "")))


def peer(status: int, uids: str = "", **counters: int) -> Said:
    failures = encode({FAILED: uids.encode()}, True) if uids else None
    return Said(Side.PEER, CMoveRsp(5, MOVE, status, **counters, has_data=bool(uids)), failures)


def down(status: int, comment: str = "", uids: str = "", **counters: int) -> Answer:
    failures = encode({FAILED: uids.encode()}, True) if uids else None
    return Answer(Message(1, CMoveRsp(5, MOVE, status, comment=comment, **counters, has_data=bool(uids)), failures))


def test_a_study_move_becomes_a_move_of_its_permitted_series() -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), radiographs(MOVING)),
        *RESOLVED,
        (up("1.1.1\\1.1.3"), None),
        (Await(), peer(0xFF00, remaining=2, completed=1, failed=0, warning=0)),
        (down(0xFF00, remaining=2, completed=1, failed=0, warning=0), None),
        (Await(), peer(0x0000, completed=3, failed=0, warning=0)),
        (
            Recorded(
                kind=EventKind.DECISION,
                operation="retrieve:imaging",
                outcome=Outcome.PARTIAL,
                patients=("HIS|P001",),
                detail={
                    "service": "C-MOVE",
                    "status": "0000",
                    "level": "STUDY",
                    "destination": "WS1",
                    "series": 2,
                    "withheld": 1,
                    "completed": 3,
                    "failed": 0,
                    "warning": 0,
                },
            ),
            1,
        ),
        (down(0x0000, completed=3, failed=0, warning=0), None),
    )


@pytest.mark.parametrize("destination", ["ELSEWHERE", "WS1_PACS", ""])
def test_a_destination_that_is_not_registered_gets_nothing(destination: str) -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"}, destination=destination)),
        (Recorded(kind=EventKind.REFUSAL, outcome=Outcome.REFUSED, status="A801"), 1),
        (down(0xA801, "the move destination is not registered"), None),
    )


def test_a_denied_move_is_not_authorised() -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), deny(MOVING)),
        (Recorded(outcome=Outcome.REFUSED, status="0124"), 1),
        (down(0x0124, "not authorised by policy"), None),
    )


@pytest.mark.parametrize("kind", ["mask", "deidentify", "limit", "never-heard-of"])
def test_an_obligation_that_a_retrieve_cannot_carry_out_denies(kind: str) -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), permit(MOVING, obligations=(Obligation("o", kind),))),
        (Recorded(outcome=Outcome.REFUSED, status="0124"), 1),
        (down(0x0124, "not authorised by policy"), None),
    )


@pytest.mark.parametrize("found", [(), rows({STUDY_UID: "1.1", SERIES_UID: "1.1.2", MODALITY: "SR"})])
def test_what_is_hidden_and_what_is_missing_get_the_same_answer(found: tuple[DataSet, ...]) -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), radiographs(MOVING)),
        (ASK_STUDY, rows(STUDY)),
        (ASK_SERIES, found),
        (Recorded(outcome=Outcome.REFUSED, status="0124"), 1),
        (down(0x0124, "not authorised by policy"), None),
    )


def test_who_may_see_everything_is_told_that_there_is_nothing() -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), permit(MOVING)),
        (ASK_STUDY, ()),
        (Recorded(outcome=Outcome.SUCCESS, status="0000"), 1),
        (down(0x0000, completed=0, failed=0, warning=0), None),
    )


def test_a_modality_key_is_refused_and_never_reaches_the_pacs() -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1", MODALITY: "SR"})),
        (Recorded(kind=EventKind.REFUSAL, status="A900"), 1),
        (down(0xA900, "(0008,0060) Modality is no key of a retrieve"), None),
    )


def test_a_peer_that_refuses_lists_is_asked_series_by_series() -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), radiographs(MOVING)),
        *RESOLVED,
        (up("1.1.1\\1.1.3"), None),
        (Await(), peer(0xA900)),
        (up("1.1.1"), None),
        (Await(), peer(0xFF00, remaining=1, completed=1, failed=0, warning=0)),
        (down(0xFF00, remaining=2, completed=1, failed=0, warning=0), None),
        (Await(), peer(0x0000, completed=2, failed=0, warning=0)),
        (up("1.1.3"), None),
        (Await(), peer(0xFF00, remaining=0, completed=0, failed=1, warning=0)),
        (down(0xFF00, remaining=0, completed=2, failed=1, warning=0), None),
        (Await(), peer(0xB000, "1.1.3.1", completed=0, failed=1, warning=0)),
        (Recorded(status="B000", completed=2, failed=1), 1),
        (down(0xB000, uids="1.1.3.1", completed=2, failed=1, warning=0), None),
    )


def test_a_peer_that_refuses_everything_is_quoted_by_its_status_only() -> None:
    one = (ASK_SERIES, SERIES[:1])
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), radiographs(MOVING)),
        (ASK_STUDY, rows(STUDY)),
        one,
        (Recorded(outcome=Outcome.SUCCESS), 1),
        (up("1.1.1"), None),
        (Await(), Said(Side.PEER, CMoveRsp(5, MOVE, 0xC000, comment="no route to Wang"))),
        (Recorded(outcome=Outcome.ERROR, status="C000"), 1),
        (down(0xC000, completed=0, failed=2, warning=0), None),
    )


def test_a_cancel_ends_the_running_request_and_the_rest_is_not_begun() -> None:
    site = replace(SITE, bounds=replace(SITE.bounds, list_length=1))
    play(
        move(site, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), radiographs(MOVING)),
        *RESOLVED,
        (up("1.1.1"), None),
        (Await(), Said(Side.CLIENT, CCancelRq(4))),
        (Await(), Said(Side.CLIENT, CCancelRq(5))),
        (AskPeer(Message(1, CCancelRq(5))), None),
        (Await(), peer(0xFE00, remaining=1, completed=1, failed=0, warning=0)),
        (Recorded(outcome=Outcome.PARTIAL, status="FE00", completed=1), 1),
        (down(0xFE00, remaining=1, completed=1, failed=0, warning=0), None),
    )


def test_nothing_moves_without_a_durable_record() -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), radiographs(MOVING)),
        *RESOLVED[:2],
        (Recorded(status="FF00"), Unavailable("the disk is full")),
        (Recorded(outcome=Outcome.ERROR, status="A702"), Unavailable("the disk is full")),
        (down(0xA702, "the audit trail does not work now"), None),
    )


def test_a_resolution_that_fails_moves_nothing() -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), radiographs(MOVING)),
        (ASK_STUDY, PeerError("the PACS refuses")),
        (Recorded(outcome=Outcome.ERROR, status="A702"), 1),
        (down(0xA702, "the PACS refuses"), None),
    )


def test_a_pacs_that_dies_in_the_middle_fails_the_move() -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), radiographs(MOVING)),
        *RESOLVED,
        (up("1.1.1\\1.1.3"), None),
        (Await(), PeerGone("the PACS went away")),
        (Recorded(outcome=Outcome.ERROR, status="A702"), 1),
        (down(0xA702, "the PACS went away"), None),
    )


# -- C-GET ----------------------------------------------------------------------------------------


def got(status: int, uids: str = "", **counters: int) -> Said:
    failures = encode({FAILED: uids.encode()}, True) if uids else None
    return Said(Side.PEER, CGetRsp(5, GET, status, **counters, has_data=bool(uids)), failures)


def told(status: int, uids: str = "", **counters: int) -> Answer:
    failures = encode({FAILED: uids.encode()}, True) if uids else None
    return Answer(Message(1, CGetRsp(5, GET, status, **counters, has_data=bool(uids)), failures))


def head(**changes: str) -> DataSet:
    keys = {
        SOP_CLASS: CR,
        SOP_UID: "1.1.1.1",
        MODALITY: "CR",
        PATIENT_ID: "P001",
        STUDY_UID: "1.1",
        SERIES_UID: "1.1.1",
    }
    tags = {"modality": MODALITY, "patient": PATIENT_ID, "study": STUDY_UID, "series": SERIES_UID, "uid": SOP_UID}
    return DataSet.parse(data({**keys, **{tags[name]: text for name, text in changes.items()}}, ""), True)


INSTANCE = CStoreRq(9, CR, "1.1.1.1")
UP_GET = AskPeer(Message(1, CGetRq(5, GET), data({LEVEL: "SERIES", STUDY_UID: "1.1", SERIES_UID: "1.1.1\\1.1.3"}, "")))
BEGUN = [(Decide(GETTING), radiographs(GETTING)), *RESOLVED, (UP_GET, None)]


def test_an_instance_is_judged_by_its_head_and_passed_on() -> None:
    play(
        get(SITE, CALLER, getting({STUDY_UID: "1.1"})),
        *BEGUN,
        (Await(), Sends(3, INSTANCE, head())),
        (Answer(PassOn(3, INSTANCE)), None),
        (Await(), Said(Side.CLIENT, CStoreRsp(9, CR, "1.1.1.1", 0, "thank you"))),
        (AskPeer(Message(3, CStoreRsp(9, CR, "1.1.1.1", 0))), None),
        (Await(), got(0xFF00, remaining=2, completed=1, failed=0, warning=0)),
        (told(0xFF00, remaining=2, completed=1, failed=0, warning=0), None),
        (Await(), got(0x0000, completed=3, failed=0, warning=0)),
        (Recorded(status="0000", completed=3, withheld=1), 1),
        (told(0x0000, completed=3, failed=0, warning=0), None),
    )


@pytest.mark.parametrize(
    "arriving",
    [
        head(modality="SR"),
        head(patient="P002"),
        head(study="1.9"),
        head(series="1.1.2"),
        head(uid="1.1.1.9"),
        DataSet.parse(data({MODALITY: "CR"}, ""), True),
        DatasetError("a data set ends in the middle of an element"),
    ],
    ids=["modality", "patient", "study", "series", "another instance", "no identity", "unreadable"],
)
def test_an_instance_that_is_not_admitted_never_reaches_the_client(arriving: DataSet | DatasetError) -> None:
    play(
        get(SITE, CALLER, getting({STUDY_UID: "1.1"})),
        *BEGUN,
        (Await(), Sends(3, INSTANCE, arriving)),
        (Skip(Side.PEER), None),
        (AskPeer(Message(3, CStoreRsp(9, CR, "1.1.1.1", 0x0124))), None),
        (Await(), got(0xFF00, remaining=1, completed=0, failed=1, warning=0)),
        (told(0xFF00, remaining=1, completed=0, failed=0, warning=0), None),
        (Await(), got(0xB000, "1.1.1.1", completed=1, failed=1, warning=0)),
        (Recorded(status="0000", completed=1, failed=0, withheld=2, outcome=Outcome.PARTIAL), 1),
        (told(0x0000, completed=1, failed=0, warning=0), None),
    )


def test_only_the_named_instances_are_passed_on() -> None:
    keys = {STUDY_UID: "1.1", SERIES_UID: "1.1.1", SOP_UID: "1.1.1.1"}
    wanted = {MODALITY: b"", SERIES_COUNT: b"", STUDY_UID: b"1.1", SERIES_UID: b"1.1.1"}
    image = {SOP_CLASS: b"", STUDY_UID: b"1.1", SERIES_UID: b"1.1.1", SOP_UID: b"1.1.1.1"}
    other = CStoreRq(10, CR, "1.1.1.2")
    play(
        get(SITE, CALLER, getting(keys, "IMAGE")),
        (Decide(GETTING), radiographs(GETTING)),
        (ASK_STUDY, rows(STUDY)),
        (AskPeer(Lookup("SERIES", wanted)), SERIES[:1]),
        (AskPeer(Lookup("IMAGE", image)), rows({**keys, SOP_CLASS: CR})),
        (Recorded(outcome=Outcome.SUCCESS), 1),
        (AskPeer(Message(1, CGetRq(5, GET), data(keys, "IMAGE"))), None),
        (Await(), Sends(3, other, head(uid="1.1.1.2"))),
        (Skip(Side.PEER), None),
        (AskPeer(Message(3, CStoreRsp(10, CR, "1.1.1.2", 0x0124))), None),
        (Await(), got(0xA702, completed=0, failed=1, warning=0)),
        (Recorded(withheld=1), 1),
        (told(0x0000, completed=0, failed=0, warning=0), None),
    )


def test_a_cancel_between_instances_is_passed_on() -> None:
    play(
        get(SITE, CALLER, getting({STUDY_UID: "1.1"})),
        *BEGUN,
        (Await(), Sends(3, INSTANCE, head())),
        (Answer(PassOn(3, INSTANCE)), None),
        (Await(), Said(Side.CLIENT, CCancelRq(5))),
        (AskPeer(Message(1, CCancelRq(5))), None),
        (Await(), Said(Side.CLIENT, CStoreRsp(9, CR, "1.1.1.1", 0))),
        (AskPeer(Message(3, CStoreRsp(9, CR, "1.1.1.1", 0))), None),
        (Await(), got(0xFE00, remaining=2, completed=1, failed=0, warning=0)),
        (Recorded(status="FE00"), 1),
        (told(0xFE00, remaining=0, completed=1, failed=0, warning=0), None),
    )


def test_a_client_that_goes_away_while_it_gets_leaves_a_record() -> None:
    play(
        get(SITE, CALLER, getting({STUDY_UID: "1.1"})),
        *BEGUN,
        (Await(), Sends(3, INSTANCE, head())),
        (Answer(PassOn(3, INSTANCE)), ClientGone("the client went away")),
        (Recorded(outcome=Outcome.ERROR), 1),
    )


def test_an_instance_nobody_asked_for_ends_a_move() -> None:
    play(
        move(SITE, CALLER, movement({STUDY_UID: "1.1"})),
        (Decide(MOVING), radiographs(MOVING)),
        *RESOLVED,
        (up("1.1.1\\1.1.3"), None),
        (Await(), Sends(3, INSTANCE, head())),
        (Recorded(outcome=Outcome.ERROR, status="A702"), 1),
        (down(0xA702, "the PACS sends an instance that nobody asked it to send here"), None),
    )


# -- retrieves that go on for long ----------------------------------------------------------------


@dataclass
class Clock:
    """A site's clock that the playbook moves: `site` has it."""

    now: datetime = NOON

    @property
    def site(self) -> Site:
        return replace(SITE, clock=lambda: self.now, bounds=replace(SITE.bounds, list_length=1))


def run(session: Any, clock: Clock, *turns: tuple[Any, Any]) -> None:
    """As `play`, with a minute before each event."""
    command = next(session)
    for number, (expected, event) in enumerate(turns):
        assert expected == command, f"turn {number}: {command!r}"
        clock.now += timedelta(minutes=1)
        try:
            command = session.send(event)
        except StopIteration:
            assert number == len(turns) - 1, f"the session ended after turn {number}"
            return
    raise AssertionError(f"the session goes on with {command!r}")


def test_a_move_over_a_discharge_is_cancelled_and_the_rest_is_not_begun() -> None:
    clock = Clock()
    run(
        move(clock.site, CALLER, movement({STUDY_UID: "1.1"})),
        clock,
        (Decide(MOVING), radiographs(MOVING)),
        *RESOLVED,
        (Decide(MOVING), radiographs(MOVING)),  # the record took a minute
        (up("1.1.1"), None),
        (Await(), peer(0xFF00, remaining=1, completed=1, failed=0, warning=0)),
        (Decide(MOVING), deny(MOVING)),
        (AskPeer(Message(1, CCancelRq(5))), None),
        (down(0xFF00, remaining=2, completed=1, failed=0, warning=0), None),
        (Await(), peer(0xFE00, remaining=1, completed=1, failed=0, warning=0)),
        (Recorded(outcome=Outcome.PARTIAL, status="0000", completed=1, withheld=3), 1),
        (down(0x0000, completed=1, failed=0, warning=0), None),
    )


def test_what_may_not_move_any_more_when_its_turn_comes_is_left_out() -> None:
    clock = Clock()

    def only_cr(row: Mapping[str, Any]) -> bool:
        return row.get("modality") == "CR"

    narrowed = GivenRuling(Decision(Effect.CONDITIONAL, MOVING.operation, ADMIT_ALL), MOVING, only_cr)
    run(
        move(clock.site, CALLER, movement({STUDY_UID: "1.1"})),
        clock,
        (Decide(MOVING), radiographs(MOVING)),
        *RESOLVED,
        (Decide(MOVING), narrowed),
        (up("1.1.1"), None),
        (Await(), peer(0x0000, completed=2, failed=0, warning=0)),
        (Decide(MOVING), narrowed),
        (Recorded(outcome=Outcome.PARTIAL, status="0000", completed=2, withheld=2), 1),
        (down(0x0000, completed=2, failed=0, warning=0), None),
    )


def test_a_move_that_may_not_begin_any_more_is_not_authorised() -> None:
    clock = Clock()
    run(
        move(clock.site, CALLER, movement({STUDY_UID: "1.1"})),
        clock,
        (Decide(MOVING), radiographs(MOVING)),
        *RESOLVED,
        (Decide(MOVING), deny(MOVING)),
        (Recorded(outcome=Outcome.REFUSED, status="0124"), 1),
        (down(0x0124, completed=0, failed=0, warning=0), None),
    )


def test_an_identity_that_expires_ends_a_get_instance_by_instance() -> None:
    clock = Clock()
    caller = replace(CALLER, identity=replace(CALLER.identity, expires=NOON + timedelta(minutes=5)))
    run(
        get(clock.site, caller, getting({STUDY_UID: "1.1"})),
        clock,
        (Decide(GETTING), radiographs(GETTING)),
        *RESOLVED,
        (Decide(GETTING), radiographs(GETTING)),
        (AskPeer(Message(1, CGetRq(5, GET), data({LEVEL: "SERIES", STUDY_UID: "1.1", SERIES_UID: "1.1.1"}, ""))), None),
        (Await(), Sends(3, INSTANCE, head())),
        (AskPeer(Message(1, CCancelRq(5))), None),
        (Skip(Side.PEER), None),
        (AskPeer(Message(3, CStoreRsp(9, CR, "1.1.1.1", 0x0124))), None),
        (Await(), got(0xFE00, remaining=0, completed=0, failed=1, warning=0)),
        (Recorded(outcome=Outcome.REFUSED, status="0124"), 1),
        (told(0x0124, completed=0, failed=0, warning=0), None),
    )
