"""`spir hl7`: send messages, and look at those a gateway has received."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from pathlib import Path

from adapters.backbone.inbox import find_messages, get_message
from adapters.backbone.schema import connect_reader
from adapters.commands.output import FINDING, OK, say
from adapters.hl7v2.sender import send as send_messages
from adapters.settings import Address, address, load
from spir.errors import RequestError

__all__ = ["listed", "send", "show"]


def send(arguments: Namespace) -> int:
    """Send each file as one message, in order, waiting for each acknowledgement; 0 only if all were accepted."""
    where = _target(arguments)
    bodies = [_body(name) for name in arguments.files]
    acknowledgements = asyncio.run(send_messages(where.host, where.port, bodies))
    texts = [answer.decode("utf-8", "replace") for answer in acknowledgements]
    codes = [_code(text) for text in texts]
    data = [
        {"file": name, "code": code, "acknowledgement": text}
        for name, code, text in zip(arguments.files, codes, texts, strict=True)
    ]
    say(arguments, data, (f"{one['file']}: {one['code']}\n" + _indented(one["acknowledgement"]) for one in data))
    return OK if all(code in ("AA", "CA") for code in codes) else FINDING


def listed(arguments: Namespace) -> int:
    connection = connect_reader(load(Path(arguments.config)).database)
    found = find_messages(connection, state=arguments.state, limit=arguments.limit)
    data = [
        {
            "number": one.sequence,
            "source": one.source,
            "control_id": one.control_id,
            "kind": one.kind,
            "state": one.state,
            "answered": one.ack,
            "received": one.received.isoformat(),
            "times": one.times,
            "bytes": one.size,
        }
        for one in found
    ]
    say(
        arguments,
        data,
        (
            f"{one['number']:>6}  {one['received']}  {one['source']:12} {one['kind']:12} {one['control_id']:16} "
            f"{one['state']:10} {one['answered']}"
            for one in data
        ),
    )
    return OK


def show(arguments: Namespace) -> int:
    found = get_message(connect_reader(load(Path(arguments.config)).database), arguments.number)
    if found is None or found.body is None:
        raise RequestError(f"there is no message {arguments.number}", hint="see `spir hl7 list`")
    text = found.body.decode("utf-8", "replace")
    data = {"number": found.sequence, "kind": found.kind, "state": found.state, "body": text}
    say(arguments, data, text.replace("\r\n", "\r").rstrip("\r").split("\r"))
    return OK


def _target(arguments: Namespace) -> Address:
    if arguments.to:
        return address(arguments.to)
    settings = load(Path(arguments.config))
    if settings.hl7v2 is None:
        raise RequestError("the configuration has no [hl7v2] listener", hint="give --to host:port")
    return address(settings.hl7v2.listen)


def _body(name: str) -> bytes:
    """A message as a file holds it: line ends of editors become the segment separators of HL7."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise RequestError(f"`{name}` cannot be read", hint=str(error)) from error
    return data if b"\r" in data else data.replace(b"\n", b"\r")


def _code(text: str) -> str:
    return next((s.split("|")[1] for s in text.split("\r") if s.startswith("MSA|") and s.count("|") > 1), "none")


def _indented(text: str) -> str:
    return "\n".join(f"    {segment}" for segment in text.strip("\r").split("\r"))
