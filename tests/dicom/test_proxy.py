"""Admission: who may associate, and what is offered to the PACS and accepted towards the client."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.admission import (
    Peer,
    accepted,
    credentials_of,
    is_known,
    lookup_context,
    offered,
    refused,
    upstream_request,
)
from adapters.dicom.negotiation import agreed, negotiate, own_user
from adapters.dicom.pdu import (
    AssociateRequest,
    PresentationContextItem,
    RoleSelection,
    UserIdentityAc,
    UserIdentityRq,
    UserInformation,
)
from adapters.dicom.proxy import Destination, ProxyConfig
from adapters.dicom.tables import tables
from spir.errors import DocumentError
from spir.exchange import Credentials, UserIdentity

FIND, WORKLIST, CT = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.31", "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG = (
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"),
    *("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"),
)


def request(*contexts: PresentationContextItem, **user: Any) -> AssociateRequest:
    return AssociateRequest("SPIR", "VIEWER1", contexts, UserInformation(**user))


@pytest.mark.parametrize(
    ("ae_title", "address", "known"),
    [
        ("VIEWER1", "10.1.2.3", True),
        ("VIEWER1", "10.9.9.9", False),
        ("VIEWER2", "10.9.9.9", True),
        ("VIEWER2", "::ffff:10.9.9.9", True),
        ("VIEWER1", "nowhere", False),
        ("viewer1", "10.1.2.3", False),
        ("", "10.1.2.3", False),
    ],
)
def test_a_peer_is_known_by_name_and_address_together(ae_title: str, address: str, known: bool) -> None:
    peers = (Peer("VIEWER1", ("10.1.2.3", "10.1.3.0/24")), Peer("VIEWER2", ("10.9.0.0/16", "::1")))
    assert is_known(peers, ae_title, address) is known


@pytest.mark.parametrize("addresses", [(), ("10.1.2",), ("somewhere",)])
def test_a_peer_without_a_usable_address_is_an_error_of_the_configuration(addresses: tuple[str, ...]) -> None:
    with pytest.raises(DocumentError):
        Peer("VIEWER1", addresses)


def test_credentials_are_what_was_shown_and_no_more() -> None:
    shown = credentials_of(request(identity=UserIdentityRq(2, b"dr.li", b"secret")), "10.1.2.3", b"der")
    assert shown == Credentials(
        "dicom", "10.1.2.3", ae_title="VIEWER1", certificate=b"der", user_identity=UserIdentity(2, b"dr.li", b"secret")
    )
    assert credentials_of(request(), "10.1.2.3", b"").user_identity is None


def test_only_what_we_can_read_is_offered_to_the_pacs() -> None:
    asked = request(
        PresentationContextItem(1, FIND, (JPEG, EXPLICIT, BIG)),
        PresentationContextItem(3, CT, (JPEG, DEFLATED, IMPLICIT)),
        PresentationContextItem(5, CT, (DEFLATED,)),
        PresentationContextItem(7, WORKLIST, (IMPLICIT,)),
    )
    assert offered(asked) == (
        PresentationContextItem(1, FIND, (EXPLICIT,)),
        PresentationContextItem(3, CT, (JPEG, IMPLICIT)),
    )
    assert refused(asked) == (WORKLIST,)


def test_the_pacs_learns_the_client_s_roles_and_length_but_not_its_identity() -> None:
    roles = (RoleSelection(CT, False, True), RoleSelection(FIND, False, True), RoleSelection(WORKLIST, True, True))
    identity = UserIdentityRq(2, b"dr.li", b"secret")
    asked = request(
        PresentationContextItem(1, FIND, (EXPLICIT,)),
        PresentationContextItem(3, CT, (EXPLICIT,)),
        PresentationContextItem(5, WORKLIST, (EXPLICIT,)),
        max_length=16384,
        roles=roles,
        identity=identity,
        async_window=(8, 8),
    )
    upstream = upstream_request(asked, "ORTHANC", "SPIR")
    assert (upstream.called, upstream.calling) == ("ORTHANC", "SPIR")
    assert upstream.user == own_user(16384, roles=roles[:1])


def test_what_has_to_be_resolved_gets_a_context_of_ours() -> None:
    finding = upstream_request(request(PresentationContextItem(1, FIND, (EXPLICIT,))), "ORTHANC", "SPIR")
    storing = upstream_request(request(PresentationContextItem(1, CT, (EXPLICIT,))), "ORTHANC", "SPIR")
    assert finding.contexts[1:] == (PresentationContextItem(3, FIND, (IMPLICIT,)),)
    assert storing.contexts[1:] == ()
    full = request(*(PresentationContextItem(id, FIND, (EXPLICIT,)) for id in range(1, 256, 2)))
    assert lookup_context(full) is None
    assert len(upstream_request(full, "ORTHANC", "SPIR").contexts) == 128


def test_the_client_gets_what_the_pacs_accepted_and_the_smaller_length() -> None:
    asked = request(
        PresentationContextItem(1, FIND, (EXPLICIT,)),
        PresentationContextItem(3, CT, (EXPLICIT,)),
        PresentationContextItem(5, CT, (DEFLATED,)),
        PresentationContextItem(7, WORKLIST, (EXPLICIT,)),
        roles=(RoleSelection(CT, True, True),),
        identity=UserIdentityRq(1, b"dr.li", b"", True),
        async_window=(8, 8),
    )
    upstream = upstream_request(asked, "ORTHANC", "SPIR")
    of_pacs = negotiate(
        upstream,
        lambda item: (0, item.transfer_syntaxes[0]) if item.abstract_syntax == CT else (1, ""),
        user=own_user(16384),
        role=lambda role: RoleSelection(role.sop_class, False, True),
    )
    answer = accepted(asked, of_pacs)
    assert [(one.id, one.result, one.transfer_syntax) for one in answer.contexts] == [
        (1, 1, EXPLICIT),
        (3, 0, EXPLICIT),
        (5, 4, DEFLATED),
        (7, 3, EXPLICIT),
    ]
    assert answer.user == own_user(
        16384, roles=(RoleSelection(CT, False, True),), async_window=(1, 1), identity_response=UserIdentityAc()
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from([FIND, CT, WORKLIST, "1.2.3"]),
            st.lists(st.sampled_from([IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG]), min_size=1, max_size=3, unique=True),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([0, 1, 3, 4]),
)
def test_no_context_is_in_force_that_no_table_knows(proposed: list[tuple[str, list[str]]], verdict: int) -> None:
    asked = request(
        *(PresentationContextItem(2 * n + 1, name, tuple(syntaxes)) for n, (name, syntaxes) in enumerate(proposed))
    )
    upstream = upstream_request(asked, "ORTHANC", "SPIR")
    of_pacs = negotiate(upstream, lambda item: (verdict, item.transfer_syntaxes[-1]))
    answer = accepted(asked, of_pacs if upstream.contexts else None)
    assert [one.id for one in answer.contexts] == [one.id for one in asked.contexts]
    in_force = agreed(asked, answer)
    assert all(tables().supports(one.abstract_syntax, one.transfer_syntax) for one in in_force.values())
    ours = {one.id for one in asked.contexts}
    assert {(one.id, one.transfer_syntax) for one in in_force.values()} == {
        (one.id, one.transfer_syntax) for one in of_pacs.contexts if one.accepted and one.id in ours
    }


def test_a_destination_has_its_own_name_at_the_pacs_unless_told_otherwise() -> None:
    config = ProxyConfig(
        "pacs.example", 104, "ORTHANC", (), destinations=(Destination("WS1"), Destination("DESK", "DESK_AT_PACS"))
    )
    assert dict(config.registry()) == {"WS1": "WS1", "DESK": "DESK_AT_PACS"}
    assert config.calling == "SPIR"


def test_the_data_path_needs_no_other_dicom_library() -> None:
    program = "import sys, adapters.dicom.proxy; print(sorted({'pydicom', 'pynetdicom'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
