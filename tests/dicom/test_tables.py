"""The tables: known words only, nothing twice, everything covered or refused by name."""

from __future__ import annotations

from pydicom.datadict import keyword_for_tag
from pydicom.uid import UID_dictionary

from adapters import mappings
from adapters.dicom.identifier import UNIQUE
from adapters.dicom.tables import KeyKind, Level, Model, Root, Service, tables

DATA = mappings.read("dicom")
CT, PROTOCOL = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.200.1"
WORKLIST, DEFLATED, JPEG = "1.2.840.10008.5.1.4.31", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"


def test_every_tag_has_its_keyword_and_stands_once() -> None:
    rows = [(row[0], row[1]) for table in ("keys", "always", "never") for row in DATA[table]["rows"]]
    assert [(tag, keyword_for_tag(int(tag, 16))) for tag, _ in rows] == rows
    assert len({tag for tag, _ in rows}) == len(rows)


def test_every_uid_is_one_of_the_standard_and_stands_once() -> None:
    syntaxes = DATA["transfer_syntaxes"]
    uids = [row[0] for table in ("services", "refused") for row in DATA[table]["rows"]]
    uids += [syntaxes["implicit"], syntaxes["explicit"], *syntaxes["encapsulated"]]
    uids += [uid for uid, _ in syntaxes["refused"]]
    assert [uid for uid in uids if uid not in UID_dictionary] == []
    assert len(set(uids)) == len(uids)


def test_each_level_has_its_unique_key() -> None:
    unique = {key.level: key.tag for key in tables().keys.values() if key.kind is KeyKind.UNIQUE}
    assert unique == dict(UNIQUE)


def test_every_service_has_an_operation_or_needs_none() -> None:
    assert set(tables().operations) == set(Service) - {Service.ECHO}


def test_every_composite_storage_class_is_relayed() -> None:
    storage = [uid for uid, row in UID_dictionary.items() if row[1] == "SOP Class" and uid.startswith(CT[:-1])]
    relayed = {uid for uid in storage if tables().model(uid) == Model(uid, Service.STORE)}
    assert {uid for uid in storage if uid not in relayed} == {
        u for u in storage if ".1.1.200." in u or ".1.1.201." in u
    }


def test_what_is_in_no_table_or_refused_by_name_is_no_model() -> None:
    refused = [row[0] for row in DATA["refused"]["rows"]]
    assert [tables().model(uid) for uid in [*refused, PROTOCOL, "1.2.3", ""]] == [None] * (len(refused) + 3)
    assert tables().model("1.2.840.10008.5.1.4.1.2.1.2") == Model(
        "1.2.840.10008.5.1.4.1.2.1.2", Service.MOVE, Root.PATIENT
    )


def test_compressed_data_sets_may_be_stored_and_nothing_else() -> None:
    find = "1.2.840.10008.5.1.4.1.2.2.1"
    assert [tables().supports(uid, JPEG) for uid in (CT, find, WORKLIST)] == [True, False, False]
    assert not tables().supports(CT, DEFLATED)
    assert [level.name for level in Level] == ["PATIENT", "STUDY", "SERIES", "IMAGE"]
