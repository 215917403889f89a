"""Orders by urgency, results by how critical they are, confidentiality as labels."""

from typing import Any

import pytest

from adapters.hl7v2.error import MessageError
from adapters.hl7v2.message import parse
from adapters.hl7v2.reading import Matter
from tests.hl7v2.given_messages import READER, RECEIVED, SOURCE, read_fixture

PID = "PID|1||P001^^^HIS^MR"


def read(kind: str, *segments: str) -> tuple[Matter, ...]:
    text = "\r".join([f"MSH|^~\\&|HIS|H1|||20261121||{kind}|1|P|2.5.1", *segments])
    return READER.read(parse(text), SOURCE, RECEIVED).matters


def obx(code: str, flag: str, status: str = "F") -> str:
    return f"OBX|1|NM|{code}^Text^LN||1|||{flag}|||{status}"


@pytest.mark.parametrize(
    ("name", "operation", "properties", "content"),
    [
        (
            "orm_o01_stat",
            "update:order:stat",
            {"priority": "stat", "status": "new"},
            {"placer": "1001", "code": "71046", "system": "99HIS", "control": "NW"},
        ),
        (
            "orm_o01_routine",
            "update:order:routine",
            {"priority": "routine", "status": "new"},
            {"placer": "1002", "code": "24331-1", "system": "LN", "control": "NW"},
        ),
        (
            "oml_o21",
            "update:order:stat",
            {"priority": "stat", "status": "new"},
            {"placer": "1003", "code": "2823-3", "system": "LN", "control": "NW"},
        ),
    ],
)
def test_an_order_is_as_urgent_as_it_says(
    name: str, operation: str, properties: dict[str, Any], content: dict[str, str]
):
    (matter,) = READER.read(read_fixture(name), SOURCE, RECEIVED).matters
    priority = properties["priority"]
    assert matter == Matter(
        operation,
        "HIS|P001",
        {"patient": {"id": "HIS|P001"}} | properties,
        {"priority": priority, "orders": [content]},
    )


@pytest.mark.parametrize(
    ("code", "category"),
    [("S", "stat"), ("s", "stat"), ("A", "asap"), ("PRN", "as-needed"), ("", "routine"), ("Z9", "other")],
)
def test_a_code_nobody_mapped_is_other(code: str, category: str):
    (matter,) = read("ORM^O01", PID, "ORC|NW|1", f"OBR|1|1||X|{code}")
    assert matter.operation == f"update:order:{category}"


def test_tq1_goes_before_the_older_fields():
    (matter,) = read("OML^O21", PID, "ORC|NW|1|||||^^^^^R", "TQ1|1||||||||S", "OBR|1|1||X|R")
    assert matter.operation == "update:order:stat"


def test_orders_of_different_urgency_are_decided_apart():
    found = read("ORM^O01", PID, "ORC|NW|1", "OBR|1|1||A|S", "ORC|NW|2", "OBR|2|2||B|R", "ORC|CA|3", "OBR|3|3||C|S")
    assert [(m.operation, m.properties["status"], [o["placer"] for o in m.content["orders"]]) for m in found] == [
        ("update:order:stat", "new", ["1"]),
        ("update:order:routine", "new", ["2"]),
        ("update:order:stat", "cancelled", ["3"]),
    ]


def test_several_obr_of_one_orc_are_orders_of_their_own():
    found = read("ORM^O01", PID, "ORC|NW|1", "OBR|1|1||A|R", "OBR|2|2||B|S")
    assert [m.operation for m in found] == ["update:order:routine", "update:order:stat"]


def test_results_of_several_patients_are_decided_apart():
    found = read("ORU^R01", PID, "OBR|1||L1|G", obx("A", "N"), "PID|2||P002^^^HIS^MR", "OBR|1||L2|G", obx("B", "LL"))
    assert [(m.patient, m.operation) for m in found] == [
        ("HIS|P001", "view:result:routine"),
        ("HIS|P002", "view:result:critical"),
    ]


def test_a_critical_result_names_codes_and_no_values():
    (matter,) = READER.read(read_fixture("oru_r01_critical"), SOURCE, RECEIVED).matters
    assert matter == Matter(
        "view:result:critical",
        "HIS|P001",
        {"patient": {"id": "HIS|P001"}, "status": "final"},
        {
            "observations": [{"code": "2823-3", "system": "LN", "flag": "HH"}],
            "orders": [{"placer": "1003", "filler": "L2003", "code": "2823-3", "system": "LN", "control": "RE"}],
        },
    )
    assert READER.read(read_fixture("oru_r01_normal"), SOURCE, RECEIVED).matters[0].operation == "view:result:routine"


@pytest.mark.parametrize(
    ("flag", "status", "category"),
    [
        ("HH", "F", "critical"),
        ("LL", "C", "critical"),
        ("AA", "F", "critical"),
        ("H~HH", "F", "critical"),
        ("H", "F", "routine"),
        ("HH", "P", "routine"),
        ("HH", "W", "routine"),
        ("HH", "", "critical"),
        ("", "F", "routine"),
    ],
)
def test_only_what_is_final_and_flagged_is_critical(flag: str, status: str, category: str):
    assert read("ORU^R01", PID, "OBR|1||L1|G", obx("A", flag, status))[0].operation == f"view:result:{category}"


def test_the_orders_own_status_stands_in_for_that_of_an_observation():
    obr = "OBR|1||L1|G" + "|" * 21 + "P"
    assert read("ORU^R01", PID, obr, obx("A", "HH", ""))[0].operation == "view:result:routine"


def test_confidentiality_becomes_labels_and_an_unknown_code_the_strictest():
    orc = "ORC|NW|1" + "|" * 26 + "HIV~U~WHAT"
    (matter,) = read("ORM^O01", PID, orc, "OBR|1|1||A")
    assert matter.properties["labels"] == ("hiv", "very-restricted")
    (matter,) = read("MDM^T02", PID, "TXA|1" + "|" * 17 + "V")
    assert (matter.operation, matter.properties["labels"]) == ("update:document:t02", ("very-restricted",))


@pytest.mark.parametrize(
    ("kind", "segments", "code"),
    [
        ("ORM^O01", [PID], 100),
        ("ORU^R01", [PID], 100),
        ("ORM^O01", ["ORC|NW|1", "OBR|1"], 100),
        ("ORU^R01", ["PID|1||X^^^MARS", "OBR|1"], 204),
    ],
)
def test_an_order_without_its_segments_is_refused(kind: str, segments: list[str], code: int):
    with pytest.raises(MessageError) as caught:
        read(kind, *segments)
    assert caught.value.code == code
