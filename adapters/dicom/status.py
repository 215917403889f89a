"""DIMSE statuses that we answer with, and which error becomes which.

Sources: PS3.7 annex C; PS3.4 tables B.2-1 (C-STORE), C.4-1 (C-FIND), C.4-2 (C-MOVE), C.4-3 (C-GET).

A denial is 0x0124 where the service defines it (C-STORE, C-MOVE, C-GET). C-FIND
does not: there the default is success without rows, which tells nobody that
there was something to hide.
"""

from __future__ import annotations

from enum import IntEnum

from adapters.dicom.elements import DatasetError
from adapters.dicom.tables import Service
from spir.errors import SpirError

__all__ = ["COMMENT_MAX", "IdentifierError", "Status", "comment", "is_failure", "is_warning", "status_of"]

COMMENT_MAX = 64  # Error Comment (0000,0902) is LO


class Status(IntEnum):
    SUCCESS = 0x0000
    NOT_AUTHORISED = 0x0124  # PS3.7 annex C; in the lists of C-STORE, C-GET and C-MOVE
    UNRECOGNISED_OPERATION = 0x0211  # PS3.7 annex C
    SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 annex C
    OUT_OF_RESOURCES = 0xA700  # C-STORE, C-FIND
    UNABLE_TO_COUNT = 0xA701  # C-MOVE, C-GET
    UNABLE_TO_SUBOPERATE = 0xA702  # C-MOVE, C-GET
    DESTINATION_UNKNOWN = 0xA801  # C-MOVE
    MISMATCH = 0xA900  # identifier or data set does not match the SOP class
    SOME_FAILED = 0xB000  # C-MOVE, C-GET: complete, one or more failures or warnings
    UNABLE_TO_PROCESS = 0xC000
    CANCELLED = 0xFE00
    PENDING = 0xFF00
    PENDING_KEYS_IGNORED = 0xFF01  # C-FIND: an optional key was not supported


class IdentifierError(DatasetError):
    """The client's: the identifier breaks the rules of its information model (status 0xA900)."""


def is_failure(status: int) -> bool:
    """Neither success, warning, cancel nor pending (PS3.7 annex C)."""
    return status not in (Status.SUCCESS, Status.CANCELLED) and status >> 8 != 0xFF and not is_warning(status)


def is_warning(status: int) -> bool:
    return status >> 12 == 0xB or status in (0x0001, 0x0107, 0x0116)


def status_of(error: SpirError, service: Service) -> Status:
    """The status for an error. What is not the client's fault is transient: a modality may try again."""
    if isinstance(error, IdentifierError):
        return Status.MISMATCH
    if isinstance(error, DatasetError):
        return Status.UNABLE_TO_PROCESS
    return Status.UNABLE_TO_SUBOPERATE if service in (Service.MOVE, Service.GET) else Status.OUT_OF_RESOURCES


def comment(error: SpirError) -> str:
    """The error's own words, cut to what an Error Comment holds. Our messages contain no identifiers."""
    return error.message[:COMMENT_MAX]
