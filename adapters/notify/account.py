"""The audit event of a delivery that is over. Pure; patients go where the journal digests them, nowhere else."""

from __future__ import annotations

from datetime import datetime

from adapters.notify.channel import Channel, Webhook
from adapters.notify.notice import read
from adapters.notify.port import Parcel
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = ["GATEWAY", "finished"]

GATEWAY = "spir"  # who delivers: we ourselves, whoever caused it


def finished(
    parcel: Parcel, channel: Channel | None, *, delivered: bool, tries: int, problem: str, now: datetime
) -> AuditEvent:
    """`tries` counts all attempts; `problem` is our own words. `operation` is as `notify:alert`."""
    notification = parcel.notification
    notice = read(notification)
    detail: dict[str, object] = {
        "notification": parcel.id,
        "channel": notification.channel,
        "state": "delivered" if delivered else "dead",
        "attempts": tries,
        "seconds": max(int((now - parcel.created).total_seconds()), 0),
    }
    if notice.operation:
        detail["caused_by"] = notice.operation
    if problem:
        detail["problem"] = problem
    return AuditEvent(
        time=now,
        kind=EventKind.NOTIFICATION,
        protocol="spir" if channel is None or isinstance(channel, Webhook) else "fhir",
        operation=f"{notification.kind}:{notification.channel}",
        subject=GATEWAY,
        outcome=Outcome.SUCCESS if delivered else Outcome.ERROR,
        patients=notice.patients,
        detail=detail,
    )
