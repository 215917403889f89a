"""The tables hold known words only, and every word the code asks for."""

import copy
import tomllib
from typing import Any

import pytest
import yaml

from adapters import mappings
from adapters.hl7v2 import tables
from spir.errors import DocumentError
from tests.hl7v2.given_messages import TABLES

RAW = mappings.read("hl7v2")
CHARSET = mappings.read("hl7v2_charset")
VOCABULARY = yaml.safe_load((mappings.folder() / "vocabulary.yaml").read_text("utf-8"))


def test_every_operation_is_declared_in_the_vocabulary():
    operations = [event.operation for event in TABLES.events.values()]
    operations += [f"update:order:{name}" for name in {*TABLES.priorities.values(), TABLES.priority_other}]
    operations += ["view:result:critical", "view:result:routine"]
    for verb, kind, category in (operation.split(":") for operation in operations):
        assert verb in VOCABULARY["verbs"]
        assert category in VOCABULARY["types"][kind]


def test_every_fact_is_declared_in_the_vocabulary():
    declared = VOCABULARY["attributes"]
    for name in ("care_team", "encounter_status", "encounter_class", "location", "labels"):
        assert f"resource.patient.{name}" in declared
    for flag in TABLES.flags:
        assert declared[f"resource.patient.{flag.attribute}"]["join"] == "any"
    assert {"in-progress", "finished", "cancelled"} <= set(declared["resource.patient.encounter_status"]["enum"])


def test_what_ends_access_comes_last_among_events_of_one_time():
    closing = [event.late for event in TABLES.events.values() if event.visit in ("finish", "cancel")]
    others = [event.late for event in TABLES.events.values() if event.visit in ("", "open", "reopen")]
    assert min(closing) > max(others)


def test_every_table_names_its_source():
    for name, table in RAW.items():
        assert isinstance(table, str) or table["source"].startswith("HL7 v2"), name


@pytest.mark.parametrize(
    ("place", "row"),
    [
        ("events", ["ADT^A99", "update:encounter:x", "sometimes", [], 0, False]),
        ("events", ["ADT^A99", "update:encounter:x", "", ["everything"], 0, False]),
        ("events", ["ADT^A99", "update:encounter:x", "", [], 100, False]),
        ("events", ["ADT^A01", "update:encounter:x", "", [], 0, False]),
        ("events", ["ADT^A99"]),
        ("team", ["nurse", "PV1-7x"]),
        ("flags", ["vip", "PV1-16", "planet", [], []]),
    ],
)
def test_a_damaged_table_is_refused_by_name(place: str, row: list[Any]):
    damaged = copy.deepcopy(RAW)
    damaged[place]["rows"].append(row)
    with pytest.raises(DocumentError, match="the table `hl7v2` is damaged"):
        tables.read(damaged, CHARSET)


def test_a_missing_table_and_an_unknown_codec_are_refused():
    with pytest.raises(DocumentError, match="damaged"):
        tables.read({name: table for name, table in RAW.items() if name != "team"}, CHARSET)
    with pytest.raises(DocumentError, match="damaged"):
        tables.read(RAW, {**CHARSET, "rows": [["X", "no-such-codec"]]})


def test_the_tables_read_as_they_stand():
    text = (mappings.folder() / "hl7v2.toml").read_text("utf-8")
    assert tables.read(tomllib.loads(text), CHARSET) == TABLES
