"""`spir serve` and `spir demo`: run the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from argparse import Namespace
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import anyio

from adapters.commands.output import FINDING, OK
from adapters.settings import Settings, load
from spir.errors import RequestError

__all__ = ["demo", "serve"]

SWITCH = 0.0002  # seconds; measured: 20-65 % less time for each message than with the default
STOPPING = (signal.SIGTERM, signal.SIGINT)
NAMES = {"dicom": "dicom", "hl7": "hl7v2", "hl7v2": "hl7v2", "fhir": "fhir", "pdp": "pdp"}


def serve(arguments: Namespace) -> int:
    """Until SIGTERM or SIGINT. SIGHUP reads the policies again; what cannot be read leaves the old ones in force."""
    _log()
    settings = load(Path(arguments.config))
    _run(_serve(settings, _only(arguments.only)))
    return OK


def demo(arguments: Namespace) -> int:
    from adapters.demo import play

    with contextlib.suppress(KeyboardInterrupt):
        return FINDING if _run(play(Path(arguments.data), arguments.once)) else OK
    return OK


async def _serve(settings: Settings, only: frozenset[str]) -> None:
    from adapters.compose import Gateway

    # The writer's thread hands each commit back to the event loop: the default of 5 ms is how long it may wait to.
    sys.setswitchinterval(SWITCH)
    # Before the gateway opens: a signal that comes while it starts must stop it, not kill it.
    with anyio.open_signal_receiver(*STOPPING, signal.SIGHUP) as signals:
        gateway = await Gateway.open(settings)
        try:
            await gateway.start(only)
            # What is there now stays: the collector need not look through it again, while a decision waits.
            gc.collect()
            gc.freeze()
            for name, port in sorted(gateway.ports.items()):
                print(f"spir: {name} listens on port {port}", flush=True)
            async for number in signals:
                if number in STOPPING:
                    break
                gateway.reload()
        finally:
            with anyio.CancelScope(shield=True):
                await gateway.stop()


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """On uvloop where there is one: the proxies move bulk bytes."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _only(text: str) -> frozenset[str]:
    """The listeners that were asked for; all if none were named."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            raise RequestError(f"there is no listener `{name}`", hint=f"choose among {', '.join(sorted(NAMES))}")
    return frozenset(NAMES[name] for name in names)


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Peers' libraries log identifiers at INFO; none of them is in the data path, and none of them speaks here.
    for name in ("pynetdicom", "pydicom", "aiohttp", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
