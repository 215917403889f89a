"""Every message gets the answer it asked for, and none that it did not."""

from datetime import UTC, datetime

import hl7
import pytest
from hl7apy.parser import parse_message
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2 import header
from adapters.hl7v2.acknowledge import Problem, Verdict, answers, codes, problem
from adapters.hl7v2.error import MessageError
from tests.hl7v2.given_messages import TABLES, fixture

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def head(body: bytes) -> header.Header:
    return header.read(body, TABLES.charsets)


def message(accept: str = "", application: str = "", kind: str = "ADT^A01") -> header.Header:
    return head(f"MSH|^~\\&|HIS|H1|SPIR|H2|20261121||{kind}|MSG1|P|2.5.1|||{accept}|{application}".encode())


def lines(body: bytes, verdict: Verdict, *problems: Problem) -> list[list[str]]:
    found = answers(head(body), verdict, serial="S1", now=NOW, problems=problems)
    return [answer.decode().split("\r") for answer in found]


def test_the_original_mode_answers_once_and_swaps_the_parties():
    assert lines(fixture("adt_a01"), Verdict.ACCEPTED) == [
        [
            "MSH|^~\\&|SPIR|H1|HIS|H1|20261121120000+0000||ACK^A01^ACK|S1|P|2.5.1||||||UNICODE UTF-8",
            "MSA|AA|ADT0001",
            "",
        ]
    ]


def test_the_enhanced_mode_answers_twice_each_with_its_own_id():
    assert lines(fixture("adt_a01_enhanced"), Verdict.ACCEPTED) == [
        [
            "MSH|^~\\&|SPIR|H1|HIS|H1|20261121120000+0000||ACK^A01^ACK|S1|P|2.5.1|||NE|NE||UNICODE UTF-8",
            "MSA|CA|ADT0010",
            "",
        ],
        [
            "MSH|^~\\&|SPIR|H1|HIS|H1|20261121120000+0000||ACK^A01^ACK|S1A|P|2.5.1|||NE|NE||UNICODE UTF-8",
            "MSA|AA|ADT0010",
            "",
        ],
    ]


def test_an_error_says_where_and_what_in_a_segment_of_its_own():
    error = MessageError("nothing says which visit this is", code=101, where="PV1^1^19", hint="send PV1-19")
    ((_, msa, err, _),) = lines(fixture("adt_a03"), Verdict.ERROR, problem(error))
    assert msa == "MSA|AE|ADT0005"
    expected = "ERR||PV1^1^19|101^Required field missing^HL70357|E||||nothing says which visit this is; send PV1-19"
    assert err == expected


def test_our_own_codes_stand_beside_those_of_the_standard():
    ((_, _, err, _),) = lines(fixture("adt_a03"), Verdict.REJECTED, Problem(207, "refused by policy", own="denied"))
    assert err == "ERR|||207^Application internal error^HL70357|E|denied^^99SPIR|||refused by policy"


@pytest.mark.parametrize(
    ("accept", "application", "verdict", "expected"),
    [
        ("", "", "A", ("AA",)),
        ("", "", "E", ("AE",)),
        ("", "", "R", ("AR",)),
        ("AL", "AL", "A", ("CA", "AA")),
        ("AL", "AL", "R", ("CR",)),
        ("AL", "NE", "A", ("CA",)),
        ("AL", "", "E", ("CE",)),
        ("NE", "AL", "E", ("AE",)),
        ("NE", "NE", "E", ()),
        ("NE", "", "A", ()),
        ("ER", "ER", "A", ()),
        ("ER", "AL", "A", ("AA",)),
        ("ER", "ER", "R", ("CR",)),
        ("SU", "ER", "R", ("AR",)),
        ("SU", "SU", "A", ("CA", "AA")),
        ("SU", "SU", "E", ()),
        ("", "AL", "A", ("AA",)),
        ("al", "XX", "A", ("CA",)),
    ],
)
def test_msh_15_and_msh_16_say_what_is_wanted(accept: str, application: str, verdict: str, expected: tuple[str, ...]):
    assert codes(message(accept, application), Verdict(verdict)) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"MSH|^~\\&|A|B|C|D|20261121||ACK^A01|1|P|2.5.1\rMSA|AA|7\r",
        b"MSH|^~\\&|A|B|C|D|20261121||ACK|1|P|2.5.1\r",
        b"MSH|^~\\&|A|B|C|D|20261121||ORR^O02|1|P|2.5.1|||AL|AL\rMSA|AA|7\r",
        b"MSH|^~\\&|A|B|C|D|20261121||RSP^K11|1|P|2.5.1\r\nSFT|x\r\nMSA|AA|7\r\n",
    ],
)
def test_an_answer_is_never_answered(body: bytes):
    assert answers(head(body), Verdict.ERROR, serial="S", now=NOW) == ()


