"""C-STORE and C-ECHO from request to response, as whole exchanges."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.dicom.dataset import DataSet, DatasetError
from adapters.dicom.echo import echo
from adapters.dicom.ledger import MAX_OPEN, Ledger
from adapters.dicom.message import CEchoRq, CEchoRsp, CStoreRq, CStoreRsp
from adapters.dicom.session import ClientGone, Message, PassOn, PeerGone, Said, Side, Skip, Trail
from adapters.dicom.store import store
from spir.errors import Unavailable
from spir.exchange import Answer, AskPeer, Await, Decide
from spir.model.decision import ADMIT_ALL, Decision, Effect
from spir.model.obligation import Obligation
from spir.model.request import Request
from spir.record.event import EventKind, Outcome
from tests.dicom.scenes import (
    CALLER,
    CR,
    MODALITY,
    PATIENT_ID,
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
from tests.given import DR_LI, GivenRuling, deny, permit

RQ = CStoreRq(4, CR, "1.1.1.1")
HEAD = {SOP_CLASS: CR, SOP_UID: "1.1.1.1", MODALITY: "CR", PATIENT_ID: "P001", STUDY_UID: "1.1", SERIES_UID: "1.1.1"}
STORING = Request.build(
    DR_LI,
    "create:imaging",
    {"patient": {"id": "HIS|P001"}, "study": "1.1", "series": "1.1.1", "modality": "CR", "sop_class": CR},
    context=CALLER.context,
)
VERIFICATION = "1.2.840.10008.1.1"


def head(keys: dict[int, str]) -> DataSet:
    return DataSet.parse(data(keys), True)


def answer(status: int, comment: str = "") -> Answer:
    return Answer(Message(1, CStoreRsp(4, CR, "1.1.1.1", status, comment)))


def stored(status: int, comment: str = "") -> Said:
    return Said(Side.PEER, CStoreRsp(4, CR, "1.1.1.1", status, comment))


def test_a_permitted_instance_is_passed_on_and_recorded_before_it_is_answered() -> None:
    play(
        store(SITE, CALLER, call(CR, RQ), head(HEAD), Ledger()),
        (Decide(STORING), permit(STORING)),
        (AskPeer(PassOn(1, RQ)), None),
        (
            Recorded(
                kind=EventKind.DECISION, operation="create:imaging", outcome=Outcome.SUCCESS, patients=("HIS|P001",)
            ),
            1,
        ),
        (Await(), stored(0)),
        (answer(0), None),
    )


def storing(ledger: Ledger, series: str, uid: str, *, recorded: bool, status: int = 0) -> None:
    """One permitted instance, as a playbook; `recorded`: whether it has to wait for a record of its own."""
    request = CStoreRq(4, CR, uid)
    keys = {**HEAD, SOP_UID: uid, SERIES_UID: series}
    asked = replace(
        STORING, resource=replace(STORING.resource, properties={**STORING.resource.properties, "series": series})
    )
    turns = [(Decide(asked), permit(asked)), (AskPeer(PassOn(1, request)), None)]
    if recorded:
        turns.append((Recorded(outcome=Outcome.SUCCESS, status="FF00"), 1))
    turns.append((Await(), Said(Side.PEER, CStoreRsp(4, CR, uid, status))))
    if status:
        turns.append((Recorded(outcome=Outcome.ERROR), 1))
    answered = Answer(Message(1, CStoreRsp(4, CR, uid, status)))
    play(store(SITE, CALLER, call(CR, request), head(keys), ledger), *turns, (answered, None))


def closed(ledger: Ledger) -> list[object]:
    commit = ledger.closing()
    return [] if commit is None else [item.event.detail["instances"] for item in commit.items]


def test_one_durable_record_stands_for_the_instances_of_a_series() -> None:
    ledger = Ledger()
    storing(ledger, "1.1.1", "1.1.1.1", recorded=True)
    storing(ledger, "1.1.1", "1.1.1.2", recorded=False)
    storing(ledger, "1.1.2", "1.1.2.1", recorded=True)
    storing(ledger, "1.1.1", "1.1.1.3", recorded=False)
    storing(ledger, "1.1.1", "1.1.1.4", recorded=False, status=0xA700)
    assert (closed(ledger), closed(ledger)) == ([3, 1], [])


def test_series_that_make_room_for_others_get_their_last_words_at_once() -> None:
    ledger = Ledger()
    for number in range(MAX_OPEN):
        storing(ledger, f"1.1.{number}", f"1.1.{number}.1", recorded=True)
    commit = ledger.opening(next_trail())
    assert [item.event.detail.get("instances") for item in commit.items] == [None, 1]
    assert len(closed(ledger)) == MAX_OPEN - 1


def next_trail() -> Trail:
    made = Trail(SITE, CALLER, call(CR, RQ))
    made.ruling = permit(STORING)
    return made


def test_a_denied_instance_goes_by_and_is_answered_not_authorised() -> None:
    play(
        store(SITE, CALLER, call(CR, RQ), head(HEAD), Ledger()),
        (Decide(STORING), deny(STORING)),
        (Skip(Side.CLIENT), None),
        (Recorded(outcome=Outcome.REFUSED, status="0124", patients=("HIS|P001",)), 1),
        (answer(0x0124, "not authorised by policy"), None),
    )


@pytest.mark.parametrize(
    "ruling",
    [
        GivenRuling(Decision(Effect.CONDITIONAL, "create:imaging", ADMIT_ALL), STORING),
        permit(STORING, obligations=(Obligation("m", "mask", {"paths": ("patient.name",)}),)),
        GivenRuling(Decision(Effect.PERMIT, "create:imaging", ADMIT_ALL), STORING, lambda row: False),
        GivenRuling(
            Decision(Effect.PERMIT, "create:imaging", ADMIT_ALL),
            STORING,
            obligations=(Obligation("d", "deidentify", {"profile": "basic"}),),
        ),
    ],
    ids=["conditional", "obligation", "not admitted", "obligation of the row"],
)
def test_anything_but_a_plain_permit_denies(ruling: GivenRuling) -> None:
    play(
        store(SITE, CALLER, call(CR, RQ), head(HEAD), Ledger()),
        (Decide(STORING), ruling),
        (Skip(Side.CLIENT), None),
        (Recorded(outcome=Outcome.REFUSED), 1),
        (answer(0x0124, "not authorised by policy"), None),
    )


@pytest.mark.parametrize(
    "keys",
    [{**HEAD, SOP_UID: "1.1.1.2"}, {**HEAD, SOP_CLASS: "1.2.840.10008.5.1.4.1.1.2"}, {PATIENT_ID: "P001"}],
    ids=["instance", "class", "neither"],
)
def test_a_data_set_that_is_not_what_its_command_says_is_refused(keys: dict[int, str]) -> None:
    play(
        store(SITE, CALLER, call(CR, RQ), head(keys), Ledger()),
        (Skip(Side.CLIENT), None),
        (Recorded(kind=EventKind.REFUSAL, status="A900"), 1),
        (answer(0xA900, "command and data set name different instances"), None),
    )


def test_a_command_of_another_class_than_its_context_is_refused() -> None:
    other = "1.2.840.10008.5.1.4.1.1.2"
    play(
        store(SITE, CALLER, call(other, RQ), head(HEAD), Ledger()),
        (Skip(Side.CLIENT), None),
        (Recorded(status="A900"), 1),
        (answer(0xA900, "command and data set name different instances"), None),
    )


def test_a_head_that_cannot_be_read_is_refused() -> None:
    play(
        store(SITE, CALLER, call(CR, RQ), DatasetError("elements are repeated"), Ledger()),
        (Skip(Side.CLIENT), None),
        (Recorded(kind=EventKind.REFUSAL, status="C000"), 1),
        (answer(0xC000, "elements are repeated"), None),
    )


def test_a_missing_patient_is_not_made_up() -> None:
    without = Request.build(
        DR_LI,
        "create:imaging",
        {"study": "1.1", "series": "1.1.1", "modality": "CR", "sop_class": CR},
        context=CALLER.context,
    )
    play(
        store(SITE, CALLER, call(CR, RQ), head({**HEAD, PATIENT_ID: ""}), Ledger()),
        (Decide(without), deny(without)),
        (Skip(Side.CLIENT), None),
        (Recorded(patients=()), 1),
        (answer(0x0124, "not authorised by policy"), None),
    )


def test_the_failure_of_the_pacs_is_recorded_and_answered_without_its_words() -> None:
    play(
        store(SITE, CALLER, call(CR, RQ), head(HEAD), Ledger()),
        (Decide(STORING), permit(STORING)),
        (AskPeer(PassOn(1, RQ)), None),
        (Recorded(outcome=Outcome.SUCCESS), 1),
        (Await(), stored(0xA700, "no room for Wang")),
        (Recorded(outcome=Outcome.ERROR, status="A700"), 2),
        (answer(0xA700), None),
    )


def test_an_instance_whose_record_is_not_durable_is_to_be_sent_again() -> None:
    play(
        store(SITE, CALLER, call(CR, RQ), head(HEAD), Ledger()),
        (Decide(STORING), permit(STORING)),
        (AskPeer(PassOn(1, RQ)), None),
        (Recorded(outcome=Outcome.SUCCESS), Unavailable("the disk is full")),
        (Await(), stored(0)),
        (answer(0xA700, "the audit trail does not work now"), None),
    )


def test_a_pacs_that_dies_while_it_stores_fails_the_store() -> None:
    play(
        store(SITE, CALLER, call(CR, RQ), head(HEAD), Ledger()),
        (Decide(STORING), permit(STORING)),
        (AskPeer(PassOn(1, RQ)), PeerGone("the PACS went away")),
        (Skip(Side.CLIENT), None),
        (Recorded(outcome=Outcome.ERROR, status="A700"), 1),
        (answer(0xA700, "the PACS went away"), None),
    )


def test_a_client_that_dies_while_it_stores_leaves_a_record() -> None:
    play(
        store(SITE, CALLER, call(CR, RQ), head(HEAD), Ledger()),
        (Decide(STORING), permit(STORING)),
        (AskPeer(PassOn(1, RQ)), ClientGone("the client went away")),
        (Recorded(outcome=Outcome.ERROR), 1),
    )


def test_an_echo_is_asked_of_the_pacs() -> None:
    play(
        echo(SITE, CALLER, call(VERIFICATION, CEchoRq(2))),
        (AskPeer(Message(1, CEchoRq(2))), None),
        (Await(), Said(Side.PEER, CEchoRsp(2, VERIFICATION, 0))),
        (Answer(Message(1, CEchoRsp(2, VERIFICATION, 0))), None),
    )


def test_an_echo_that_the_pacs_does_not_answer_fails() -> None:
    play(
        echo(SITE, CALLER, call(VERIFICATION, CEchoRq(2))),
        (AskPeer(Message(1, CEchoRq(2))), PeerGone("the PACS went away")),
        (Recorded(kind=EventKind.REFUSAL, operation="C-ECHO", outcome=Outcome.ERROR), 1),
        (Answer(Message(1, CEchoRsp(2, VERIFICATION, 0xA700, "the PACS went away"))), None),
    )
