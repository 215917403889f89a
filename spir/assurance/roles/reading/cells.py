"""What the cells of a row say together: which permission, whether it is allowed, and whether the row still holds."""

from __future__ import annotations

from collections.abc import Mapping

from spir.assurance.roles.reading.columns import truth
from spir.errors import DocumentError, Location

__all__ = ["active_in", "allows", "permission_in"]


def permission_in(cells: Mapping[str, str], at: Location) -> str | None:
    """The permission as the export names it; of an action and a resource, both of them."""
    permission, action, resource = cells.get("permission"), cells.get("action"), cells.get("resource")
    if permission is not None and (action or resource):
        raise DocumentError("this row names a permission, and an action or a resource beside it", location=at)
    if resource is not None and action is None:
        raise DocumentError("this row names a resource, and no action on it", location=at)
    return f"{action}:{resource}" if resource is not None else permission or action


def allows(cells: Mapping[str, str], at: Location) -> bool:
    if "effect" in cells and "denied" in cells:
        raise DocumentError("one column says what is allowed and another what is denied", location=at)
    if "denied" in cells:
        return not truth("denied", cells["denied"], at)
    return truth("effect", cells["effect"], at) if "effect" in cells else True


def active_in(cells: Mapping[str, str], at: Location) -> bool | None:
    """None where nothing is said."""
    if "active" in cells and "revoked" in cells:
        raise DocumentError("one column says what is active and another what is revoked", location=at)
    if "revoked" in cells:
        return not truth("revoked", cells["revoked"], at)
    return truth("active", cells["active"], at) if "active" in cells else None
