"""The adapter's one error of content. (Framing has its own: there, no message is left to answer.)"""

from __future__ import annotations

from spir.errors import PeerError

__all__ = ["MessageError"]


class MessageError(PeerError):
    """The sender's: a message cannot be read, or lacks what we need of it.

    `code` is of table 0357; `where` a place as ERR-2 gives it, `PV1^1^19`.
    Neither they nor the text hold anything of the message's content.
    """

    def __init__(self, message: str, *, code: int = 102, where: str = "", hint: str = "", clause: str = "") -> None:
        super().__init__(message, hint=hint, clause=clause)
        self.code = code
        self.where = where
