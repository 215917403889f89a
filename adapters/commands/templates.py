"""`spir template`: which templates there are, what they take, a policy to begin with, and who answers for them."""

from __future__ import annotations

import base64
import json
import re
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapters.audit.keys import public_key, signing_key, verify
from adapters.bundles import write_whole
from adapters.commands.output import FINDING, OK, say
from spir.bundle import key_id
from spir.embed import collect, default_vocabulary, library_templates
from spir.errors import BundleError, DocumentError, Location
from spir.language.document import read_documents
from spir.language.format import format_document
from spir.language.nearest import suggestion
from spir.language.nodes import plain
from spir.language.parameters import Parameter
from spir.language.printer import to_cel
from spir.language.template import Template
from spir.language.versions import order
from spir.record.checkpoint import CheckpointError

__all__ = ["listed", "new", "show", "sign"]


def listed(arguments: Namespace) -> int:
    """Those of the library, and those of the documents that are named, in the place of the library's."""
    found = sorted(_known(arguments).values(), key=lambda one: one.id)
    say(arguments, [_brief(one) for one in found], (_line(one, arguments.lang) for one in found))
    return OK


def show(arguments: Namespace) -> int:
    """1 if a key was given and did not sign it."""
    found = _one(arguments)
    signer = _signer(found, arguments.key) if arguments.key else ""
    data = {
        **_brief(found),
        "description": dict(found.description),
        "operations": [_operation(pattern) for pattern in found.operations],
        "when": to_cel(found.when),
        "parameters": found.arguments_schema(),
        "obligations": [plain(node) for node in found.obligations],
        "cert_fingerprint": found.cert_fingerprint,
        "valid_from": found.valid.start.isoformat() if found.valid.start else None,
        "valid_until": found.valid.end.isoformat() if found.valid.end else None,
        "digest": found.digest,
        "signer": signer,
    }
    say(arguments, data, _lines(found, arguments.lang, signer))
    return OK if signer or not arguments.key else FINDING


def new(arguments: Namespace) -> int:
    """A policy made from a template, with its defaults and examples, to be changed and put under `policies`."""
    found = _one(arguments)
    values = {name: _sample(parameter) for name, parameter in found.parameters.items()}
    policy = {
        "id": arguments.policy or found.id,
        "template": found.id,
        "version": f">={found.version} <{order(found.version)[0] + 1}",
        **({"with": values} if values else {}),
        **({} if found.operations else {"operations": ["read:document"]}),
    }
    say(arguments, policy, _policy_lines(policy, found, arguments.lang))
    return OK


def sign(arguments: Namespace) -> int:
    """Write the digest and an Ed25519 signature into the file. The private key is made if there is none."""
    path = Path(arguments.file)
    (text,) = collect(path).values()
    bare = _unsigned(text, str(path))
    found = _only(bare, str(path))
    private, key = signing_key(Path(arguments.key), _key_name(arguments.key))
    value = base64.b64encode(private.sign(found.to_be_signed())).decode()
    marks = {"digest": found.digest, "signature": {"key": key_id(key.public), "value": value}}
    made = format_document(_marked(bare, marks, str(path)), str(path))
    assert _only(made, str(path)).signed_by({key.name: key.public}, verify)
    write_whole(path, made.encode())
    data = {"template_id": found.id, "version": found.version, "digest": found.digest, "signer": key.name}
    say(arguments, data, [f"{found.id} {found.version}", f"  {found.digest}", f"  signed by {key.name}"])
    return OK


# -- which -----------------------------------------------------------------------------------


def _known(arguments: Namespace) -> dict[str, Template]:
    """The highest version of each, by id."""
    library = library_templates()
    shipped = {f"library/{name}.yaml": library[name] for name in library}
    own = _read(collect(*arguments.policies)) if arguments.policies else ()
    found = {one.id: one for one in _read(shipped)}
    return found | {one.id: one for one in sorted(own, key=lambda one: order(one.version))}


def _read(files: Mapping[str, str]) -> tuple[Template, ...]:
    found = read_documents(files, vocabulary_text=default_vocabulary(), templates=library_templates())
    return found.templates


def _one(arguments: Namespace) -> Template:
    known = _known(arguments)
    if arguments.id not in known:
        hint = suggestion(arguments.id, known) or "see `spir template list`"
        raise DocumentError(f"there is no template `{arguments.id[:60]}`", hint=hint)
    return known[arguments.id]


