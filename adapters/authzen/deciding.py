"""Decide on what callers ask, or remember what was decided. No I/O: the port's answers are at hand.

A question on its own is known by the digest of its bytes, so that one that was
asked before is not even read again. What is remembered is dropped when the bundle,
the facts or the directory are others, and at the moment the decision names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from adapters.authzen.answer import answer, failure
from adapters.authzen.cache import DecisionCache
from adapters.authzen.codec import JSON, MSGPACK, Codec
from adapters.authzen.ground import Ground, fact_names
from adapters.authzen.port import PdpPort
from adapters.authzen.reading import Batch, evaluation
from spir.engine.attributes import patient_id
from spir.errors import RequestError
from spir.model.decision import Decision
from spir.model.request import Request

__all__ = ["Deciding", "Evaluated", "digest"]

BAD_REQUEST = 400
LONGEST_KEPT = 16 * 1024  # bytes of a question, and of an answer
MOST_ANSWERS = 256
AT_A_TIME = 8  # items of a batch


class Evaluated(msgspec.Struct, frozen=True):
    """One answer. `body` as AuthZEN says it, `encoded` in the caller's codec; no request if it could not be read.

    `patients` and `operation`: of the request, for the audit trail.
    """

    body: Mapping[str, Any]
    encoded: bytes
    permitted: bool = False
    request: Request | None = None
    decision: Decision | None = None
    patients: tuple[str, ...] = ()
    operation: str = ""


def digest(codec: Codec, body: bytes) -> bytes:
    """By which a question is known; b"" for one that is too long to be remembered."""
    return sha256(body).digest() + codec.tag if len(body) <= LONGEST_KEPT else b""


class Deciding:
    """`aliases`: other names of subject types; `capacity`: how many answers are remembered (0: none)."""

    def __init__(self, port: PdpPort, aliases: Mapping[str, str], capacity: int) -> None:
        self.cache: DecisionCache[Evaluated] = DecisionCache(capacity)
        self._port = port
        self._aliases = aliases
        self._known = (port.entities, port.resources)
        self._vocabulary = port.vocabulary
        self._names = fact_names(port.vocabulary)
        self._answers: dict[bytes, dict[int, tuple[Decision, dict[str, Any], bytes]]] = {JSON.tag: {}, MSGPACK.tag: {}}
        self._ground = Ground(port.entities, port.resources, port.snapshot, self._names, aliases)

    def evaluated(self, body: bytes, now: datetime) -> Evaluated:
        """The answer to an evaluation in JSON. Raises RequestError."""
        key = digest(JSON, body)
        return self.remembered(key, now) or self.decide(evaluation(body), JSON, now, key)

    def remembered(self, key: bytes, now: datetime) -> Evaluated | None:
        port = self._port
        entities, resources = self._known
        if port.entities is not entities or port.resources is not resources:  # who somebody is, and what something is
            self._known = (port.entities, port.resources)
            self.cache.clear()
        return self.cache.get(key, port.bundle, port.snapshot.revision, now) if key else None

    def decide(self, request: Request, codec: Codec, now: datetime, key: bytes = b"") -> Evaluated:
        """The answer to a request; remembered under `key`, if there is one."""
        ground = self.ground()
        settled = ground.settled(request)
        decision = self._port.decide(settled)
        done = self._evaluated(settled, decision, codec)
        # INVARIANT: facts move on while we work. What was settled on other facts than it was decided on is not kept.
        if key and decision.facts == ground.snapshot.revision and len(done.encoded) <= LONGEST_KEPT:
            self.cache.put(key, done, decision.bundle, decision.facts, now, decision.valid_until)
        return done

    def many(self, batch: Batch, given: list[Evaluated]) -> Iterator[None]:
        """Give the answers to a batch, as far as its semantic goes; pauses after a few, so that others may go first.

        None is remembered: what has been read is decided about as soon as it is found, and most of it never again.
        """
        last = {"deny_on_first_deny": False, "permit_on_first_permit": True}.get(batch.semantic)
        for start in range(0, len(batch.items), AT_A_TIME):
            decide, ground = self._port.decide, self.ground()
            claimed = known = None
            for item in batch.items[start : start + AT_A_TIME]:
                try:
                    request = batch.read(item)
                    if request.subject is not claimed:  # most items have the same one
                        claimed, known = request.subject, ground.subject(request.subject)
                    settled = ground.settled(request, known)
                    done = self._evaluated(settled, decide(settled), batch.codec)
                except RequestError as error:
                    body = failure(BAD_REQUEST, error.message)
                    done = Evaluated(body, batch.codec.encode(body))
                given.append(done)
                if done.permitted is last:
                    return
            yield

    def ground(self) -> Ground:
        """What the site knows at this moment."""
        port, held = self._port, self._ground
        if port.vocabulary is not self._vocabulary:
            self._vocabulary, self._names = port.vocabulary, fact_names(port.vocabulary)
        elif held.snapshot is port.snapshot and held.entities is port.entities and held.resources is port.resources:
            return held
        self._ground = Ground(port.entities, port.resources, port.snapshot, self._names, self._aliases)
        return self._ground

    def _evaluated(self, request: Request, decision: Decision, codec: Codec) -> Evaluated:
        body, encoded = self._said(request, decision, codec)
        patient = patient_id(request)
        patients = (patient,) if patient else ()
        return Evaluated(body, encoded, body["decision"] is True, request, decision, patients, decision.operation)

    def _said(self, request: Request, decision: Decision, codec: Codec) -> tuple[dict[str, Any], bytes]:
        """The answer, also as it is sent. An engine gives the same decision object where nothing else differs."""
        if "obligations_supported" in request.context:
            body = answer(request, decision)
            return body, codec.encode(body)
        answers = self._answers[codec.tag]
        held = answers.get(id(decision))
        if held is not None and held[0] is decision:
            return held[1], held[2]
        body = answer(request, decision)
        encoded = codec.encode(body)
        if len(encoded) <= LONGEST_KEPT:
            if len(answers) >= MOST_ANSWERS:
                answers.clear()
            # INVARIANT: the decision is held here, so no other one can have its id.
            answers[id(decision)] = (decision, body, encoded)
        return body, encoded
