"""The requests of a box as people speak of them: operations first, then where, then the rest."""

from __future__ import annotations

from collections.abc import Mapping

from spir.assurance.proof.box import Box
from spir.assurance.proof.domain import Choice, Domain
from spir.assurance.proof.scope import CATEGORY, TYPE, VERB
from spir.assurance.proof.terms import ORGANIZATION

__all__ = ["words"]

# So many names are said; of more, how many they are.
SHOWN = 4

OPERATION = (VERB, TYPE, CATEGORY)


def words(box: Box, places: Mapping[Domain, str]) -> str:
    """As in `read:report, role is intern, sensitivity 1 to 2, in cn/zj`. `places` are known jurisdictions."""
    said = {name: domain for name, domain in box.domains.items() if name not in (*OPERATION, ORGANIZATION)}
    rest = {name: _possible(domain, box.world.universe(name)) for name, domain in said.items()}
    parts = [_operation(box), Box(box.world, rest, box.relations).words()]
    organization = box.domains.get(ORGANIZATION)
    if organization is not None:
        known = places.get(organization)
        parts.append(organization.words("organization") if known is None else f"in {known}")
    return ", ".join(part for part in parts if part)


def _operation(box: Box) -> str:
    if not any(variable in box.domains for variable in OPERATION):
        return ""
    category = box.domains.get(CATEGORY)
    parts = [_names(box.domains.get(variable)) for variable in (VERB, TYPE)]
    parts += [_names(category)] if category is not None and not _open(category) else []
    left_out = f" ({category.words('category')})" if category is not None and _open(category) else ""
    return ":".join(parts) + left_out


def _possible(domain: Domain, universe: Domain) -> Domain:
    """Without the mention of values that cannot be anyway: `not nurse` instead of `neither nurse nor empty`."""
    if not isinstance(domain, Choice) or not domain.others:
        return domain
    return Choice(frozenset(value for value in domain.values if value in universe), True, domain.absent)


def _open(category: Domain) -> bool:
    """Whether there are more categories than can be named, or none at all may be meant."""
    return not isinstance(category, Choice) or category.others or category.absent


def _names(domain: Domain | None) -> str:
    if not isinstance(domain, Choice) or domain.others:
        return "*"
    names = sorted(map(str, domain.values))
    return "/".join(names) if len(names) <= SHOWN else f"({len(names)} of them)"
