"""SHELL: policies and the directory come into force: read, checked, recorded, and only then swapped in.

What is in force is immutable and stays in force until its successor has passed
every gate; what fails one changes nothing and is shown as a problem. The
successor is built in a thread that yields to the event loop every fraction of
a millisecond, so that decisions go on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.bundles import Source, archive_of, read_kept, read_source, shelf_of
from adapters.gates.candidate import Candidate, Gate, Refused, version_of
from adapters.identity.directory import Directory
from adapters.parts import directory_of, rules_of
from adapters.retire import held, let_go
from adapters.settings import Settings
from adapters.yielding import finished, giving_way
from spir.embed import SUFFIXES, default_vocabulary, library_templates
from spir.engine.ruleset import RuleSet
from spir.errors import BundleError, DocumentError, SpirError, Unavailable
from spir.language.document import Documents, Library

__all__ = ["Event", "InForce", "Policies", "Prepare", "Stamps"]

log = logging.getLogger("spir.policies")

POLL, SETTLE = 0.5, 0.1  # seconds
LARGE = 500  # more policies than this are kept from the collector
LONGEST = 128  # characters of a problem in the trail

# Makes rules ready, a slice at a time; what the generator returns is `InForce.prepared`.
Prepare = Callable[[RuleSet], Generator[Any, None, Any]]

Stamps = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class InForce:
    """What one decision uses, all of it from one reading. `generation` is 0 where the documents are in folders."""

    documents: Documents
    rules: RuleSet
    directory: Directory
    prepared: Any = None
    generation: int = 0
    signer: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)  # of the gates, for the trail


@dataclass(frozen=True, slots=True)
class Event:
    """Something to record: `what` happened (policies, directory, policies-refused, directory-refused), and details."""

    what: str
    ok: bool
    detail: Mapping[str, Any] = field(default_factory=dict)


Record = Callable[[Event], Awaitable[Any]]


class Policies:
    """Policies and directory in force, and the way to the next.

    `load` once, before anything is served; `reload` at any time after. `begin`
    watches the files. `swap` is called on the loop's thread with what has come
    into force, after it was recorded and kept. `problems` says what failed
    last, by part; it is empty when all that lies there is in force.
    """

    def __init__(self, settings: Settings, gates: Sequence[Gate] = (), prepare: Prepare | None = None) -> None:
        self.settings = settings
        self.problems: dict[str, str] = {}
        self.reloads, self.failures = 0, 0
        self._gates = tuple(gates)
        self._prepare = prepare
        self._library = Library(default_vocabulary(), library_templates())
        self._stamps: Stamps = {}
        self._early: dict[str, SpirError] = {}  # what failed before there was a trail
        self._turn = asyncio.Lock()
        self._current: InForce | None = None
        self._watching: asyncio.Task[None] | None = None
        self._record: Record = _unrecorded
        self._swap: Callable[[InForce], None] = lambda found: None

    @property
    def current(self) -> InForce:
        assert self._current is not None, "`load` comes first"
        return self._current

    def load(self) -> InForce:
        """Read all for the first time. A bundle that may not come into force leaves the last good one of the shelf.

        Raises DocumentError, BundleError, Unavailable.
        """
        with giving_way:
            found = self._load()
            _spare_collector(found)
        return found

    def _load(self) -> InForce:
        self._stamps = stamps_of(self.settings)
        directory = directory_of(self.settings)
        try:
            source = read_source(self.settings)
            found = self._built(source, directory)
        except (DocumentError, BundleError) as error:
            kept = read_kept(self.settings)
            if kept is None:
                raise
            self._fail("policies", error)
            self._early["policies"] = error
            source, found = kept, self._built(kept, directory)
        self._keep(source)
        self._activate(source)
        self._current = found
        return found

    async def begin(self, record: Record, swap: Callable[[InForce], None]) -> None:
        """From now on record and swap; watch the files if the settings say so."""
        self._record, self._swap = record, swap
        for part, error in self._early.items():
            await record(Event(f"{part}-refused", False, _problem(error)))
        if self.settings.policy.watch:
            self._watching = asyncio.create_task(self._watch())

    async def end(self) -> None:
        """No reload begins after it; one that has begun is finished first."""
        async with self._turn:
            if self._watching is not None:
                self._watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._watching

    async def reload(self) -> bool:
        """Read everything again; whether something else is in force now. Never raises for what it reads."""
        async with self._turn:
            self.reloads += 1
            with giving_way:
                return await self._reload()

    async def _reload(self) -> bool:
        self._stamps = await asyncio.to_thread(stamps_of, self.settings)
        directory = await self._reload_directory()
        return await self._reload_policies() or directory

    async def _reload_policies(self) -> bool:
        try:
            source, found = await asyncio.to_thread(self._read_slowly)
            if (
                found.rules.fingerprint == self.current.rules.fingerprint
                and found.generation == self.current.generation
            ):
                self.problems.pop("policies", None)
                return False
            found.documents.check_templates(datetime.now(UTC))
            await asyncio.to_thread(self._keep, source)
            await self._record(Event("policies", True, _details(found)))
            await asyncio.to_thread(self._activate, source)
        except Exception as error:
            await self._refuse("policies", _ours(error))
            return False
        before = [self.current]
        self._put(found)
        self.problems.pop("policies", None)
        log.info("policies %s are in force", found.rules.fingerprint)
        await asyncio.to_thread(_retire, before, found)
        _spare_collector(found)
        return True

    async def _reload_directory(self) -> bool:
        try:
            directory = await asyncio.to_thread(directory_of, self.settings)
            changed = directory != self.current.directory
            if changed:
                await self._record(Event("directory", True, {"entries": len(directory.entities)}))
        except Exception as error:
            await self._refuse("directory", _ours(error))
            return False
        self.problems.pop("directory", None)
        if changed:
            now = self.current
            self._put(replace(now, directory=directory))
            log.info("a directory of %d entries is in force", len(directory.entities))
        return changed

    def _put(self, found: InForce) -> None:
        self._current = found
        self._swap(found)

    async def _refuse(self, part: str, error: SpirError) -> None:
        self._fail(part, error)
        try:
            await self._record(Event(f"{part}-refused", False, _problem(error)))
        except SpirError as failure:
            log.error("%s refused, and that was not recorded: %s", part, failure)

    def _fail(self, part: str, error: SpirError) -> None:
        self.failures += 1
        self.problems[part] = str(error)
        log.error("%s not reloaded: %s", part, error)

    # -- reading, in whichever thread --------------------------------------------------------

    def _read_slowly(self) -> tuple[Source, InForce]:
        try:
            source = read_source(self.settings)
            return source, self._built(source, self.current.directory)
        except SpirError as error:
            # without the frames, whose rules would go all at once where the error is handled: on the loop
            raise error.with_traceback(None) from None

    def _built(self, source: Source, directory: Directory) -> InForce:
        documents = self._library.read(source.documents)
        source.check(documents.fingerprint)
        self._check_joins(documents)
        rules = rules_of(self.settings, documents)
        prepared = finished(self._prepare(rules)) if self._prepare else None
        now = self._current
        before = version_of(now.rules, now.documents, now.prepared) if now else None
        candidate = Candidate(documents, rules, source, prepared, before)
        notes = {key: value for gate in self._gates for key, value in gate(candidate).items()}
        return InForce(documents, rules, directory, prepared, source.generation, source.signer, notes)

    def _check_joins(self, documents: Documents) -> None:
        """The store joins facts as the vocabulary said when it was opened."""
        before = self._current.documents.vocabulary.joins() if self._current else documents.vocabulary.joins()
        if dict(before) != dict(documents.vocabulary.joins()):
            raise DocumentError("how facts are joined cannot change while the gateway runs", hint="start it again")

    def _keep(self, source: Source) -> None:
        if source.bundle is not None and source.generation > source.state.highest:
            shelf_of(self.settings).put(source.bundle)

    def _activate(self, source: Source) -> None:
        if source.bundle is not None and source.generation > source.state.highest:
            shelf_of(self.settings).activate(source.generation)

    # -- watching ----------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            seen = await self._look()
            if seen != self._stamps:
                await self._settled(seen)
                await self.reload()

    async def _settled(self, seen: Stamps) -> None:
        """Wait until nobody writes: half a file may be a whole document, with a prohibition less."""
        while True:
            await asyncio.sleep(SETTLE)
            now = await self._look()
            if now == seen:
                return
            seen = now

    async def _look(self) -> Stamps:
        with giving_way:
            return await asyncio.to_thread(stamps_of, self.settings)


def stamps_of(settings: Settings) -> Stamps:
    """What tells whether a file that the settings name has changed: when written, how long, which file."""
    found: dict[str, tuple[int, int, int]] = {}
    for path, look in _watched(settings):
        with contextlib.suppress(OSError):  # gone between two looks: its absence is the change
            status = look()
            found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return found


Look = Callable[[], os.stat_result]


def _watched(settings: Settings) -> Iterator[tuple[str, Look]]:
    if archive_of(settings) is not None:
        yield _file(shelf_of(settings).state_file)
    if settings.directory.file:
        yield _file(settings.path(settings.directory.file))
    if settings.policy.acknowledged:
        yield _file(settings.path(settings.policy.acknowledged))
    for name in settings.policy.documents:
        path = settings.path(name)
        if path.is_dir():
            yield from _inside(path)
        else:
            yield _file(path)


def _file(path: Path) -> tuple[str, Look]:
    return str(path), path.stat


def _inside(folder: str | Path) -> Iterator[tuple[str, Look]]:
    """The documents of a folder, without `pathlib`: it is looked through twice a second."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _inside(entry.path)
            elif entry.name.endswith(SUFFIXES):
                yield entry.path, entry.stat