def test_text_that_only_looks_like_an_answer_is_answered():
    body = b"MSH|^~\\&|A|B|C|D|20261121||ORU^R01|1|P|2.5.1\rOBX|1|TX|A||text\nMSA|AA|7\r"
    assert codes(head(body), Verdict.ACCEPTED) == ("AA",)


def test_the_answer_is_in_the_character_set_of_the_message():
    body = "MSH|^~\\&|HIS|東區|SPIR||20261121||ADT^A01|1|P|2.5.1||||||GB 18030-2000".encode("gb18030")
    (answer,) = answers(head(body), Verdict.ACCEPTED, serial="S", now=NOW)
    assert answer.decode("gb18030").split("|")[5] == "東區"
    assert answer.decode("gb18030").split("\r")[0].endswith("|GB 18030-2000")


def test_a_message_without_a_header_still_gets_an_error():
    assert lines(b"garbage", Verdict.ERROR, Problem(100, "no MSH")) == [
        [
            "MSH|^~\\&|||||20261121120000+0000||ACK|S1|P|2.5.1",
            "MSA|AE|",
            "ERR|||100^Segment sequence error^HL70357|E||||no MSH",
            "",
        ]
    ]


def test_the_senders_delimiters_are_kept():
    body = b"MSH*:;!%*HIS*H1*SPIR*H2*20261121**ADT:A01*7*P*2.5.1"
    ((top, msa, err, _),) = lines(body, Verdict.ERROR, Problem(102, "bad * value", "PID^1^3"))
    assert (top[:13], msa) == ("MSH*:;!%*SPIR", "MSA*AE*7")
    assert err == "ERR**PID:1:3*102:Data type error:HL70357*E****bad !F! value"


@pytest.mark.parametrize("name", ["adt_a01", "adt_a40", "orm_o01_stat", "oml_o21", "oru_r01_critical"])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_other_peoples_parsers_accept_our_answers(name: str, verdict: Verdict):
    found = () if verdict is Verdict.ACCEPTED else (Problem(101, "missing", "PID^1^3"),)
    (answer,) = answers(head(fixture(name)), verdict, serial="S1", now=NOW, problems=found)
    parsed = parse_message(answer.decode())
    parsed.validate()
    assert parsed.msa.msa_1.value == f"A{verdict.value}"
    assert str(hl7.parse(answer.decode()).segment("MSA")[2]) == head(fixture(name)).control_id


@given(st.binary(max_size=120), st.sampled_from(list(Verdict)))
def test_whatever_came_in_one_well_formed_line_goes_out_for_each_segment(noise: bytes, verdict: Verdict):
    for body in (noise, b"MSH|^~\\&|" + noise, b"MSH|^~\\&|A|B|C|D|T||ADT^A01|" + noise + b"|P|2.5|||AL|AL"):
        for answer in answers(head(body), verdict, serial="S", now=NOW, problems=(Problem(102, "x"),)):
            assert b"\x0b" not in answer
            assert b"\x1c" not in answer
            segments = answer.split(b"\r")
            assert [segment[:3] for segment in segments] == [b"MSH", b"MSA", b"ERR", b""]
