"""The fence around the sandbox: everything in it serves invented data, on this machine only.

Each stand-in calls `fence` before it opens a socket. It refuses to run without
the explicit `sandbox=True`, and refuses any address that is not loopback, so
that none of them can end up in front of patients by a slip of configuration.
"""

from __future__ import annotations

import ipaddress

from spir.errors import SpirError

__all__ = ["OutsideSandbox", "fence"]


class OutsideSandbox(SpirError):
    """A stand-in was started as if it were the real thing."""


def fence(what: str, host: str, sandbox: bool) -> None:
    """Raises OutsideSandbox unless `sandbox` is True and `host` is a loopback address (a literal, not a name)."""
    if sandbox is not True:
        raise OutsideSandbox(f"the {what} runs in the sandbox only", hint="pass sandbox=True in a demo or a test")
    if not _is_loopback(host):
        raise OutsideSandbox(f"the {what} does not listen on `{host}`", hint="use 127.0.0.1 or ::1")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
