"""Client certificates for the tests, as a site's authority would issue them."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.given import NOON

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def issued(
    name: str = "viewer-1",
    uris: tuple[str, ...] = (),
    begins: datetime = NOON - timedelta(days=1),
    ends: datetime = NOON + timedelta(days=1),
    serial: int = 1,
) -> bytes:
    """DER of a certificate for CN=name,O=hospital-a with URIs in its alternative names."""
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "hospital-a"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(KEY, None).public_bytes(Encoding.DER)
