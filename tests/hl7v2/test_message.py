"""Messages are read where the sender put things, in the sender's own delimiters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.delimiters import Delimiters
from adapters.hl7v2.error import MessageError
from adapters.hl7v2.escape import escape, unescape
from adapters.hl7v2.message import NULL, Message, Path, parse

HEAD = "MSH|^~\\&|HIS|H1|SPIR|H1|20261121083000||ADT^A01|1|P|2.5.1"


def message(*segments: str, head: str = HEAD) -> Message:
    return parse("\r".join([head, *segments]) + "\r")


def test_msh_1_is_the_separator_and_msh_2_the_encoding_characters():
    read = message()
    assert [read.raw(Path.of(f"MSH-{n}")) for n in (1, 2, 3, 9, 10)] == ["|", "^~\\&", "HIS", "ADT^A01", "1"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("PV1-7", "1^A&B~2^C"),
        ("PV1-7[1]", "1^A&B"),
        ("PV1-7[2]", "2^C"),
        ("PV1-7[2].1", "2"),
        ("PV1-7.1", "1"),
        ("PV1-7.2.2", "B"),
        ("PV1-7[3].1", None),
        ("PV1-7.9", None),
        ("PV1-8", ""),
        ("PV1-9", NULL),
        ("PV1-9.3", NULL),
        ("PV1-10", None),
        ("ZZZ-1", None),
    ],
)
def test_absent_empty_and_deleted_are_three_things(path: str, value: str | None):
    assert message('PV1|1|I|||||1^A&B~2^C||""').raw(Path.of(path)) == value


def test_other_delimiters_are_those_of_the_sender():
    read = message("PID*1**P1:::HIS;P2", head="MSH*:;!%*HIS*H1")
    assert read.text(Path.of("PID-3[1].4")) == "HIS"
    assert read.text(Path.of("PID-3[2].1")) == "P2"
    assert read.delimiters == Delimiters("*", ":", ";", "!", "%")


def test_a_fifth_encoding_character_is_the_truncation_character():
    assert message(head="MSH|^~\\&#|HIS").delimiters.truncation == "#"


def test_encoding_characters_may_end_early_and_msh_3_may_be_empty():
    assert message(head="MSH|^~||H1").delimiters == Delimiters("|", "^", "~", "", "")


@pytest.mark.parametrize(
    "text",
    ["", "MSH", "MSH|", "MSH|^|", "MSH|^^\\&|", "MSH|^~\\&X|A", "PID|1", "BHS|^~\\&|", "MSHA^~\\&A", "MSH|^~\\&#+|A"],
)
def test_a_header_without_usable_delimiters_is_refused(text: str):
    with pytest.raises(MessageError):
        parse(text)


@pytest.mark.parametrize(
    ("end", "data"), [("\r", "a\nb"), ("\r\n", "a\nb"), ("\n", "ab"), ("\r", "a b"), ("\r\n", "a b")]
)
def test_segments_end_with_cr_crlf_or_lf_and_a_bare_lf_among_cr_is_data(end: str, data: str):
    read = parse(end.join([HEAD, f"ZZ1|{data}", "", "ZZ2|x"]) + end)
    assert [read.name(n) for n in range(len(read.segments))] == ["MSH", "ZZ1", "ZZ2"]
    assert read.text(Path.of("ZZ1-1")) == data


def test_a_second_header_in_one_message_is_refused():
    with pytest.raises(MessageError, match="second MSH"):
        message("PID|1", HEAD)


def test_limits_are_errors_and_not_memory():
    with pytest.raises(MessageError, match="too many segments"):
        parse(HEAD + "\r" * 100_001)
    with pytest.raises(MessageError, match="too many fields"):
        message("ZZ1" + "|" * 10_001).fields(1)
    with pytest.raises(MessageError, match="repeats too often"):
        message("ZZ1|" + "~" * 10_001).repetitions(Path.of("ZZ1-1"))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("a\\F\\b\\S\\c\\R\\d\\T\\e\\E\\f", "a|b^c~d&e\\f"),
        ("one\\.br\\two\\.sp2\\three\\.sk3\\four", "one\ntwo\n\nthree   four"),
        ("\\H\\loud\\N\\ \\Zlocal\\end", "loud end"),
        ("\\X4142\\", "AB"),
        ("\\XD5C5\\", "张"),
        ("\\XFF\\", "\\XFF\\"),
        ("\\C2842\\x\\M2442\\", "x"),
        ("C:\\temp\\F\\x", "C:\\temp|x"),
        ("lone\\", "lone\\"),
        ("\\\\F\\", "\\|"),
        ("\\.fi\\\\.in+4\\x", "x"),
    ],
)
def test_escapes_are_undone_and_what_is_none_stays(raw: str, value: str):
    assert unescape(raw, Delimiters(), "gb18030") == value


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_what_was_escaped_reads_back(text: str):
    assert unescape(escape(text, Delimiters(truncation="#")), Delimiters(truncation="#")) == text


@pytest.mark.parametrize("text", ["PV1", "PV1-0", "PV1-7[0]", "pv1-7", "PV1-7.", "PV1-7.1.1.1", "PV1-100"])
def test_what_is_no_path_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a path"):
        Path.of(text)


def test_a_place_is_written_as_err_2_wants_it():
    assert [Path.of(p).where() for p in ("PV1-19", "PID-3[2].4.1", "OBR-27.6")] == [
        "PV1^1^19",
        "PID^1^3^2^4^1",
        "OBR^1^27^1^6",
    ]


@given(st.text(alphabet='MSHPIDV1|^~\\&\r\n"#A', max_size=80), st.booleans())
def test_any_text_is_read_or_refused_with_our_error(text: str, headed: bool):
    try:
        read = parse(HEAD + "\r" + text if headed else text)
        for at in range(len(read.segments)):
            read.fields(at)
        for path in ("PID-3", "PID-3[1].4.2", "PV1-7[2].1"):
            read.text(Path.of(path))
            read.repetitions(Path.of(path.partition("[")[0]))
    except MessageError:
        return
