"""Data sets as bytes: the same as pydicom reads and writes, and nothing but our own errors for bad ones."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from adapters.dicom.dataset import DataSet, DatasetError, HeadReader, encode
from adapters.dicom.elements import vr_of

PATIENT_ID, PATIENT_NAME, STUDY_UID, MODALITIES = 0x00100020, 0x00100010, 0x0020000D, 0x00080061
CHARACTER_SET, PROCEDURE_CODES, PIXEL_DATA = 0x00080005, 0x00081032, 0x7FE00010

TEXT = st.text("ABC0123456789_", min_size=1, max_size=15)
ELEMENTS = st.dictionaries(
    st.sampled_from([0x00080050, MODALITIES, 0x00080090, 0x00081030, PATIENT_NAME, PATIENT_ID, 0x00200010]),
    TEXT,
    max_size=8,
)
EXPLICIT = pytest.mark.parametrize("explicit", [True, False], ids=["explicit", "implicit"])


def written(dataset: Dataset, explicit: bool) -> bytes:
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, not explicit
    write_dataset(out, dataset)
    return out.getvalue()


def pydicom_reads(data: bytes, explicit: bool) -> Dataset:
    return read_dataset(BytesIO(data), is_implicit_VR=not explicit, is_little_endian=True)


def nested(depth: int, undefined: bool) -> Dataset:
    inner = Dataset()
    inner.PatientID = "INSIDE"
    for _ in range(depth):
        outer = Dataset()
        outer.ProcedureCodeSequence = Sequence([inner, Dataset()])
        outer["ProcedureCodeSequence"].is_undefined_length = undefined
        for item in outer.ProcedureCodeSequence:
            item.is_undefined_length_sequence_item = undefined
        inner = outer
    inner.PatientID = "P001"
    return inner


@EXPLICIT
@given(elements=ELEMENTS)
def test_what_we_encode_pydicom_reads(explicit: bool, elements: dict[int, str]) -> None:
    read = pydicom_reads(encode({tag: text.encode() for tag, text in elements.items()}, explicit), explicit)
    assert {int(element.tag): str(element.value) for element in read} == elements


@EXPLICIT
@given(elements=ELEMENTS)
def test_what_pydicom_writes_we_read(explicit: bool, elements: dict[int, str]) -> None:
    dataset = Dataset()
    for tag, text in elements.items():
        dataset.add_new(tag, vr_of(tag).decode(), text)
    parsed = DataSet.parse(written(dataset, explicit), explicit)
    assert {tag: parsed.text(tag) for tag in parsed.index} == elements


@EXPLICIT
@given(before=ELEMENTS, changes=st.dictionaries(st.sampled_from([PATIENT_ID, STUDY_UID, MODALITIES]), TEXT | st.none()))
def test_editing_replaces_inserts_and_removes_in_order(
    explicit: bool, before: dict[int, str], changes: dict[int, str | None]
) -> None:
    data = encode({tag: text.encode() for tag, text in before.items()}, explicit)
    edited = DataSet.parse(data, explicit).edited({t: None if v is None else v.encode() for t, v in changes.items()})
    expected = {tag: text for tag, text in {**before, **changes}.items() if text is not None}
    assert edited == encode({tag: text.encode() for tag, text in expected.items()}, explicit)


@EXPLICIT
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_nested_sequences_are_skipped_whole(explicit: bool, undefined: bool, depth: int) -> None:
    parsed = DataSet.parse(written(nested(depth, undefined), explicit), explicit)
    assert (list(parsed.index), parsed.text(PATIENT_ID)) == ([PROCEDURE_CODES, PATIENT_ID], "P001")
    assert parsed.is_sequence(PROCEDURE_CODES)
    assert not parsed.is_sequence(PATIENT_ID)


@EXPLICIT
def test_a_sequence_nested_too_deeply_is_refused(explicit: bool) -> None:
    with pytest.raises(DatasetError, match="too deeply"):
        DataSet.parse(written(nested(40, undefined=True), explicit), explicit)


def test_an_unknown_value_of_undefined_length_holds_implicit_elements() -> None:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + encode({PATIENT_ID: b"X1"}, explicit=False)
    ends = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    unknown = struct.pack("<HH2sHI", 0x0009, 0x1001, b"UN", 0, 0xFFFFFFFF) + item + ends
    parsed = DataSet.parse(unknown + encode({PATIENT_ID: b"P001"}, explicit=True), explicit=True)
    assert list(parsed.index) == [0x00091001, PATIENT_ID]


def test_encapsulated_pixels_are_skipped_by_their_fragments() -> None:
    fragments = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, 4) + b"\xff\xd8\xff\xd9"
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + fragments
    parsed = DataSet.parse(pixels + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), explicit=True)
    assert list(parsed.index) == [PIXEL_DATA]


@EXPLICIT
def test_a_tag_given_twice_is_refused(explicit: bool) -> None:
    once = encode({PATIENT_ID: b"P001"}, explicit)
    with pytest.raises(DatasetError, match="repeated"):
        DataSet.parse(once + once, explicit)


@EXPLICIT
def test_tags_out_of_order_are_refused(explicit: bool) -> None:
    with pytest.raises(DatasetError, match="out of order"):
        DataSet.parse(encode({PATIENT_ID: b"P001"}, explicit) + encode({PATIENT_NAME: b"A"}, explicit), explicit)


@EXPLICIT
def test_the_command_group_is_refused_in_a_data_set(explicit: bool) -> None:
    with pytest.raises(DatasetError, match="command group"):
        DataSet.parse(encode({0x00000002: b"1.2"}, explicit), explicit)


def test_the_length_of_a_changed_group_is_dropped() -> None:
    data = encode({0x00080000: struct.pack("<I", 12), 0x00080050: b"A1"}, explicit=False)
    assert DataSet.parse(data, False).edited({0x00080050: b"A123"}) == encode({0x00080050: b"A123"}, explicit=False)


@EXPLICIT
@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("ISO_IR 192", "utf-8", "王^小东"),
        ("GB18030", "gb18030", "乗^倊\u3400"),
        ("GBK", "gbk", "王^乗"),
        ("ISO_IR 100", "latin-1", "Müller^Jörg"),
        ("ISO_IR 144", "iso8859_5", "Люкceмбypг"),
    ],
)
def test_text_is_read_in_its_character_set(explicit: bool, charset: str, codec: str, name: str) -> None:
    data = encode({CHARACTER_SET: charset.encode(), PATIENT_NAME: name.encode(codec)}, explicit)
    assert DataSet.parse(data, explicit).text(PATIENT_NAME) == name


def test_a_second_byte_that_looks_like_a_backslash_does_not_split_a_value() -> None:
    name = "乗"
    assert name.encode("gb18030")[1:] == b"\\"
    data = encode({CHARACTER_SET: b"GB18030", PATIENT_ID: name.encode("gb18030") + b"\\B"}, explicit=True)
    assert DataSet.parse(data, True).values(PATIENT_ID) == (name, "B")


def test_code_extensions_are_read() -> None:
    charset = b"\\ISO 2022 IR 87"
    name = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"
    parsed = DataSet.parse(encode({CHARACTER_SET: charset, PATIENT_NAME: name}, True), True)
    assert parsed.text(PATIENT_NAME) == "Yamada^Tarou=山田^太郎"


@pytest.mark.parametrize(
    ("charset", "value"),
    [
        (b"", "Müller".encode("latin-1")),  # not in the default repertoire
        (b"ISO_IR 999", b"M\xfcller"),
        (b"ISO_IR 192", b"M\xfcller"),
        (b"ISO 2022 IR 6\\ISO 2022 IR 87", b"\x1b$Zabc"),
        (b"ISO_IR 1\xff0", b"M\xfcller"),
    ],
)
def test_text_in_no_character_set_is_refused_not_replaced(charset: bytes, value: bytes) -> None:
    parsed = DataSet.parse(encode({CHARACTER_SET: charset, PATIENT_ID: value}, True), True)
    with pytest.raises(DatasetError):
        parsed.text(PATIENT_ID)


def test_absent_empty_and_padded_values() -> None:
    parsed = DataSet.parse(encode({PATIENT_ID: b"  ", STUDY_UID: b"1.2.3", MODALITIES: b"CR \\ DX"}, True), True)
    assert (parsed.text(PATIENT_ID), parsed.has_value(PATIENT_ID), parsed.text(PATIENT_NAME)) == ("", False, None)
    assert (parsed.raw(STUDY_UID), parsed.text(STUDY_UID)) == (b"1.2.3\0", "1.2.3")
    assert (parsed.values(MODALITIES), parsed.values(PATIENT_NAME)) == (("CR", "DX"), ())


def test_a_value_too_long_for_a_short_representation_is_refused() -> None:
    with pytest.raises(DatasetError, match="too long"):
        encode({PATIENT_ID: b"A" * 70000}, explicit=True)


# -- heads ------------------------------------------------------------------------------------


def head_of(data: bytes, explicit: bool, size: int) -> tuple[DataSet, int]:
    reader, used = HeadReader(explicit, 0x0020000E), 0
    while not reader.complete:
        fragment, used = data[used : used + size], used + size
        reader.feed(fragment, final=used >= len(data))
    return reader.head, used


@EXPLICIT
@given(elements=ELEMENTS, size=st.integers(1, 200))
def test_a_head_is_the_same_however_it_is_cut(explicit: bool, elements: dict[int, str], size: int) -> None:
    dataset = nested(2, undefined=True)
    for tag, text in elements.items():
        dataset.add_new(tag, vr_of(tag).decode(), text)
    dataset.StudyInstanceUID = "1.2.3"
    dataset.PixelData = bytes(5000)
    dataset["PixelData"].VR = "OW"
    data = written(dataset, explicit)
    head, _ = head_of(data, explicit, size)
    whole = DataSet.parse(data, explicit)
    wanted = [tag for tag in whole.index if tag <= 0x0020000E]
    assert {tag: head.raw(tag) for tag in head.index} == {tag: whole.raw(tag) for tag in wanted}


def test_pixels_are_not_waited_for() -> None:
    data = encode({PATIENT_ID: b"P001", PIXEL_DATA: bytes(100_000)}, explicit=True)
    head, used = head_of(data, True, 1000)
    assert (list(head.index), used) == ([PATIENT_ID], 1000)


def test_an_endless_head_is_refused() -> None:
    reader = HeadReader(True, 0x0020000E, cap=10_000)
    reader.feed(struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 1 << 30))
    with pytest.raises(DatasetError, match="too long"):
        for _ in range(20):
            reader.feed(bytes(1000))


def test_a_head_that_ends_in_an_element_is_refused() -> None:
    reader = HeadReader(True, 0x0020000E)
    with pytest.raises(DatasetError, match="middle"):
        reader.feed(encode({PATIENT_ID: b"P001"}, True)[:-2], final=True)


def test_an_empty_data_set_has_an_empty_head() -> None:
    reader = HeadReader(True, 0x0020000E)
    with pytest.raises(DatasetError, match="not been read"):
        _ = reader.head
    assert reader.feed(b"", final=True)
    assert list(reader.head.index) == []


# -- hostile bytes ------------------------------------------------------------------------------


def try_everything(data: bytes, explicit: bool) -> None:
    try:
        parsed = DataSet.parse(data, explicit)
        for tag in parsed.index:
            parsed.values(tag)
            parsed.is_sequence(tag)
        parsed.edited({PATIENT_ID: b"X"})
    except DatasetError:
        return


@EXPLICIT
@settings(max_examples=300)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(explicit: bool, data: bytes) -> None:
    try_everything(data, explicit)


@EXPLICIT
@settings(max_examples=300)
@given(
    st.data(),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), min_size=1, max_size=8),
    st.booleans(),
)
def test_mutated_data_sets_are_read_or_refused(
    explicit: bool, data: st.DataObject, changes: list[tuple[int, int]], undefined: bool
) -> None:
    mutated = bytearray(written(nested(data.draw(st.integers(0, 4)), undefined), explicit))
    for place, value in changes:
        mutated[place % len(mutated)] = value
    try_everything(bytes(mutated[: data.draw(st.integers(0, len(mutated)))]), explicit)
