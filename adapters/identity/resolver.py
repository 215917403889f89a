"""Who it is: from what a peer showed to an entity of the directory. Pure: time is passed in.

The strongest thing that was shown decides, and nothing that was shown may be
wrong: a bad token is not made good by a good address. Properties come from
the directory and from verified credentials, never from what a peer says of
itself.

| protocol | in this order |
|---|---|
| fhir, pdp | access token; bound to the client certificate where it says so |
| dicom | certificate of the directory; access token (user identity type 5); AE title with its address |
| hl7v2 | application and facility with their address, and certificate where one is demanded |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from adapters.identity.bearer import Bearer, Claims
from adapters.identity.certificate import Certificate, check_binding, read_certificate
from adapters.identity.directory import Directory
from adapters.identity.place import Peer, Source, matching
from adapters.identity.scope import granted
from spir.errors import Unauthenticated
from spir.exchange import Credentials, Identity, UserIdentity
from spir.model.request import EMPTY, Entity
from spir.model.value import Value

__all__ = ["Resolver", "ResolverConfig"]


@dataclass(frozen=True, slots=True)
class ResolverConfig:
    """`bound_tokens`: refuse access tokens that are not bound to a client certificate."""

    peers: Sequence[Peer] = ()
    sources: Sequence[Source] = ()
    bound_tokens: bool = False


@dataclass(frozen=True, slots=True)
class _Shown:
    """What was shown, as far as it has been verified."""

    credentials: Credentials
    certificate: Certificate | None
    now: datetime


class Resolver:
    """`directory` may be replaced at any time; the next connection sees the new one."""

    def __init__(
        self, directory: Directory, bearer: Bearer | None, config: ResolverConfig, now: Callable[[], datetime]
    ) -> None:
        self.directory = directory
        self._bearer = bearer
        self._config = config
        self._now = now

    def staff(self, authority: str, value: str) -> str | None:
        """The staff id behind a name elsewhere, as `Services.staff`."""
        return self.directory.staff(authority, value)

    def identify(self, credentials: Credentials) -> Identity:
        """Raises Unauthenticated, and nothing else, for whatever was shown."""
        shown = _Shown(credentials, self._certificate(credentials.certificate), self._now())
        match credentials.protocol:
            case "fhir" | "pdp":
                return self._by_token(credentials.bearer, shown, "bearer")
            case "dicom":
                return self._dicom(shown)
            case "hl7v2":
                return self._hl7v2(shown)
            case _:
                raise Unauthenticated("nobody is known under this protocol")

    def _certificate(self, der: bytes) -> Certificate | None:
        if not der:
            return None
        found = read_certificate(der)
        if not found.begins <= self._now() <= found.ends:
            raise Unauthenticated("the client certificate is not valid now")
        return found

    def _by_token(self, token: str, shown: _Shown, method: str) -> Identity:
        if self._bearer is None:
            raise Unauthenticated("access tokens are not accepted", hint="no issuer is configured")
        if not token:
            raise Unauthenticated("no access token was shown", clause="RFC 6750 3")
        claims = self._bearer.verify(token, shown.now)
        check_binding(claims.confirmation, shown.certificate, self._config.bound_tokens)
        entity = self._holder(claims, self._bearer.single)
        return _identity(entity, method, shown, claims)

    def _holder(self, claims: Claims, single: bool) -> Entity:
        """The entry a token speaks for; a subject's bare name counts only if no other issuer could mean another."""
        found = self.directory.find("tokens", f"{claims.issuer}|{claims.subject}")
        if found is None and single:
            found = self.directory.find("tokens", claims.subject)
        if found is None:
            raise Unauthenticated("the token's subject is not in the directory")
        return found

    def _dicom(self, shown: _Shown) -> Identity:
        user = shown.credentials.user_identity
        token = self._of_user(user, shown) if user is not None and user.type == 5 else None
        peer = matching(self._config.peers, shown.credentials.ae_title, shown.credentials.address, shown.certificate)
        if user is not None and user.type != 5:
            return self._vouched(user, peer, shown)
        listed = self._listed(shown.certificate)
        if listed is not None:
            if token is not None and token.subject.type == listed.type and token.subject.id != listed.id:
                raise Unauthenticated("the certificate and the token are of different holders")
            return _identity(listed, "certificate", shown)
        if token is not None:
            return token
        if peer is None:
            raise Unauthenticated("this AE title is not known at this address", clause="PS3.8 9.3.2")
        entity = self.directory.find("ae_titles", peer.ae_title) or Entity("system", peer.ae_title, EMPTY)
        return _identity(entity, "ae-title", shown)

    def _of_user(self, user: UserIdentity, shown: _Shown) -> Identity:
        try:
            token = user.primary.decode("ascii")
        except UnicodeDecodeError as error:
            raise Unauthenticated("the user identity holds no token", clause="PS3.7 D.3.3.7") from error
        return self._by_token(token, shown, "user-identity")

    def _vouched(self, user: UserIdentity, peer: Peer | None, shown: _Shown) -> Identity:
        """A user's bare name (type 1), on the word of a node that is trusted to have asked for the password."""
        if user.type != 1 or peer is None or not peer.vouches:
            raise Unauthenticated(
                f"user identity of type {user.type} proves nothing here",
                hint="use a token (type 5) or a certificate",
                clause="PS3.7 D.3.3.7",
            )
        entity = self.directory.entities.get(user.primary.decode("utf-8", "replace"))
        if entity is None or entity.type != "person":
            raise Unauthenticated("the named user is not in the directory")
        return _identity(entity, "vouched", shown)

    def _listed(self, certificate: Certificate | None) -> Entity | None:
        """The one entry that lists this certificate, by whatever name."""
        names = certificate.names if certificate is not None else ()
        found = {entity.id: entity for name in names if (entity := self.directory.find("certificates", name))}
        if len(found) > 1:
            raise Unauthenticated("the client certificate belongs to several entries of the directory")
        return next(iter(found.values()), None)

    def _hl7v2(self, shown: _Shown) -> Identity:
        given = shown.credentials
        for source in self._config.sources:
            if source.application != given.application or source.facility not in ("", given.facility):
                continue
            if source.place.admits(given.address, shown.certificate):
                return _identity(self._system(source), "source", shown)
        raise Unauthenticated("this sending application is not known at this address")

    def _system(self, source: Source) -> Entity:
        for name in source.names:
            found = self.directory.find("hl7v2", name)
            if found is not None and found.type == "system":
                return found
        return Entity("system", source.application, EMPTY)


def _identity(entity: Entity, method: str, shown: _Shown, claims: Claims | None = None) -> Identity:
    """With what the credentials prove; it ends when the first of them does."""
    properties: dict[str, Value] = dict(entity.properties)
    ends = []
    if claims is not None:
        ends.append(claims.expires)
        properties["scopes"] = claims.scopes
        properties["permissions"] = _permissions(properties.get("permissions", ()), granted(claims.scopes))
    if shown.certificate is not None:
        ends.append(shown.certificate.ends)
        properties["certificate"] = shown.certificate.fingerprint
        if shown.certificate.spiffe:
            properties["spiffe"] = shown.certificate.spiffe
    subject = Entity(entity.type, entity.id, MappingProxyType(properties))
    return Identity(subject, method, min(ends, default=None))


def _permissions(own: Value, more: Sequence[str]) -> tuple[Value, ...]:
    given = own if isinstance(own, tuple) else ()
    return tuple(dict.fromkeys((*given, *more)))
