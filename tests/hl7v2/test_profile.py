"""The structure of a message against the standard's tables."""

import pytest

from adapters.hl7v2 import profile
from adapters.hl7v2.error import MessageError
from tests.hl7v2.given_messages import FOLDER, fixture

ORDER = fixture("orm_o01_stat").decode()


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.hl7")))
def test_every_fixture_is_as_the_standard_has_it(name: str):
    profile.check(fixture(name).decode("gb18030" if "gb18030" in name else "utf-8"))


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5", "2.6"])
def test_one_of_several_alternatives_is_enough(version: str):
    profile.check(ORDER.replace("|2.5.1|", f"|{version}|"))


def test_segments_of_our_own_may_stand_anywhere():
    profile.check(ORDER.replace("PV1|", "ZPI|1\rPV1|") + "ZZZ|1\r")


@pytest.mark.parametrize(
    ("text", "code", "where", "message"),
    [
        (ORDER.replace("71046^XR chest 2 views^99HIS", ""), 101, "OBR^1^4", "OBR-4 is missing"),
        (ORDER.replace("P001^^^HIS^MR", ""), 101, "PID^1^3", "PID-3 is missing"),
        (ORDER.replace("ORC|", "ZRC|"), 100, "ORC", "is missing in ORM_O01"),
        (ORDER + "EVN|A01\r", 100, "EVN", "EVN does not belong where it stands"),
        (ORDER.replace("OBR|", "RXX|"), 100, "RXX", "RXX does not belong where it stands"),
        (ORDER + "some text\r", 100, "", "there is a segment without a name"),
        (ORDER + "RXO|a|b|c|d\r", 100, "", "one of OBR, RQD, RQ1, RXO, ODS, ODT must be there"),
        (ORDER.replace("|2.5.1|", "|9.9|"), 100, "", "the structure cannot be read (UnsupportedVersion)"),
        ("MSH|", 100, "MSH^1", "the message does not begin with a usable MSH"),
        (ORDER + "ZZZ|" + "x" * 300_000, 102, "", "the message is too long to be checked"),
    ],
)
def test_a_fault_is_named_by_its_element_and_never_by_its_content(text: str, code: int, where: str, message: str):
    with pytest.raises(MessageError) as caught:
        profile.check(text)
    assert (caught.value.code, caught.value.where) == (code, where)
    assert message in caught.value.message
    assert "P001" not in str(caught.value)
