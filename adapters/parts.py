"""Parts of a gateway that commands need too: policies, the directory, identities, keys, from settings.

Below the composition root, so that `spir eval` and `spir config check` read
what the gateway reads, in the same way, without building a gateway.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from adapters.backbone.schema import connect_reader
from adapters.bundles import check_templates, read_source
from adapters.hl7v2 import charset, tables
from adapters.hl7v2.facts import Reader
from adapters.hl7v2.message import parse
from adapters.hl7v2.source import Source as MessageSource
from adapters.identity.bearer import Bearer, Issuer
from adapters.identity.directory import Directory
from adapters.identity.key_file import KeyFile
from adapters.identity.place import Peer, Place, Source
from adapters.identity.resolver import Resolver, ResolverConfig
from adapters.settings import Settings, Tls
from spir.embed import default_vocabulary, library_templates
from spir.engine.ruleset import RuleSet, Site
from spir.errors import DocumentError, RequestError
from spir.language.document import Documents, read_documents
from spir.model.facts import Change
from spir.model.identity import PatientIdentifiers
from spir.model.request import Request
from spir.record.canonical import decode, request_of

__all__ = [
    "changes_of",
    "directory_of",
    "identifiers_of",
    "inspected",
    "policies_of",
    "recorded",
    "resolver_of",
    "rules_of",
    "tls_of",
]


def policies_of(settings: Settings) -> tuple[Documents, RuleSet]:
    """The documents that the settings name, and the rules they make. Raises DocumentError, BundleError."""
    source = read_source(settings)
    documents = read_documents(source.documents, vocabulary_text=default_vocabulary(), templates=library_templates())
    source.check(documents.fingerprint)
    return documents, rules_of(settings, documents)


def rules_of(settings: Settings, documents: Documents) -> RuleSet:
    """Raises BundleError for a template that somebody changed after a trusted key had signed it."""
    check_templates(settings, documents.templates)
    site = Site(settings.site.organization, settings.zone)
    return RuleSet.of(documents.policy_sets, documents.fingerprint, site)


def directory_of(settings: Settings) -> Directory:
    """The staff directory; an empty one where none is named. Raises DocumentError."""
    if not settings.directory.file:
        return Directory()
    path = settings.path(settings.directory.file)
    return Directory.parse(settings.text(settings.directory.file), str(path))


def identifiers_of(settings: Settings) -> PatientIdentifiers:
    """The site's assigning authorities. Identifiers without one belong to the site's own, if it names it,
    or to the only one there is."""
    systems = settings.fhir.identifier_systems if settings.fhir else {}
    only = next(iter(systems), "") if len(systems) == 1 else ""
    default = settings.site.assigning_authority or only
    return PatientIdentifiers({**systems, **({default: ""} if default and default not in systems else {})}, default)


def resolver_of(settings: Settings, directory: Directory, now: Callable[[], datetime]) -> Resolver:
    """Who may speak to us, by every protocol. Raises DocumentError."""
    issuers = [
        (
            Issuer(one.issuer, one.audience, one.algorithms, one.token_types),
            KeyFile(settings.path(one.jwks), one.algorithms),
        )
        for one in settings.identity.issuers
    ]
    peers = [Peer(one.ae_title, Place.of(one.addresses)) for one in (settings.dicom.peers if settings.dicom else ())]
    sources = [
        Source(one.application, one.facility, Place.of(one.addresses))
        for one in (settings.hl7v2.sources if settings.hl7v2 else ())
    ]
    return Resolver(directory, Bearer(issuers) if issuers else None, ResolverConfig(peers, sources), now)


def changes_of(body: bytes, directory: Directory, identifiers: PatientIdentifiers, at: datetime) -> tuple[Change, ...]:
    """What a gateway would learn from an HL7 v2 message, whoever had sent it. Raises MessageError."""
    shipped = tables.load()
    text, codec = charset.decode(body, shipped.charsets)
    reader = Reader(identifiers, directory.staff, at.tzinfo or UTC, shipped)
    return reader.read(parse(text, codec), MessageSource("from a file"), at).changes


def recorded(settings: Settings, number: int) -> tuple[Request, datetime, str]:
    """A decision of the audit trail: its request with the facts of that time, the moment, the bundle's fingerprint.

    Patients are digests in it. Raises Unavailable, RequestError.
    """
    connection = connect_reader(settings.database)
    try:
        row = connection.execute("select body from audit where seq = ?", (number,)).fetchone()
    finally:
        connection.close()
    record = decode(row[0]) if row else {}
    request = request_of(record)
    if request is None or "decision" not in record:
        raise RequestError(f"audit event {number} is no decision", hint="see `spir audit search`")
    return request, datetime.fromisoformat(record["time"]), str(record["decision"].get("bundle", ""))


def tls_of(settings: Settings, section: Tls | None) -> ssl.SSLContext | None:
    """A server context of TLS 1.2 or newer; None for no section. Raises DocumentError."""
    if section is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.path(section.certificate), settings.path(section.key))
        if section.client_ca:
            context.load_verify_locations(settings.path(section.client_ca))
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise DocumentError("the TLS certificate or key cannot be used", hint=str(error)) from error
    return context


def inspected(settings: Settings) -> Iterator[tuple[str, str]]:
    """Read everything that the settings name; what each part was found to be. Raises DocumentError."""
    documents, rules = policies_of(settings)
    count = sum(len(found.policies) for found in documents.policy_sets)
    yield "policies", f"{count} in {len(documents.policy_sets)} sets, {rules.fingerprint}"
    layers = rules.layers(settings.site.organization)
    if not layers:
        raise DocumentError(f"no document applies to `{settings.site.organization}`: everything would be denied")
    yield "layers", ", ".join(layer.label for layer in layers)
    directory = directory_of(settings)
    yield "directory", f"{len(directory.entities)} people and systems"
    authorities = identifiers_of(settings).systems
    if not authorities:
        hint = "name it in [site] assigning_authority, or in [fhir] identifier_systems"
        raise DocumentError("no assigning authority is known: no patient could be recognised", hint=hint)
    yield "patients", f"assigning authorities {', '.join(authorities)}"
    resolver_of(settings, directory, lambda: datetime.now(settings.zone))
    yield "identity", f"{len(settings.identity.issuers)} token issuers"
    for name, section in settings.listening():
        tls_of(settings, section.tls)
        yield name, f"{section.listen}, {'TLS' if section.tls else 'clear text'}"
