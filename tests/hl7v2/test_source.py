"""Who may send, and from where."""

import hashlib

import pytest

from adapters.hl7v2.source import Source, admitted, matching
from spir.errors import DocumentError

HIS = Source("HIS", "H1", ("10.1.0.0/16", "192.168.7.9", "fd00::/8"))


@pytest.mark.parametrize(
    ("address", "let_in"),
    [
        ("10.1.200.3", True),
        ("192.168.7.9", True),
        ("::ffff:192.168.7.9", True),
        ("fd12::1", True),
        ("fd12::1%eth0", True),
        ("10.2.0.1", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("", False),
        ("somewhere", False),
    ],
)
def test_a_source_is_let_in_from_its_addresses_only(address: str, let_in: bool):
    assert HIS.admits(address) is let_in


def test_a_source_without_addresses_is_let_in_from_nowhere():
    assert not Source("HIS").admits("127.0.0.1")


def test_a_source_bound_to_a_certificate_needs_that_one():
    digest = hashlib.sha256(b"der").hexdigest()
    spelled = ":".join(digest[at : at + 2] for at in range(0, 64, 2)).upper()
    bound = Source("HIS", "H1", ("127.0.0.1",), certificate=spelled)
    assert [bound.admits("127.0.0.1", der) for der in (b"der", b"other", b"")] == [True, False, False]
    assert not bound.admits("127.0.0.2", b"der")


def test_a_sender_is_a_source_only_with_both_its_names():
    sources = (HIS, Source("LIS", "H1", ("10.1.0.1",)))
    assert admitted(sources, "10.1.0.1") == sources
    assert admitted(sources, "10.1.0.2") == (HIS,)
    assert matching(sources, ("LIS", "H1")) == sources[1]
    assert matching(sources, ("LIS", "")) is None
    assert matching(sources, ("his", "H1")) is None


def test_an_address_that_is_none_is_refused_at_once():
    with pytest.raises(DocumentError, match="neither an address nor a network"):
        Source("HIS", "H1", ("hospital",))
