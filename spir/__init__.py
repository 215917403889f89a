"""SPIR: one access policy for HL7 v2, DICOM and FHIR. This package is the core: pure, no I/O.

Embedders need two names: `from spir import Engine, Request`. They are loaded
when first used, so that importing a part of the core stays cheap.
"""

from typing import Any

__all__ = ["Engine", "Request"]


def __getattr__(name: str) -> Any:
    if name == "Engine":
        from spir.embed import Engine

        return Engine
    if name == "Request":
        from spir.model.request import Request

        return Request
    raise AttributeError(f"module `spir` has no attribute `{name}`")