def _only(text: str, name: str) -> Template:
    """The template of a file that holds one, and nothing else."""
    found = _read({name: text})
    if len(found) != 1:
        hint = "sign each in a file of its own"
        raise DocumentError(f"the file holds {len(found)} templates", hint=hint, location=Location(name))
    return found[0]


def _signer(found: Template, names: list[str]) -> str:
    keys: dict[str, bytes] = {}
    for name in names:
        try:
            keys[_key_name(name)] = public_key(Path(name).read_text("utf-8"), _key_name(name)).public
        except (OSError, UnicodeDecodeError, CheckpointError) as error:
            raise BundleError(f"`{name}` is no Ed25519 public key", hint=str(error)) from error
    return found.signed_by(keys, verify)


def _key_name(path: str) -> str:
    return re.sub(r"[\s+]", "-", Path(path).stem)


# -- the text of a file ----------------------------------------------------------------------

_MARKS = re.compile(r"^(?:digest|signature):.*\n(?:[ \t]+.*\n)*", re.MULTILINE)


def _unsigned(text: str, name: str) -> str:
    """Without the marks of an earlier signature: they are over what it said then."""
    if not name.endswith(".json"):
        return _MARKS.sub("", text if text.endswith("\n") else f"{text}\n")
    try:
        data = json.loads(text)
    except ValueError as error:
        raise DocumentError("the file is no JSON", location=Location(name)) from error
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key not in ("digest", "signature")}
    return json.dumps(data, ensure_ascii=False)


def _marked(text: str, marks: Mapping[str, Any], name: str) -> str:
    if name.endswith(".json"):
        return json.dumps({**json.loads(text), **marks}, ensure_ascii=False)
    signature = marks["signature"]
    return (
        f'{text}digest: "{marks["digest"]}"\nsignature: {{key: "{signature["key"]}", value: "{signature["value"]}"}}\n'
    )


# -- for people ------------------------------------------------------------------------------


def _brief(found: Template) -> dict[str, Any]:
    return {
        "template_id": found.id,
        "version": found.version,
        "effect": found.kind.value,
        "title": dict(found.title),
        "at": str(found.location) if found.location else "",
    }


def _line(found: Template, language: str) -> str:
    return f"{found.id:32} {found.version:8} {found.kind.value:8} {_text(found.title, language)}".rstrip()


def _text(texts: Mapping[str, str], language: str) -> str:
    return texts.get(language) or next(iter(texts.values()), "")


def _lines(found: Template, language: str, signer: str) -> Iterator[str]:
    yield f"{found.id} {found.version}: {found.kind.value}"
    yield from (f"  {text}" for text in (_text(found.title, language), _text(found.description, language)) if text)
    if found.operations:
        yield f"  operations: {', '.join(map(_operation, found.operations))}"
    yield f"  when: {to_cel(found.when)}"
    yield from (f"  parameter {line}" for line in map(_parameter, found.parameters.values()))
    yield from (f"  must: {json.dumps(plain(node), ensure_ascii=False)}" for node in found.obligations)
    if found.cert_fingerprint:
        yield f"  certificate: {found.cert_fingerprint}"
    for word, edge in (("from", found.valid.start), ("until", found.valid.end)):
        if edge:
            yield f"  valid {word} {edge.isoformat()}"
    yield f"  {found.digest}"
    if found.signature:
        yield f"  signed by {signer or f'the key {found.signature.key}, which was not checked'}"


def _operation(pattern: object) -> str:
    return str(pattern).removesuffix(":*")


def _parameter(parameter: Parameter) -> str:
    default = "needed" if parameter.default is None else f"default {_json(plain(parameter.default.node))}"
    said = parameter.schema.get("description")
    return f"{parameter.name}: {parameter.kind.type}, {default}" + (f" ({said})" if said else "")


def _sample(parameter: Parameter) -> Any:
    return plain(parameter.example.node) if parameter.example else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _policy_lines(policy: Mapping[str, Any], found: Template, language: str) -> Iterator[str]:
    """As it stands in a PolicySet."""
    yield f"  # {_text(found.title, language)}" if found.title else f"  # {found.id}"
    yield f"  - id: {policy['id']}"
    yield f"    template: {policy['template']}"
    yield f'    version: "{policy["version"]}"'
    if "with" in policy:
        yield "    with:"
        yield from (f"      {name}: {_json(value)}" for name, value in policy["with"].items())
    if "operations" in policy:
        yield f"    operations: {_json(policy['operations'])}"
