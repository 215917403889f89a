"""Who it is, under each protocol: the strongest that was shown, and nothing of it may be wrong."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.identity.bearer import Bearer, Issuer
from adapters.identity.certificate import read_certificate
from adapters.identity.directory import Directory
from adapters.identity.place import Peer, Place, Source
from adapters.identity.resolver import Resolver, ResolverConfig
from spir.errors import DocumentError, Unauthenticated
from spir.exchange import Credentials, Identity, UserIdentity
from spir.model.request import Entity
from tests.given import NOON
from tests.identity.certificates import issued
from tests.identity.tokens import ALGORITHMS, KEYS, NAME, NOW, bearer, token, with_claims

LAB = "spiffe://hospital-a.example/lab"
STAFF = f"""
- id: dr.li
  properties: {{role: physician, permissions: ["read:patient:allergy"]}}
  ae_titles: [VIEWER1]
  tokens: [dr.li]
- id: dr.wu
  properties: {{role: surgeon}}
  tokens: ["{NAME}|dr.wu"]
  certificates: ["CN=dr.wu,O=hospital-a"]
- id: lab
  type: system
  properties: {{role: analyser}}
  certificates: ["{LAB}"]
- id: HIS
  type: system
  properties: {{role: information-system}}
  hl7v2: [HIS]
- id: RIS
  type: system
  hl7v2: ["RIS|H1"]
- id: imposter
  hl7v2: [PERSON]
