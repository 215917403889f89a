"""The upper layer's state machine as one table (PS3.8 9.2, Tables 9-1 to 9-10).

`TABLE` gives the action for a cue in a state; what is not in it cannot happen. `EFFECTS` says what an
action leaves behind. The standard's code stands beside each of our names. `association` runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["EFFECTS", "TABLE", "Action", "Cue", "Effect", "State"]


class State(Enum):
    IDLE = "Sta1"
    AWAITING_REQUEST = "Sta2"
    AWAITING_DECISION = "Sta3"
    CONNECTING = "Sta4"
    AWAITING_ANSWER = "Sta5"
    READY = "Sta6"
    AWAITING_RELEASE = "Sta7"
    RELEASING = "Sta8"
    COLLISION_REQUESTOR_REPLIES = "Sta9"
    COLLISION_ACCEPTOR_WAITS = "Sta10"
    COLLISION_REQUESTOR_WAITS = "Sta11"
    COLLISION_ACCEPTOR_REPLIES = "Sta12"
    AWAITING_CLOSE = "Sta13"


class Cue(Enum):
    """What happens to an association (the events of Table 9-10)."""

    REQUEST_WANTED = "Evt1"
    CONNECTED = "Evt2"
    ACCEPT_ARRIVED = "Evt3"
    REJECT_ARRIVED = "Evt4"
    CONNECTION_ARRIVED = "Evt5"
    REQUEST_ARRIVED = "Evt6"
    ACCEPT_WANTED = "Evt7"
    REJECT_WANTED = "Evt8"
    DATA_WANTED = "Evt9"
    DATA_ARRIVED = "Evt10"
    RELEASE_WANTED = "Evt11"
    RELEASE_ARRIVED = "Evt12"
    RELEASE_REPLY_ARRIVED = "Evt13"
    RELEASE_REPLY_WANTED = "Evt14"
    ABORT_WANTED = "Evt15"
    ABORT_ARRIVED = "Evt16"
    TRANSPORT_CLOSED = "Evt17"
    ARTIM_EXPIRED = "Evt18"
    INVALID_ARRIVED = "Evt19"


class Action(Enum):
    CONNECT = "AE-1"
    SEND_REQUEST = "AE-2"
    CONFIRM_ACCEPT = "AE-3"
    CONFIRM_REJECT = "AE-4"
    AWAIT_REQUEST = "AE-5"
    INDICATE_REQUEST = "AE-6"
    SEND_ACCEPT = "AE-7"
    SEND_REJECT = "AE-8"
    SEND_DATA = "DT-1"
    INDICATE_DATA = "DT-2"
    SEND_RELEASE = "AR-1"
    INDICATE_RELEASE = "AR-2"
    CONFIRM_RELEASE = "AR-3"
    SEND_RELEASE_REPLY = "AR-4"
    END = "AR-5"
    INDICATE_LATE_DATA = "AR-6"
    SEND_LATE_DATA = "AR-7"
    INDICATE_COLLISION = "AR-8"
    SEND_COLLISION_REPLY = "AR-9"
    CONFIRM_COLLISION = "AR-10"
    SEND_ABORT = "AA-1"
    CLOSE = "AA-2"
    INDICATE_ABORT = "AA-3"
    INDICATE_LOSS = "AA-4"
    FORGET = "AA-5"
    IGNORE = "AA-6"
    ABORT_AGAIN = "AA-7"
    ABORT_VIOLATION = "AA-8"


@dataclass(frozen=True, slots=True)
class Effect:
    """What an action leaves behind: the next state (None: unchanged), whether ARTIM runs (None:
    unchanged), and whether the transport is to be closed."""

    state: State | None
    artim: bool | None = None
    close: bool = False


EFFECTS: dict[Action, Effect] = {
    Action.CONNECT: Effect(State.CONNECTING),
    Action.SEND_REQUEST: Effect(State.AWAITING_ANSWER),
    Action.CONFIRM_ACCEPT: Effect(State.READY),
    Action.CONFIRM_REJECT: Effect(State.IDLE, close=True),
    Action.AWAIT_REQUEST: Effect(State.AWAITING_REQUEST, artim=True),
    Action.INDICATE_REQUEST: Effect(State.AWAITING_DECISION, artim=False),
    Action.SEND_ACCEPT: Effect(State.READY),
    Action.SEND_REJECT: Effect(State.AWAITING_CLOSE, artim=True),
    Action.SEND_DATA: Effect(State.READY),
    Action.INDICATE_DATA: Effect(State.READY),
    Action.SEND_RELEASE: Effect(State.AWAITING_RELEASE),
    Action.INDICATE_RELEASE: Effect(State.RELEASING),
    Action.CONFIRM_RELEASE: Effect(State.IDLE, close=True),
    Action.SEND_RELEASE_REPLY: Effect(State.AWAITING_CLOSE, artim=True),
    Action.END: Effect(State.IDLE, artim=False),
    Action.INDICATE_LATE_DATA: Effect(State.AWAITING_RELEASE),
    Action.SEND_LATE_DATA: Effect(State.RELEASING),
    Action.INDICATE_COLLISION: Effect(None),  # Sta9 for the requestor, Sta10 for the acceptor
    Action.SEND_COLLISION_REPLY: Effect(State.COLLISION_REQUESTOR_WAITS),
    Action.CONFIRM_COLLISION: Effect(State.COLLISION_ACCEPTOR_REPLIES),
    Action.SEND_ABORT: Effect(State.AWAITING_CLOSE, artim=True),
    Action.CLOSE: Effect(State.IDLE, artim=False, close=True),
    Action.INDICATE_ABORT: Effect(State.IDLE, close=True),
    Action.INDICATE_LOSS: Effect(State.IDLE),
    Action.FORGET: Effect(State.IDLE, artim=False),
    Action.IGNORE: Effect(State.AWAITING_CLOSE),
    Action.ABORT_AGAIN: Effect(State.AWAITING_CLOSE),
    Action.ABORT_VIOLATION: Effect(State.AWAITING_CLOSE, artim=True),
}

_STATES = list(State)
_OPEN = _STATES[5:12]  # Sta6 to Sta12


def _row(cue: Cue, usual: Action, final: Action, **others: Action) -> dict[tuple[Cue, State], Action]:
    """An incoming PDU: refused in Sta2 (AA-1), `usual` while an association exists, `final` in Sta13."""
    row = {(cue, state): usual for state in (State.AWAITING_DECISION, State.AWAITING_ANSWER, *_OPEN)}
    row |= {(cue, State.AWAITING_REQUEST): Action.SEND_ABORT, (cue, State.AWAITING_CLOSE): final}
    return row | {(cue, State(code)): action for code, action in others.items()}


_BROKEN = Action.ABORT_VIOLATION

TABLE: dict[tuple[Cue, State], Action] = {
    (Cue.REQUEST_WANTED, State.IDLE): Action.CONNECT,
    (Cue.CONNECTED, State.CONNECTING): Action.SEND_REQUEST,
    **_row(Cue.ACCEPT_ARRIVED, _BROKEN, Action.IGNORE, Sta5=Action.CONFIRM_ACCEPT),
    **_row(Cue.REJECT_ARRIVED, _BROKEN, Action.IGNORE, Sta5=Action.CONFIRM_REJECT),
    (Cue.CONNECTION_ARRIVED, State.IDLE): Action.AWAIT_REQUEST,
    **_row(Cue.REQUEST_ARRIVED, _BROKEN, Action.ABORT_AGAIN, Sta2=Action.INDICATE_REQUEST),
    (Cue.ACCEPT_WANTED, State.AWAITING_DECISION): Action.SEND_ACCEPT,
    (Cue.REJECT_WANTED, State.AWAITING_DECISION): Action.SEND_REJECT,
    (Cue.DATA_WANTED, State.READY): Action.SEND_DATA,
    (Cue.DATA_WANTED, State.RELEASING): Action.SEND_LATE_DATA,
    **_row(
        *(Cue.DATA_ARRIVED, _BROKEN, Action.IGNORE),
        Sta6=Action.INDICATE_DATA,
        Sta7=Action.INDICATE_LATE_DATA,
    ),
    (Cue.RELEASE_WANTED, State.READY): Action.SEND_RELEASE,
    **_row(
        *(Cue.RELEASE_ARRIVED, _BROKEN, Action.IGNORE),
        Sta6=Action.INDICATE_RELEASE,
        Sta7=Action.INDICATE_COLLISION,
    ),
    **_row(
        *(Cue.RELEASE_REPLY_ARRIVED, _BROKEN, Action.IGNORE),
        Sta7=Action.CONFIRM_RELEASE,
        Sta10=Action.CONFIRM_COLLISION,
        Sta11=Action.CONFIRM_RELEASE,
    ),
    (Cue.RELEASE_REPLY_WANTED, State.RELEASING): Action.SEND_RELEASE_REPLY,
    (Cue.RELEASE_REPLY_WANTED, State.COLLISION_REQUESTOR_REPLIES): Action.SEND_COLLISION_REPLY,
    (Cue.RELEASE_REPLY_WANTED, State.COLLISION_ACCEPTOR_REPLIES): Action.SEND_RELEASE_REPLY,
    (Cue.ABORT_WANTED, State.AWAITING_DECISION): Action.SEND_ABORT,
    (Cue.ABORT_WANTED, State.CONNECTING): Action.CLOSE,
    (Cue.ABORT_WANTED, State.AWAITING_ANSWER): Action.SEND_ABORT,
    **{(Cue.ABORT_WANTED, state): Action.SEND_ABORT for state in _OPEN},
    **_row(Cue.ABORT_ARRIVED, Action.INDICATE_ABORT, Action.CLOSE, Sta2=Action.CLOSE),
    **_row(
        *(Cue.TRANSPORT_CLOSED, Action.INDICATE_LOSS, Action.END),
        Sta2=Action.FORGET,
        Sta4=Action.INDICATE_LOSS,
    ),
    (Cue.ARTIM_EXPIRED, State.AWAITING_REQUEST): Action.CLOSE,
    (Cue.ARTIM_EXPIRED, State.AWAITING_CLOSE): Action.CLOSE,
    **_row(Cue.INVALID_ARRIVED, _BROKEN, Action.ABORT_AGAIN),
}
