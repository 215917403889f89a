"""Text is decoded strictly, before it is split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2 import header
from adapters.hl7v2.charset import codec_of, declared, decode, pinned, salvage
from adapters.hl7v2.error import MessageError
from adapters.hl7v2.message import Path, parse
from adapters.hl7v2.tables import load

CHARSETS = load().charsets
URO = [chr(code) for code in range(0x4E00, 0x9FA6)]


def head(charset: str, facility: str = "H1") -> str:
    return f"MSH|^~\\&|HIS|{facility}|SPIR|H1|20261121||ADT^A01|1|P|2.5.1||||||{charset}"


@pytest.mark.parametrize("name", ["GB 18030-2000", "UNICODE UTF-8", "BIG-5"])
def test_no_ideograph_shifts_a_field(name: str):
    codec = CHARSETS[name]
    known = [c for c in URO if c.encode(codec, "ignore")]
    assert len(known) > 13_000
    for at in range(0, len(known), 500):
        names = "".join(known[at : at + 500])
        body = f"{head(name)}\rPID|1||P1||{names}^{names}||19700101|F\r".encode(codec)
        text, used = decode(body, CHARSETS)
        read = parse(text, used)
        assert read.text(Path.of("PID-5.2")) == names
        assert read.text(Path.of("PID-8")) == "F"


@pytest.mark.parametrize("facility", ["東區", "璡", "紐東璡", "H1"])
def test_a_name_in_the_header_does_not_hide_the_character_set(facility: str):
    body = head("GB 18030-2000", facility).encode("gb18030")
    assert declared(body, CHARSETS) == "gb18030"
    assert header.read(body, CHARSETS).facility == facility


def test_a_pin_wins_over_the_header_and_the_header_over_the_default():
    body = head("8859/1").encode() + "\rZZ1|é".encode("latin-1")
    assert decode(body, CHARSETS)[1] == "iso8859-1"
    assert decode(body, CHARSETS, pin="cp1252")[1] == "cp1252"
    assert decode(head("").encode(), CHARSETS, default="gb18030")[1] == "gb18030"


def test_bytes_that_are_not_what_the_header_says_are_refused():
    with pytest.raises(MessageError) as caught:
        decode(head("UNICODE UTF-8").encode() + b"\rPID|\xd3|", CHARSETS)
    assert (caught.value.code, caught.value.where) == (102, "MSH^1^18")


@pytest.mark.parametrize("name", ["CNS 11643-1992", "UNICODE UTF-16", "UNICODE", "latin1", "GB 18030-2000~8859/1"])
def test_a_character_set_we_do_not_know_is_refused_by_code_103(name: str):
    with pytest.raises(MessageError) as caught:
        decode(head(name).encode(), CHARSETS)
    assert caught.value.code == 103


def test_repetitions_that_one_codec_covers_are_accepted():
    assert codec_of("~ISO IR87", CHARSETS) == codec_of("ISO IR14~ISO IR87~ISO IR159", CHARSETS) == "iso2022_jp_ext"
    body = (head("~ISO IR87") + "\rPID|1||P1||山田^太郎||1970").encode("iso2022_jp")
    assert parse(decode(body, CHARSETS)[0]).text(Path.of("PID-5.2")) == "太郎"


def test_every_table_row_decodes_ascii():
    for name in CHARSETS:
        assert decode(head(name).encode(), CHARSETS)[0] == head(name)


def test_a_pin_is_a_name_of_the_table_or_a_known_codec():
    pins = load().pins
    assert [pinned(n, CHARSETS, pins) for n in ("GB 18030-2000", "GBK", "utf8")] == ["gb18030", "gbk", "utf-8"]
    for name in ("utf-16", "rot13", "nonsense", ""):
        with pytest.raises(MessageError):
            pinned(name, CHARSETS, pins)


def test_a_byte_order_mark_is_no_part_of_the_message():
    assert decode(b"\xef\xbb\xbf" + head("").encode(), CHARSETS)[0] == head("")
    assert header.read(b"\xef\xbb\xbf" + head("").encode(), CHARSETS).control_id == "1"


@given(st.binary(max_size=60), st.sampled_from(["", "GB 18030-2000", "X", "~", "BIG-5~ASCII", "UNICODE UTF-8"]))
def test_any_bytes_are_decoded_or_refused_and_the_header_is_always_read(noise: bytes, name: str):
    for body in (noise, head(name).encode() + noise, head(name)[:20].encode() + noise + head(name)[20:].encode()):
        header.read(body, CHARSETS)
        salvage(body, CHARSETS)
        try:
            decode(body, CHARSETS)
        except MessageError:
            continue
