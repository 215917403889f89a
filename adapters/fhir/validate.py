"""Optional check of what is written, by the models of fhir.resources (extra `fhir`).

They are those of R4B and reject a few valid R4 resources, so the check is off
unless the site switches it on. Only where something is wrong is said, and what
kind of wrong; never a value.
"""

from __future__ import annotations

from importlib import import_module

from spir.errors import Unavailable

__all__ = ["check"]

MAX_SAID = 3  # places named in one message


def check(type: str, raw: bytes) -> str | None:
    """None for a valid resource of this type, else where it is wrong. Raises Unavailable without the extra."""
    try:
        model = getattr(import_module(f"fhir.resources.R4B.{type.lower()}"), type)
        from pydantic import ValidationError
    except ImportError as error:
        raise Unavailable("writes cannot be validated", hint="install spir-suite[fhir]") from error
    try:
        model.model_validate_json(raw)
    except ValidationError as error:
        places = [f"{'.'.join(str(step) for step in item['loc'])} ({item['type']})" for item in error.errors()]
        return ", ".join(places[:MAX_SAID])
    return None
