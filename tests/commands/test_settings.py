"""The configuration file: what is not known is refused, by name and line, with the nearest known word."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.settings import Settings, address, load, read, schema
from spir.errors import DocumentError, SpirError

MINIMAL = '[site]\norganization = "cn/zj/hospital-a"\n'


def test_the_smallest_configuration_has_sensible_defaults() -> None:
    found = read(MINIMAL, "etc/spir.toml")
    assert found.path("staff.yaml") == Path("etc/staff.yaml")
    assert (found.data, found.database) == (Path("etc/var"), Path("etc/var/gateway.db"))
    assert found.hl7v2 is None and found.dicom is None and found.fhir is None


def test_the_configuration_of_the_interface_description_loads() -> None:
    text = """
[site]
organization = "cn/zj/hospital-a"
timezone = "Asia/Shanghai"
data = "var"
[policy]
documents = ["policies"]
[directory]
file = "staff.yaml"
[hl7v2]
listen = "127.0.0.1:2575"
sources = [{application = "HIS", facility = "H1", addresses = ["127.0.0.1"]}]
[dicom]
listen = "127.0.0.1:11112"
ae_title = "SPIR"
pacs = {address = "127.0.0.1:4242", ae_title = "ORTHANC"}
peers = [{ae_title = "VIEWER1", addresses = ["127.0.0.1"]}]
destinations = [{ae_title = "WS1", address = "127.0.0.1:11113"}]
[fhir]
listen = "127.0.0.1:8080"
upstream = "http://127.0.0.1:8090"
identifier_systems = {"HIS" = "urn:oid:1.2.3"}
[identity]
issuers = [{issuer = "https://idp.example", audience = "spir", jwks = "jwks.json", algorithms = ["RS256"]}]
[notify]
channels = {alert = {url = "http://127.0.0.1:9000/alerts", secret_file = "hook.key"}}
[pdp]
listen = "127.0.0.1:8181"
[audit]
signing_key = "audit.key"
"""
    found = read(text, "spir.toml")
    assert found.dicom is not None and found.dicom.pacs is not None
    assert found.dicom.pacs.ae_title == "ORTHANC"
    assert found.notify.channels["alert"].kind == "webhook"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINIMAL + 'timezon = "UTC"\n', "spir.toml:3: unknown key `site.timezon`; did you mean `timezone`?"),
        (
            MINIMAL + '[dicom]\npacs = {address = "a:1", ae_titel = "X"}\n',
            "`dicom.pacs.ae_titel`; did you mean `ae_title`?",
        ),
        (MINIMAL + '[hl7v2]\nsources = [{aplication = "HIS"}]\n', "`hl7v2.sources.aplication`"),
        (MINIMAL + "[fhir]\nupstream = 3\n", "expected `str`, got `int`"),
        (MINIMAL + '[fhir]\nlisten = "127.0.0.1:8080"\n', "needs an `upstream`"),
        (MINIMAL + '[hl7v2]\nlisten = "0.0.0.0:2575"\n', "clear text on `0.0.0.0:2575` beyond loopback"),
        (MINIMAL + '[hl7v2]\nlisten = "2575"\n', "is not an address"),
        (MINIMAL + '[pdp]\nlisten = "0.0.0.0:8181"\n', "clear text on `0.0.0.0:8181` beyond loopback"),
        (MINIMAL + '[pdp]\nbase = "pdp.example"\n', "`pdp.example`"),
        (MINIMAL + '[pdp]\nbase = "https://pdp.example/?a"\n', "no address that callers can use"),
        (
            MINIMAL + '[pdp]\nlisten = "0.0.0.0:1"\nopen = true\nallow_clear_text = true\n',
            "cannot be open to everybody",
        ),
        ('[site]\norganization = "x"\ntimezone = "Mars/Olympus"\n', "`Mars/Olympus` is not a time zone"),
        ("[site\n", "this is not TOML"),
        ("", "missing required field `site`"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(text, "spir.toml")
    assert said in str(caught.value)


def test_clear_text_beyond_loopback_can_be_said_aloud() -> None:
    found = read(MINIMAL + '[hl7v2]\nlisten = "0.0.0.0:2575"\nallow_clear_text = true\n', "spir.toml")
    assert found.hl7v2 is not None and found.hl7v2.listen == "0.0.0.0:2575"


def test_the_environment_overlays_the_file() -> None:
    environment = {"SPIR__SITE__TIMEZONE": "Asia/Shanghai", "SPIR__AUDIT__CHECKPOINT_SECONDS": "5", "OTHER": "x"}
    found = read(MINIMAL, "spir.toml", environment)
    assert (found.site.timezone, found.audit.checkpoint_seconds) == ("Asia/Shanghai", 5.0)
    with pytest.raises(DocumentError, match="did you mean `timezone`"):
        read(MINIMAL, "spir.toml", {"SPIR__SITE__TIMEZON": "UTC"})


def test_a_missing_file_is_said_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="cannot be read"):
        load(tmp_path / "none.toml", {})


def test_the_schema_names_every_section_and_no_inner_field() -> None:
    found = schema()
    properties = found["$defs"]["Settings"]["properties"]
    assert set(properties) == {field for field in Settings.__struct_fields__ if field != "folder"}
    json.dumps(found)


def test_addresses() -> None:
    assert (address("[::1]:80").host, address("[::1]:80").port, address("[::1]:80").loopback) == ("::1", 80, True)
    assert not address("example.org:80").loopback


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_our_words(text: str) -> None:
    with contextlib.suppress(SpirError):
        read(MINIMAL + text, "spir.toml")
