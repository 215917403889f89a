"""One patient under three protocols: PID-3 with assigning authority, DICOM Patient ID with issuer,
FHIR identifier with system.

The canonical form is the text `authority|value`, as in `HIS|P001`; it is what
`resource.patient.id` holds in policies and facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PatientIdentifiers"]


@dataclass(frozen=True, slots=True)
class PatientIdentifiers:
    """The site's assigning authorities.

    `systems` maps an authority to its FHIR identifier system, which is also
    accepted as a DICOM issuer. `default` is the authority of identifiers that
    come without one ("" refuses to guess). `lenient` takes every authority
    under its own name: for tools that read files, never for a gateway.
    """

    systems: Mapping[str, str]
    default: str = ""
    lenient: bool = False

    def canonical(self, value: str, issuer: str = "") -> str | None:
        """`authority|value`, or None if the issuer is unknown or the value empty.

        `issuer` may be an authority, a FHIR system, or the OID inside `urn:oid:`.
        """
        value = value.strip()
        issuer = issuer.strip()
        if not value or "|" in value:
            return None
        authority = self.default if not issuer else self._authority(issuer)
        return f"{authority}|{value}" if authority else None

    def system(self, canonical: str) -> tuple[str, str] | None:
        """(FHIR system, value) of a canonical id; None if the authority has no system."""
        authority, _, value = canonical.partition("|")
        system = self.systems.get(authority)
        return (system, value) if system and value else None

    def value(self, canonical: str) -> str:
        """The bare value, as DICOM Patient ID (0010,0020) holds it."""
        return canonical.partition("|")[2]

    def authority(self, canonical: str) -> str:
        return canonical.partition("|")[0]

    def _authority(self, issuer: str) -> str:
        if issuer in self.systems:
            return issuer
        for authority, system in self.systems.items():
            if issuer in (system, system.removeprefix("urn:oid:")):
                return authority
        return issuer if self.lenient and "|" not in issuer else ""
