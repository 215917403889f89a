"""`spir eval`, `spir explain`, `spir schema`: decide from files, without a gateway."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.commands.moment import moment
from adapters.commands.output import FINDING, OK, say
from spir.embed import Engine
from spir.engine.compiler import compile_rules
from spir.engine.explain import Explanation
from spir.errors import RequestError
from spir.model.decision import Decision
from spir.model.facts import FactStore, Snapshot, empty_snapshot
from spir.model.identity import PatientIdentifiers
from spir.model.request import Request
from spir.model.value import thaw

if TYPE_CHECKING:
    from adapters.identity.directory import Directory

__all__ = ["Given", "evaluate", "explain", "given_of", "request_of", "schema"]

PURPOSES = {
    "PolicySet": "policies of one layer: permit, deny, require, delegate, oblige",
    "PermissionMap": "permissions and events of one system, and what they grant or do in another",
    "Vocabulary": "verbs, types, attributes and short names that a site adds",
    "Template": "a policy with parameters, made many times; `spir template list`",
    "PolicyTest": "cases with their expected decisions, for `spir test`",
}


@dataclass(frozen=True, slots=True)
class Given:
    """What a decision is made from: rules, facts, and the moment."""

    engine: Engine
    facts: Snapshot
    at: datetime


def evaluate(arguments: Namespace) -> int:
    """0 permit, 1 deny or conditional: a script may act on the exit code."""
    given = given_of(arguments)
    decision = given.engine.decide(request_of(arguments), given.facts, given.at)
    say(arguments, decision.to_json(), _lines(decision))
    return OK if decision.permitted else FINDING


def explain(arguments: Namespace) -> int:
    explanation = _recorded(arguments) if arguments.event else _asked(arguments)
    say(arguments, explanation.to_json(), explanation.lines())
    return OK if not explanation.decision.denied else FINDING


def schema(arguments: Namespace) -> int:
    """Of one kind; without a kind, what kinds there are."""
    from spir.language.document import KINDS
    from spir.language.kinds.schema import schema as schema_of

    if arguments.kind:
        print(json.dumps(schema_of(arguments.kind), indent=2))
    else:
        say(arguments, dict(PURPOSES), (f"{kind:14} {PURPOSES.get(kind, '')}".rstrip() for kind in KINDS))
    return OK


def _asked(arguments: Namespace) -> Explanation:
    given = given_of(arguments)
    return given.engine.explain(request_of(arguments), given.facts, given.at)


def _recorded(arguments: Namespace) -> Explanation:
    """The decision of an audit event once more, on the inputs that the trail keeps."""
    from adapters.parts import recorded
    from adapters.settings import load

    request, at, bundle = recorded(load(Path(arguments.config or "spir.toml")), arguments.event)
    engine = _engine(arguments)
    if bundle != engine.rules.fingerprint:
        print("spir: the policies have changed since: this is what they say now", file=sys.stderr)
    return engine.explain(request, at=at)


def given_of(arguments: Namespace) -> Given:
    """From the files and the moment on the command line. Raises SpirError for what cannot be read."""
    engine = _engine(arguments)
    at = moment(arguments.at) or engine.clock()
    return Given(engine, _facts(arguments, engine, at), at)


def _engine(arguments: Namespace) -> Engine:
    """By the policies that are named, at the site of the configuration if that is named too; else by those of it."""
    if arguments.policies and not arguments.config:
        return Engine.load(*arguments.policies)
    path = Path(arguments.config or "spir.toml")
    if not arguments.config and not path.exists():
        raise RequestError("no policies are given", hint="use -p PATH, or -c spir.toml")
    from adapters.parts import policies_of
    from adapters.settings import load

    if arguments.policies:
        site = load(path).site
        return Engine.load(*arguments.policies, organization=site.organization, timezone=site.timezone)
    documents, rules = policies_of(load(path))
    return Engine(compile_rules(rules), documents)


def _facts(arguments: Namespace, engine: Engine, at: datetime) -> Snapshot:
    """Facts as a gateway would have learnt them from the messages, whoever had sent them."""
    store = FactStore(empty_snapshot(engine.documents.vocabulary.joins()))
    if arguments.facts:
        from adapters.parts import changes_of

        directory, identifiers = _known(arguments)
        for name in arguments.facts:
            body = _bytes(name)
            body = body if b"\r" in body else body.replace(b"\n", b"\r")
            store.apply(changes_of(body, directory, identifiers, at.astimezone(engine.rules.site.timezone)))
    return store.snapshot


def _known(arguments: Namespace) -> tuple[Directory, PatientIdentifiers]:
    """Staff and assigning authorities, from the configuration, or from `--directory` alone."""
    from adapters.identity.directory import Directory

    if arguments.config or (not arguments.policies and Path("spir.toml").exists()):
        from adapters.parts import directory_of, identifiers_of
        from adapters.settings import load

        settings = load(Path(arguments.config or "spir.toml"))
        return directory_of(settings), identifiers_of(settings)
    text = _bytes(arguments.directory).decode("utf-8", "replace") if arguments.directory else ""
    directory = Directory.parse(text, arguments.directory) if text else Directory()
    return directory, PatientIdentifiers({}, lenient=True)


def request_of(arguments: Namespace) -> Request:
    """The AuthZEN request of `-r`. Raises RequestError."""
    if not arguments.request:
        raise RequestError("no request is given", hint="use -r REQUEST.json, or -r - for standard input")
    try:
        data = json.loads(_bytes(arguments.request))
    except ValueError as error:
        raise RequestError(f"`{arguments.request}` is not JSON: {error}") from error
    return Request.from_json(data)


def _bytes(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise RequestError(f"`{name}` cannot be read", hint=str(error)) from error


def _lines(decision: Decision) -> Iterator[str]:
    yield decision.effect.value.upper()
    yield from (f"  reason: {reason.text}" for reason in decision.reasons)
    yield from (f"  unknown: {lack}" for lack in decision.unknowns)
    if not (decision.permitted or decision.denied):
        for clause in decision.residual.clauses:
            atoms = " and ".join(f"{a.attribute} {a.op} {thaw(a.value)}" for a in clause.atoms) or "anything"
            yield f"  if: {atoms}{'' if clause.exact else ' (and more)'}   by {', '.join(clause.policies)}"
    yield from (f"  must: {item.type} {_properties(item.properties)}" for item in decision.obligations)
    yield f"  matched: {', '.join(decision.matched) or 'nothing'}"
    if decision.valid_until:
        yield f"  valid until: {decision.valid_until.isoformat()}"


def _properties(properties: Any) -> str:
    return json.dumps(thaw(properties), ensure_ascii=False)