"""
HERE = Place.of(["127.0.0.1", "10.0.0.0/8"])
LAB_DER = issued("lab", uris=(LAB,))
CONFIG = ResolverConfig(
    peers=(
        Peer("VIEWER1", HERE),
        Peer("MODALITY", HERE),
        Peer("TRUSTED", HERE, vouches=True),
        Peer("SEALED", Place.of(["127.0.0.1"], [LAB])),
        Peer("NOWHERE", Place.of([])),
    ),
    sources=(
        Source("HIS", "H1", HERE),
        Source("RIS", "H1", HERE),
        Source("ANY", "", HERE),
        Source("PERSON", "", HERE),
        Source("LAB", "", Place.of(["127.0.0.1"], [LAB])),
    ),
)


def resolver(config: ResolverConfig = CONFIG, verifier: Bearer | None = None, now: datetime = NOON) -> Resolver:
    return Resolver(Directory.parse(STAFF, "staff.yaml"), verifier or bearer(), config, lambda: now)


def who(protocol: str, **shown: Any) -> Identity:
    return resolver().identify(Credentials(protocol, **{"address": "127.0.0.1", **shown}))


def refused(protocol: str, match: str | None = None, **shown: Any) -> None:
    with pytest.raises(Unauthenticated, match=match):
        who(protocol, **shown)


def user(kind: int, primary: str, secondary: str = "") -> UserIdentity:
    return UserIdentity(kind, primary.encode(), secondary.encode())


# -- FHIR ------------------------------------------------------------------------------------


def test_a_token_speaks_for_its_entry_with_its_scopes():
    identity = who("fhir", bearer=with_claims(scope="search:imaging patient/*.rs openid"))
    properties = {
        "role": "physician",
        "permissions": ("read:patient:allergy", "search:imaging"),
        "scopes": ("openid", "patient/*.rs", "search:imaging"),
    }
    assert identity == Identity(Entity("person", "dr.li", properties), "bearer", NOON + timedelta(seconds=600))


def test_a_token_of_nobody_is_refused():
    refused("fhir", "not in the directory", bearer=with_claims(sub="dr.who"))
    refused("fhir", "no access token")
    refused("fhir", bearer="x.y.z")
    with pytest.raises(Unauthenticated, match="no issuer"):
        Resolver(Directory(), None, CONFIG, lambda: NOON).identify(Credentials("fhir", "127.0.0.1", bearer=token()))


def test_a_bare_name_counts_only_if_there_is_one_issuer():
    issuers = [(Issuer(name, "spir", ALGORITHMS), lambda: KEYS) for name in (NAME, "https://other.example")]
    both = resolver(verifier=Bearer(issuers))
    with pytest.raises(Unauthenticated, match="not in the directory"):
        both.identify(Credentials("fhir", "127.0.0.1", bearer=token()))
    with pytest.raises(Unauthenticated, match="not in the directory"):
        both.identify(Credentials("fhir", "127.0.0.1", bearer=with_claims(iss="https://other.example", sub="dr.wu")))
    assert both.identify(Credentials("fhir", "127.0.0.1", bearer=with_claims(sub="dr.wu"))).subject.id == "dr.wu"


def test_a_bound_token_needs_its_certificate():
    bound = with_claims(cnf={"x5t#S256": read_certificate(LAB_DER).thumbprint})
    identity = who("fhir", bearer=bound, certificate=LAB_DER)
    assert identity.subject.id == "dr.li"
    assert identity.subject.properties["spiffe"] == LAB
    assert identity.subject.properties["certificate"] == read_certificate(LAB_DER).fingerprint
    refused("fhir", "another certificate", bearer=bound)
    refused("fhir", "another certificate", bearer=bound, certificate=issued("thief"))
    refused("fhir", "not known", bearer=with_claims(cnf={"jkt": "x"}))


def test_a_site_may_demand_bound_tokens():
    strict = resolver(ResolverConfig(bound_tokens=True))
    with pytest.raises(Unauthenticated, match="not bound"):
        strict.identify(Credentials("fhir", "127.0.0.1", bearer=token(), certificate=LAB_DER))


def test_an_identity_ends_with_the_first_of_its_proofs():
    early = issued("lab", uris=(LAB,), ends=NOON + timedelta(seconds=60))
    assert who("fhir", bearer=token(), certificate=early).expires == NOON + timedelta(seconds=60)
    assert who("fhir", bearer=token(), certificate=LAB_DER).expires == NOON + timedelta(seconds=600)


@pytest.mark.parametrize("protocol", ["fhir", "dicom", "hl7v2"])
def test_a_certificate_out_of_its_time_is_refused_whatever_else_is_shown(protocol: str):
    for der in (issued(ends=NOON - timedelta(seconds=1)), issued(begins=NOON + timedelta(seconds=1)), b"junk"):
        refused(
            protocol,
            "certificate",
            certificate=der,
            bearer=token(),
            ae_title="VIEWER1",
            application="HIS",
            facility="H1",
        )


def test_what_a_peer_says_of_itself_in_other_fields_counts_for_nothing():
    refused("fhir", ae_title="VIEWER1", application="HIS", facility="H1", certificate=LAB_DER)
    refused("dicom", bearer=token(), application="HIS", ae_title="NOBODY")
    refused("hl7v2", bearer=token(), ae_title="VIEWER1", certificate=LAB_DER)
    refused("telnet", bearer=token(), ae_title="VIEWER1")


# -- DICOM -----------------------------------------------------------------------------------


def test_a_calling_ae_title_is_believed_at_its_address():
    expected = Entity("person", "dr.li", {"role": "physician", "permissions": ("read:patient:allergy",)})
    assert who("dicom", ae_title="VIEWER1") == Identity(expected, "ae-title")
    assert who("dicom", ae_title=" VIEWER1 ", address="10.1.2.3").subject.id == "dr.li"
    assert who("dicom", ae_title="VIEWER1", address="::ffff:10.1.2.3").subject.id == "dr.li"


@pytest.mark.parametrize("address", ["192.168.0.1", "11.0.0.1", "::1", "", "localhost", "10.0.0.1 ", "10.0.0.0/8"])
def test_an_ae_title_from_elsewhere_is_refused(address: str):
    refused("dicom", "not known at this address", ae_title="VIEWER1", address=address)


@pytest.mark.parametrize("title", ["", "viewer1", "VIEWER2", "VIEWER1\x00", "NOWHERE", "*"])
def test_an_ae_title_that_is_not_registered_is_refused(title: str):
    refused("dicom", "not known at this address", ae_title=title)


def test_a_registered_node_without_an_entry_is_a_system_without_properties():
    assert who("dicom", ae_title="MODALITY").subject == Entity("system", "MODALITY")


def test_a_node_may_be_bound_to_a_certificate():
    refused("dicom", ae_title="SEALED")
    refused("dicom", ae_title="SEALED", certificate=issued("thief"))
    assert who("dicom", ae_title="SEALED", certificate=LAB_DER).subject.id == "lab"


def test_a_listed_certificate_comes_before_everything():
    identity = who("dicom", ae_title="VIEWER1", certificate=LAB_DER, user_identity=user(5, token()))
    assert (identity.subject.id, identity.method) == ("lab", "certificate")
    assert "scopes" not in identity.subject.properties


def test_a_person_does_not_lend_a_certificate_to_another():
    mine = issued("dr.wu")
    assert who("dicom", certificate=mine, user_identity=user(5, with_claims(sub="dr.wu"))).subject.id == "dr.wu"
    refused("dicom", "different holders", certificate=mine, user_identity=user(5, token()))


def test_a_certificate_that_two_entries_claim_is_nobodys():
    refused("dicom", "several entries", certificate=issued("dr.wu", uris=(LAB,)))


def test_a_token_in_the_association_names_the_user():
    identity = who("dicom", ae_title="MODALITY", user_identity=user(5, token()))
    assert (identity.subject.id, identity.method) == ("dr.li", "user-identity")
    assert identity.expires == NOON + timedelta(seconds=600)
    unlisted = who("dicom", certificate=issued("station"), user_identity=user(5, token()))
    assert unlisted.subject.id == "dr.li"


@pytest.mark.parametrize(
    "primary", [b"", b"x", b"\xff\xfe", token(alg="none").encode(), with_claims(iat=NOW - 100, exp=NOW - 50).encode()]
)
def test_a_bad_token_is_not_made_good_by_an_address_or_a_certificate(primary: bytes):
    bad = UserIdentity(5, primary)
    refused("dicom", ae_title="VIEWER1", user_identity=bad)
    refused("dicom", ae_title="VIEWER1", certificate=LAB_DER, user_identity=bad)


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 6, 255])
def test_other_user_identities_prove_nothing(kind: int):
    refused("dicom", "proves nothing", ae_title="VIEWER1", user_identity=user(kind, "dr.li", "secret"))
    refused("dicom", "proves nothing", certificate=LAB_DER, user_identity=user(kind, "dr.li", "secret"))


def test_a_node_that_vouches_may_name_its_user():
    identity = who("dicom", ae_title="TRUSTED", user_identity=user(1, "dr.wu"))
    assert (identity.subject.id, identity.method) == ("dr.wu", "vouched")
    for name in ("nobody", "lab", "", "\udcff"):
        given = UserIdentity(1, name.encode("utf-8", "surrogateescape"))
        refused("dicom", "not in the directory", ae_title="TRUSTED", user_identity=given)
    refused("dicom", "proves nothing", ae_title="TRUSTED", user_identity=user(2, "dr.wu", "wrong"))
    refused("dicom", "proves nothing", ae_title="TRUSTED", address="192.168.0.1", user_identity=user(1, "dr.wu"))


# -- HL7 v2 ----------------------------------------------------------------------------------


def test_a_source_is_a_system_of_the_directory():
    his = Entity("system", "HIS", {"role": "information-system"})
    assert who("hl7v2", application="HIS", facility="H1") == Identity(his, "source")
    assert who("hl7v2", application="RIS", facility="H1").subject.id == "RIS"


def test_a_source_without_an_entry_is_a_system_without_properties():
    assert who("hl7v2", application="ANY", facility="X").subject == Entity("system", "ANY")


def test_a_person_of_the_same_name_is_not_the_source():
    assert who("hl7v2", application="PERSON").subject == Entity("system", "PERSON")


@pytest.mark.parametrize(
    "shown",
    [
        {"application": "HIS", "facility": "H2"},
        {"application": "HIS", "facility": ""},
        {"application": "HIS", "facility": "H1", "address": "192.168.0.1"},
        {"application": "his", "facility": "H1"},
        {"application": ""},
        {"application": "LAB"},
        {"application": "LAB", "certificate": issued("thief")},
        {"application": "LAB", "certificate": LAB_DER, "address": "10.0.0.1"},
    ],
)
def test_another_source_is_refused(shown: dict[str, Any]):
    refused("hl7v2", "not known at this address", **shown)


def test_a_source_bound_to_a_certificate_needs_it():
    identity = who("hl7v2", application="LAB", certificate=LAB_DER)
    assert (identity.subject.id, identity.subject.properties["spiffe"]) == ("LAB", LAB)


# -- all -------------------------------------------------------------------------------------


def test_staff_are_found_by_their_names_elsewhere():
    assert resolver().staff("hl7v2", "HIS") == "HIS"
    assert resolver().staff("hl7v2", "x") is None


def test_a_new_directory_counts_from_the_next_connection():
    found = resolver()
    found.directory = Directory()
    with pytest.raises(Unauthenticated):
        found.identify(Credentials("fhir", "127.0.0.1", bearer=token()))


@pytest.mark.parametrize("addresses", [["x"], ["10.0.0.1/8"], ["10.0.0.0/33"], [""]])
def test_a_place_is_written_exactly(addresses: list[str]):
    with pytest.raises(DocumentError):
        Place.of(addresses)
    with pytest.raises(DocumentError, match="names no certificate"):
        Place.of([], ["x"])


texts = st.text(max_size=20) | st.sampled_from(["VIEWER1", "HIS", "H1", "127.0.0.1", "dr.li"])
users = st.none() | st.builds(UserIdentity, st.integers(0, 6), st.binary(max_size=20), st.binary(max_size=5))
shown = st.builds(
    Credentials,
    st.sampled_from(["fhir", "pdp", "dicom", "hl7v2", ""]),
    texts,
    texts,
    texts,
    texts,
    texts,
    st.binary(max_size=30),
    users,
)


@given(shown)
def test_whatever_is_shown_is_believed_for_a_reason_or_refused(credentials: Credentials):
    with contextlib.suppress(Unauthenticated):
        identity = resolver().identify(credentials)
        assert identity.method in ("ae-title", "source")
        assert credentials.address == "127.0.0.1"
