"""Keep pynetdicom from writing identifiers of patients into logs.

By default it logs every request and response identifier at INFO and dumps
messages at DEBUG. Both are switched off for the whole process, and its loggers
are set to WARNING, so that a handler on the root logger sees neither.
"""

from __future__ import annotations

import logging

__all__ = ["LOGGERS", "hush"]

LOGGERS = ("pynetdicom", "pydicom")


def hush() -> None:
    """Idempotent; call before the first association."""
    from pynetdicom import _config

    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
