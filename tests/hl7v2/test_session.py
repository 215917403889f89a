"""One message as a conversation: what it asks for, what becomes durable, what is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hl7v2 import header
from adapters.hl7v2.error import MessageError
from adapters.hl7v2.session import Arrival, Desk, Identify, Recall, Recalled, Validate, receive
from adapters.hl7v2.source import Source
from spir.errors import Unauthenticated, Unavailable
from spir.exchange import Answer, Commit, Decide, Identity, Keep, Learn, Notify, Record, Ruling
from spir.model.decision import Decision, Effect
from spir.model.facts import Assert, Doubt, Merge
from spir.model.obligation import Obligation
from spir.model.request import Entity, Request
from spir.record.event import EventKind, Outcome
from tests.given import GivenRuling, deny, permit
from tests.hl7v2.given_messages import READER, RECEIVED, SOURCE, TABLES, adt, fixture

HIS = Identity(Entity("system", "his", {"role": "interface"}), "given")
DESK = Desk(READER)
ALERT = Obligation("tell", "notify", {"channel": "alert", "priority": "high"})
START = Obligation("start", "trigger", {"workflow": "stat-imaging", "urgency": "immediate"})


@dataclass
class Shell:
    """Does what a session asks, and remembers it."""

    ruler: Callable[[Request], Ruling] = permit
    recalled: Recalled | None = None
    failing: bool = False
    unknown: bool = False
    invalid: bool = False
    forgetful: bool = False
    asked: list[Any] = field(default_factory=list)

    def run(self, body: bytes, *, source: Source = SOURCE, desk: Desk = DESK) -> Shell:
        session = receive(Arrival(body, "127.0.0.1", (source,), RECEIVED), desk)
        event: Any = None
        error: Exception | None = None
        while True:
            try:
                command = session.send(event) if error is None else session.throw(error)
            except StopIteration:
                return self
            self.asked.append(command)
            event, error = None, None
            try:
                event = self._perform(command)
            except Exception as raised:
                error = raised

    def _perform(self, command: Any) -> Any:
        match command:
            case Identify():
                if self.unknown:
                    raise Unauthenticated("nobody")
                return HIS
            case Recall():
                if self.forgetful:
                    raise Unavailable("the database cannot be read")
                return self.recalled
            case Decide(request):
                return self.ruler(request)
            case Validate() if self.invalid:
                raise MessageError("the structure is not that of the standard", code=100)
            case Commit() if self.failing:
                raise Unavailable("the disk is full")
        return None

    @property
    def words(self) -> list[str]:
        return [type(command).__name__ for command in self.asked]

    @property
    def committed(self) -> list[Any]:
        return [item for command in self.asked if isinstance(command, Commit) for item in command.items]

    def of(self, kind: type) -> list[Any]:
        return [item for item in self.committed if isinstance(item, kind)]

    @property
    def answers(self) -> list[list[str]]:
        """Of each answer: MSA, and ERR without what is empty."""
        found = [command.message.decode() for command in self.asked if isinstance(command, Answer)]
        return [[part for line in text.split("\r")[1:-1] for part in line.split("|") if part] for text in found]


def requiring(*obligations: Obligation) -> Callable[[Request], Ruling]:
    return lambda request: permit(request, obligations=obligations)


def test_an_admission_is_decided_then_made_durable_then_acknowledged():
    shell = Shell().run(fixture("adt_a01"))
    assert shell.words == ["Identify", "Recall", "Decide", "Commit", "Answer"]
    assert [type(item).__name__ for item in shell.committed] == ["Keep", "Learn", "Record"]
    assert shell.committed[0] == Keep("HIS|H1", "ADT0001", "ADT^A01", fixture("adt_a01"), "applied")
    assert shell.answers == [["MSA", "AA", "ADT0001"]]


def test_the_request_is_about_the_message_and_its_subject_is_the_sender():
    shell = Shell().run(fixture("orm_o01_stat"))
    (request,) = [command.request for command in shell.asked if isinstance(command, Decide)]
    assert request == Request.build(
        HIS.subject,
        "update:order:stat",
        {"patient": {"id": "HIS|P001"}, "priority": "stat", "status": "new"},
        context={"ip": "127.0.0.1", "protocol": "hl7v2"},
    )


def test_the_trail_holds_codes_and_counts():
    (record,) = Shell().run(fixture("adt_a01")).of(Record)
    event = record.event
    assert (event.kind, event.operation, event.subject, event.outcome) == (
        EventKind.MESSAGE,
        "update:encounter:admit",
        "his",
        Outcome.SUCCESS,
    )
    assert event.patients == ("HIS|P001",)
    assert event.detail == {"event": "ADT^A01", "source": "HIS|H1", "message": event.detail["message"], "changes": 7}


def test_a_merge_is_recorded_for_all_its_names():
    (record,) = Shell().run(fixture("adt_a40")).of(Record)
    assert record.event.patients == ("HIS|P001", "HIS|P012")


def test_a_critical_result_alerts_with_codes_only():
    shell = Shell(requiring(ALERT)).run(fixture("oru_r01_critical"))
    (notify,) = shell.of(Notify)
    notification = notify.notification
    assert (notification.channel, notification.kind, notification.priority) == ("alert", "notify", "high")
    assert notification.body == {
        "kind": "alert",
        "operation": "view:result:critical",
        "patient": "HIS|P001",
        "message": "RES2001",
        "source": "HIS|H1",
        "time": "2026-11-21T12:00:00+00:00",
        "observations": [{"code": "2823-3", "system": "LN", "flag": "HH"}],
        "orders": [{"placer": "1003", "filler": "L2003", "code": "2823-3", "system": "LN", "control": "RE"}],
    }
    assert [type(item).__name__ for item in shell.committed] == ["Keep", "Record", "Notify"]


def test_a_stat_order_starts_a_workflow_with_its_numbers():
    (notify,) = Shell(requiring(START)).run(fixture("orm_o01_stat")).of(Notify)
    notification = notify.notification
    assert (notification.channel, notification.kind, notification.priority) == ("stat-imaging", "trigger", "immediate")
    assert notification.body["kind"] == "workflow"
    assert notification.body["orders"] == [{"placer": "1001", "code": "71046", "system": "99HIS", "control": "NW"}]


def test_an_obligation_of_the_row_is_carried_out_once():
    ruler = lambda request: GivenRuling(permit(request, obligations=(ALERT,)).decision, request, obligations=(ALERT,))  # noqa: E731
    assert len(Shell(ruler).run(fixture("oru_r01_critical")).of(Notify)) == 1


@pytest.mark.parametrize(
    "ruler",
    [
        deny,
        requiring(Obligation("m", "mask", {"paths": ("patient.telecom",)})),
        requiring(Obligation("x", "teleport")),
        requiring(ALERT, Obligation("other", "notify", {"channel": "alert", "priority": "low"})),
        lambda request: GivenRuling(Decision(Effect.CONDITIONAL, request.operation), request, lambda _: False),
    ],
)
def test_what_is_not_permitted_or_cannot_be_obliged_is_refused_kept_and_doubted(ruler: Callable[[Request], Ruling]):
    shell = Shell(ruler).run(fixture("adt_a03"))
    assert shell.words == ["Identify", "Recall", "Decide", "Commit", "Answer"]
    keep, learn, record = shell.committed
    assert keep.state == "refused"
    assert [(type(c), c.scopes) for c in learn.changes] == [(Doubt, ("closed visit:V1",))]
    assert (record.event.kind, record.event.outcome) == (EventKind.DECISION, Outcome.REFUSED)
    assert record.event.patients == ("HIS|P001",)
    assert shell.answers == [
        [
            "MSA",
            "AR",
            "ADT0005",
            "ERR",
            "207^Application internal error^HL70357",
            "E",
            "denied^^99SPIR",
            "refused by policy",
        ]
    ]


def test_of_several_matters_all_must_be_permitted():
    pid = "PID|1||P001^^^HIS^MR"
    text = "\r".join(
        ["MSH|^~\\&|HIS|H1|S|H|20261121||ORM^O01|7|P|2.5", pid, "ORC|NW|1", "OBR|1|1||A|R", "ORC|NW|2", "OBR|1|2||B|S"]
    )
    ruler = lambda request: deny(request) if request.operation.endswith("stat") else requiring(ALERT)(request)  # noqa: E731
    shell = Shell(ruler).run(text.encode())
    assert shell.of(Notify) == []
    assert [record.event.operation for record in shell.of(Record)] == ["update:order:routine", "update:order:stat"]
    assert shell.answers[0][1] == "AR"


def test_a_message_that_cannot_be_read_is_kept_and_answered_with_its_place():
    body = fixture("adt_a03").replace(b"PV1|", b"ZV1|")
    shell = Shell().run(body)
    assert shell.words == ["Identify", "Recall", "Commit", "Answer"]
    keep, learn, record = shell.committed
    assert keep == Keep("HIS|H1", "ADT0005", "ADT^A03", body, "unreadable")
    assert [c.scopes for c in learn.changes] == [("any visit", "closed visit:@HIS|P001")]
    assert (record.event.kind, record.event.outcome) == (EventKind.REFUSAL, Outcome.ERROR)
    assert {"why": "100", "doubts": 1}.items() <= record.event.detail.items()
    assert shell.answers[0][:5] == ["MSA", "AE", "ADT0005", "ERR", "PV1"]


def test_a_message_in_the_wrong_character_set_is_unreadable_and_still_doubted():
    shell = Shell().run(fixture("adt_a03").replace("王".encode(), b"\xff\xfe"))
    assert [c.scopes for c in shell.of(Learn)[0].changes] == [("closed visit:V1",)]
    assert shell.answers[0][:5] == ["MSA", "AE", "ADT0005", "ERR", "MSH^1^18"]


def test_a_pin_decides_over_the_header():
    body = fixture("adt_a01").replace(b"UNICODE UTF-8", b"ASCII")
    assert Shell().run(body).answers[0][1] == "AE"
    assert Shell().run(body, source=replace(SOURCE, charset="UNICODE UTF-8")).answers[0][1] == "AA"


@pytest.mark.parametrize("processing", ["T", "D", "", "P1"])
def test_what_is_not_for_production_is_refused_and_doubts_nothing(processing: str):
    shell = Shell().run(fixture("adt_a03").replace(b"|P|2.5.1", f"|{processing}|2.5.1".encode()))
    assert [type(item).__name__ for item in shell.committed] == ["Keep", "Record"]
    assert shell.answers[0][:6] == ["MSA", "AR", "ADT0005", "ERR", "MSH^1^11", "202^Unsupported processing id^HL70357"]


def test_another_version_and_a_missing_control_id_are_refused():
    assert Shell().run(fixture("adt_a01").replace(b"|2.5.1|", b"|3|")).answers[0][5][:3] == "203"
    assert Shell().run(fixture("adt_a01").replace(b"|ADT0001|", b"||")).answers[0][:4] == [
        "MSA",
        "AR",
        "ERR",
        "MSH^1^10",
    ]


def test_a_sender_that_is_no_source_of_the_connection_is_refused_and_doubts_nothing():
    for shell in (
        Shell().run(fixture("adt_a03"), source=replace(SOURCE, facility="H2")),
        Shell(unknown=True).run(fixture("adt_a03")),
    ):
        assert [type(item).__name__ for item in shell.committed] == ["Keep", "Record"]
        assert shell.of(Record)[0].event.subject == "unknown"
        assert shell.answers[0][:5] == ["MSA", "AR", "ADT0005", "ERR", "MSH^1^3"]


def test_bytes_that_are_no_message_are_kept_and_answered():
    shell = Shell().run(b"GET / HTTP/1.1\r\n\r\n")
    assert shell.words == ["Commit", "Answer"]
    assert shell.committed[0] == Keep("unknown", "", "unknown", b"GET / HTTP/1.1\r\n\r\n", "unreadable")
    assert shell.answers == [
        [
            "MSA",
            "AE",
            "ERR",
            "100^Segment sequence error^HL70357",
            "E",
            "header^^99SPIR",
            "the message does not begin with a usable MSH",
        ]
    ]


def test_the_same_message_again_is_acknowledged_again_and_changes_nothing():
    first, again = Shell().run(fixture("adt_a01")), Shell(recalled=Recalled(True)).run(fixture("adt_a01"))
    assert [type(item).__name__ for item in again.committed] == ["Record"]
    assert again.asked[-1] == first.asked[-1]


def test_a_refused_message_is_decided_anew_when_it_comes_again():
    shell = Shell(recalled=Recalled(True, "AR")).run(fixture("adt_a01"))
    assert shell.answers[0][1] == "AA"


def test_other_bytes_under_a_known_id_are_another_message_with_a_warning():
    shell = Shell(recalled=Recalled(False)).run(fixture("adt_a01"))
    assert shell.answers[0][1] == "AA"
    assert shell.of(Record)[0].event.detail["warnings"] == ["control-id-used-before"]


def test_what_cannot_be_stored_is_not_acknowledged():
    for body in (fixture("adt_a01"), fixture("adt_a03").replace(b"PV1|", b"ZV1|"), b"garbage"):
        answer = Shell(failing=True).run(body).answers[0]
        assert "AR" in answer
        assert "unavailable^^99SPIR" in answer


def test_what_cannot_be_compared_with_earlier_messages_is_not_applied():
    shell = Shell(forgetful=True).run(fixture("adt_a01"))
    assert shell.words == ["Identify", "Recall", "Answer"]
    assert shell.answers[0][1] == "AR"


def test_the_enhanced_mode_answers_after_the_commit():
    shell = Shell().run(fixture("adt_a01_enhanced"))
    assert shell.words[-3:] == ["Commit", "Answer", "Answer"]
    assert [answer[1] for answer in shell.answers] == ["CA", "AA"]
    assert [a[1] for a in Shell(deny).run(fixture("adt_a01_enhanced")).answers] == ["CR"]


def test_an_acknowledgement_is_recorded_and_not_answered():
    body = b"MSH|^~\\&|HIS|H1|SPIR|H1|20261121||ACK^A01|9|P|2.5.1\rMSA|AA|7\r"
    shell = Shell().run(body)
    assert shell.words == ["Identify", "Commit"]
    assert [type(item).__name__ for item in shell.committed] == ["Record"]


def test_validation_is_asked_for_where_the_source_wants_it():
    strict = replace(SOURCE, validate=True)
    assert "Validate" in Shell().run(fixture("adt_a01"), source=strict).words
    shell = Shell(invalid=True).run(fixture("adt_a03"), source=strict)
    assert shell.answers[0][1] == "AE"
    assert [c.scopes for c in shell.of(Learn)[0].changes] == [("closed visit:V1",)]


def test_an_event_that_teaches_nothing_is_still_decided():
    assert Shell().run(adt("A05").encode()).answers[0][1] == "AA"
    assert Shell(deny).run(adt("A05").encode()).answers[0][1] == "AR"


def test_no_patient_stands_in_detail_or_answer():
    secrets = ("P001", "P012", "王", "小明", "13800000001", "310000")
    for name in ("adt_a01", "adt_a03", "adt_a40", "orm_o01_stat", "oru_r01_critical"):
        for ruler in (permit, deny):
            shell = Shell(ruler).run(fixture(name))
            told = repr([record.event.detail for record in shell.of(Record)]) + repr(shell.answers)
            assert not [secret for secret in secrets if secret in told]


def test_facts_and_merges_go_into_the_same_commit():
    (learn,) = Shell().run(fixture("adt_a40")).of(Learn)
    assert any(isinstance(change, Merge) for change in learn.changes)
    (learn,) = Shell().run(fixture("adt_a01")).of(Learn)
    assert any(isinstance(change, Assert) for change in learn.changes)


# -- anything at all -------------------------------------------------------------------------

BODIES = [
    fixture(name) for name in ("adt_a01", "adt_a01_gb18030", "adt_a40", "adt_a54", "orm_o01_stat", "oru_r01_critical")
]
NOISE = [b"|", b"^", b"~", b"\\", b"\r", b"\n", b'""', b"\xd3|", b"MSH|", b"&"]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(st.sampled_from(BODIES)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(body)))
        match draw(st.integers(0, 3)):
            case 0:
                body[at:at] = draw(st.sampled_from(NOISE))
            case 1:
                del body[at : at + draw(st.integers(1, 40))]
            case 2:
                body[at:at] = draw(st.binary(max_size=6))
            case 3:
                body[at : at + 1] = bytes([draw(st.integers(0, 255))])
    return bytes(body)


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_every_message_is_answered_exactly_as_its_header_asks(body: bytes):
    for ruler in (permit, deny):
        shell = Shell(ruler).run(body, source=replace(SOURCE, numbered=False))
        head = header.read(body, TABLES.charsets)
        if head.answers:
            continue
        mark = head.delimiters.field.encode()
        found = [command.message for command in shell.asked if isinstance(command, Answer)]
        codes = [answer.split(b"\r")[1].split(mark)[1][:1].decode() for answer in found]
        assert codes in (["A"], ["C"], ["C", "A"], []) if head.enhanced else codes == ["A"]
        assert shell.words.count("Commit") == 1
