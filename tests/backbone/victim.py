"""A gateway that commits and says on its output what is durable, until somebody kills it.

Run as a program: the database's folder is its argument. Each line it writes
is the number of a commit that has come back.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters.audit.journal import Journal
from adapters.audit.pseudonym import Pseudonyms
from adapters.backbone.embedded import Embedded
from spir.exchange import Keep, Learn, Notification, Notify, Record
from spir.model.facts import Assert, Fact
from spir.record.event import AuditEvent, EventKind, Outcome

START = datetime(2026, 11, 21, tzinfo=UTC)
CALLERS = 4


def items(number: int) -> tuple[Keep, Learn, Record, Notify]:
    patient = f"HIS|P{number}"
    event = AuditEvent(
        START,
        EventKind.MESSAGE,
        "hl7v2",
        "update:encounter:admit",
        "HIS",
        Outcome.SUCCESS,
        (patient,),
        detail={"sequence": number},
    )
    moment = START + timedelta(seconds=number)
    return (
        Keep("HIS", str(number), "ADT^A01", f"MSH|{number}".encode()),
        Learn((Assert(Fact(("patient", patient), "care_team", (f"dr.{number}",), "HIS", moment, "visit:V1")),)),
        Record(event),
        Notify(Notification("alert", "notify", "high", {"number": number})),
    )


async def main(folder: Path) -> None:
    journal = Journal(Pseudonyms(bytes(32)))
    database = Embedded.open(folder / "spir.db", journal.append, prepare=[journal.prepare])
    first = database.facts.snapshot.revision * 1000  # never the numbers of a life before
    os.write(1, b"ready\n")

    async def call(caller: int) -> None:
        number = first + caller
        while True:
            await database.commit(items(number))
            os.write(1, f"{number}\n".encode())
            number += CALLERS

    await asyncio.gather(*(call(caller) for caller in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
