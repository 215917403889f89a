"""Network addresses of peers: written as an address or a network, compared as what they are.

An IPv4 address inside IPv6 (`::ffff:10.1.2.3`) counts as itself; a zone
(`fe80::1%eth0`) says nothing about who somebody is and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from spir.errors import DocumentError

__all__ = ["Network", "lies_in", "networks_of"]

Network: TypeAlias = IPv4Network | IPv6Network


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks (CIDR). Raises DocumentError, also for `10.0.0.1/8`, which may mean two things."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as error:
            hint = "write 10.1.2.3 or 10.1.0.0/16"
            raise DocumentError(f"`{text}` is neither an address nor a network", hint=hint) from error
    return tuple(found)


def lies_in(address: str, networks: Iterable[Network]) -> bool:
    """Whether the address is in one of the networks; what is no address is in none."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)
