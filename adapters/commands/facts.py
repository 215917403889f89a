"""`spir facts`: what a gateway knows now, and what it learns. Read from its database, beside it."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw

from adapters.backbone.ledger import restored
from adapters.backbone.schema import connect_reader
from adapters.commands.output import FINDING, OK, say
from adapters.settings import Settings, load
from spir.embed import default_vocabulary
from spir.errors import RequestError
from spir.language.document import read_documents
from spir.model.facts import Fact, Key, Snapshot
from spir.model.value import thaw

__all__ = ["get", "watch"]

PAUSE = 0.1  # seconds between looks at the database; a look that finds nothing new reads one number


def get(arguments: Namespace) -> int:
    """The facts about one patient or member of staff; without a key, who there are facts about."""
    settings = load(Path(arguments.config))
    snapshot = _snapshot(settings)
    if not arguments.key:
        keys = sorted(":".join(key) for key in snapshot.every_key())
        say(arguments, keys, keys or ["no facts yet"])
        return OK
    key = _key(arguments.key)
    found = snapshot.facts(key)
    doubt = key in snapshot.doubted
    data = {"key": arguments.key, "in_doubt": doubt, "revision": snapshot.revision, "facts": [_json(f) for f in found]}
    say(arguments, data, _lines(found, doubt))
    return OK if found else FINDING


def watch(arguments: Namespace) -> int:
    """Print every fact that changes, until interrupted or `--count` have been printed."""
    settings = load(Path(arguments.config))
    wanted = _key(arguments.key) if arguments.key else None
    before = _all(_snapshot(settings), wanted)
    shown = 0
    for snapshot in _revisions(settings):
        after = _all(snapshot, wanted)
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                _print(arguments, name, before.get(name), after.get(name))
                shown += 1
                if arguments.count and shown >= arguments.count:
                    return OK
        before = after
    return OK


def _revisions(settings: Settings) -> Iterator[Snapshot]:
    connection = connect_reader(settings.database)
    seen = _version(connection)
    while True:
        time.sleep(PAUSE)
        version = _version(connection)
        if version != seen:
            seen = version
            yield _snapshot(settings)


def _version(connection: apsw.Connection) -> int:
    return int(connection.pragma("data_version"))


def _snapshot(settings: Settings) -> Snapshot:
    connection = connect_reader(settings.database)
    try:
        joins = read_documents({}, vocabulary_text=default_vocabulary()).vocabulary.joins()
        return restored(connection, joins).snapshot
    finally:
        connection.close()


def _key(text: str) -> Key:
    kind, colon, id = text.partition(":")
    if "|" in text.partition(":")[0] or not colon:
        kind, id = "patient", text
    if not id or kind not in ("patient", "staff"):
        raise RequestError("this is not a key of facts", hint="write HIS|P001, or staff:dr.li")
    return kind, id


def _all(snapshot: Snapshot, wanted: Key | None) -> dict[tuple[str, str, str, str], Any]:
    keys = [wanted] if wanted else list(snapshot.every_key())
    return {(*fact.key, fact.attribute, fact.part): thaw(fact.value) for key in keys for fact in snapshot.facts(key)}


def _json(fact: Fact) -> dict[str, Any]:
    return {
        "attribute": fact.attribute,
        "value": thaw(fact.value),
        "part": fact.part,
        "source": fact.source,
        "as_of": fact.as_of.isoformat(),
        "valid_from": fact.valid_from.isoformat() if fact.valid_from else None,
        "valid_until": fact.valid_until.isoformat() if fact.valid_until else None,
    }


def _lines(found: tuple[Fact, ...], doubt: bool) -> Iterator[str]:
    if doubt:
        yield "in doubt: a message that could not be applied may have taken access away; nothing here is used"
    for fact in found:
        place = f" ({fact.part})" if fact.part else ""
        yield f"{fact.attribute:18} {thaw(fact.value)}{place}   from {fact.source}, as of {fact.as_of.isoformat()}"
    if not found:
        yield "no facts"


def _print(arguments: Namespace, name: tuple[str, str, str, str], before: Any, after: Any) -> None:
    kind, id, attribute, part = name
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    data = {"time": now, "key": f"{kind}:{id}", "attribute": attribute, "part": part, "before": before, "after": after}
    say(arguments, data, [f"{now}  {kind}:{id}  {attribute} ({part}): {before} -> {after}"])