def _retire(before: list[InForce], now: InForce) -> None:
    """What is in force no longer goes bit by bit; policies that both have stay."""
    shared = (one for found in now.documents.policy_sets for one in (found, *found.policies))
    let_go(held(before.pop(), shared))


def _spare_collector(found: InForce) -> None:
    if len(found.rules.every) > LARGE:
        giving_way.keep()


def _details(found: InForce) -> Mapping[str, Any]:
    said: dict[str, Any] = {"bundle": found.rules.fingerprint}
    if found.generation:
        said |= {"generation": found.generation, "signer": found.signer}
    return {**said, **found.notes}


def _problem(error: SpirError) -> Mapping[str, Any]:
    """What a gate has to say beyond its error goes into the trail, too."""
    return {"problem": _short(error), **(error.details if isinstance(error, Refused) else {})}


def _short(error: SpirError) -> str:
    """What the trail takes: where and what, without the way to the file and the advice."""
    where = error.location
    place = f"{Path(where.file).name}:{where.line}:{where.column}: " if where else ""
    return f"{place}{error.message}"[:LONGEST]


def _ours(error: Exception) -> SpirError:
    """A failure of whatever kind keeps the last good ones, and the watch goes on; a defect of ours leaves its trace."""
    if isinstance(error, SpirError):
        return error
    log.error("reading failed in a way that it should not", exc_info=error)
    return Unavailable(f"reading failed with {type(error).__name__}", hint="see the log")


async def _unrecorded(event: Event) -> None:
    """Before `begin` there is no trail."""
