"""Read a document of kind Template: a policy with parameters, to be made many times.

    spir: "1"
    kind: Template
    template_id: own-department
    version: 1.0.0
    effect: permit                      # allow is another word for it
    operations: ["read:document"]
    parameters:
      departments: {type: array, items: {type: string}, minItems: 1}
    conditions:
      subject: ["dept::in(parameters.departments)"]

A file may also hold a template alone, as the JSON object that other systems
exchange: without `spir` and `kind`, known by its `template_id`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from types import MappingProxyType

from spir.errors import DocumentError
from spir.language.binding import PARAMETERS, Scope, lifted, named
from spir.language.form import Form, form_of, text_of
from spir.language.kinds.policy_parts import (
    EMERGENCY,
    KINDS,
    read_condition,
    read_obligations,
    read_on_missing,
    read_operations,
    validity,
)
from spir.language.nodes import Scalar
from spir.language.parameters import Parameter, read_parameter
from spir.language.phrases import Conditions, Operations
from spir.language.template import Signature, Template, condition_of, filled, mentions, no_parameter
from spir.language.versions import order
from spir.language.vocabulary import Vocabulary
from spir.model.condition import TRUE, Condition
from spir.model.policy import Emergency, Kind

__all__ = ["EFFECTS", "FIELDS", "LANGUAGES", "read_template"]

FIELDS = (
    "spir",
    "kind",
    "template_id",
    "version",
    "title",
    "description",
    "effect",
    "operations",
    "parameters",
    "conditions",
    "when",
    "obligations",
    "emergency",
    "on_missing",
    "cert_fingerprint",
    "valid_from",
    "valid_until",
    "digest",
    "signature",
)
LANGUAGES = ("en", "zh")
FIRST_VERSION = "1.0.0"  # of a template that names none

EFFECTS = MappingProxyType({**KINDS, "allow": Kind.PERMIT})

_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}", re.ASCII)
_SHA256 = re.compile(r"(?:sha-?256:)?((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})", re.ASCII | re.IGNORECASE)
_KEY = re.compile(r"[0-9a-f]{16}", re.ASCII)


def read_template(form: Form, vocabulary: Vocabulary) -> Template:
    """Raises DocumentError; for a `digest` that is not the template's, too."""
    kind = form.choice("effect", EFFECTS)
    parameters = _parameters(form)
    found = Template(
        form.name("template_id"),
        _version(form),
        kind,
        read_operations(form, Operations(vocabulary)) if "operations" in form else (),
        _condition(form, vocabulary, parameters),
        parameters,
        form.items("obligations"),
        validity(form, "valid_from", "valid_until"),
        form.choice("emergency", EMERGENCY, Emergency.NEVER),
        read_on_missing(form, kind),
        _by_language(form, "title"),
        _by_language(form, "description"),
        _fingerprint(form, "cert_fingerprint"),
        _signature(form),
        form.location,
    )
    _check_parameters(found, form)
    _try(found, form, vocabulary)
    given = _fingerprint(form, "digest")
    if given and f"sha256:{given}" != found.digest:
        hint = f"what it says now has {found.digest}; whoever answers for it signs it again"
        raise form.error("the template is not the one that its `digest` was made for", "digest", hint)
    return found


def _version(form: Form) -> str:
    found = form.version("version", FIRST_VERSION)
    try:
        order(found)
    except ValueError as error:
        raise form.error("`version` is out of range", "version") from error
    return found


def _parameters(form: Form) -> Mapping[str, Parameter]:
    if "parameters" not in form:
        return {}
    table = form_of(form.node("parameters"), "`parameters`")
    for name in table.fields.entries:
        if not _PARAMETER.fullmatch(name):
            hint = "letters, digits and _, not a digit first"
            raise DocumentError("this cannot name a parameter", hint=hint, location=table.fields.keys[name])
    return {name: read_parameter(name, node) for name, node in table}


def _condition(form: Form, vocabulary: Vocabulary, parameters: Mapping[str, Parameter]) -> Condition:
    if "when" in form and "conditions" in form:
        raise form.error("a template has `conditions` or `when`", "when", "write all of it in one of them")
    key = "when" if "when" in form else "conditions"
    if key not in form:
        return TRUE
    scope = Scope(vocabulary, {name: parameter.kind for name, parameter in parameters.items()})
    return lifted(read_condition(form.node(key), Conditions(scope, (PARAMETERS,)), f"`{key}`"))


def _by_language(form: Form, key: str) -> Mapping[str, str]:
    """Text, which is English, or texts by language."""
    if key not in form:
        return {}
    node = form.node(key)
    if isinstance(node, Scalar):
        return {"en": text_of(node, f"`{key}`")}
    texts = form_of(node, f"`{key}`", LANGUAGES)
    return {language: texts.text(language) for language in LANGUAGES if language in texts}


def _fingerprint(form: Form, key: str) -> str:
    """SHA-256 in hexadecimal, with or without colons and its name in front; in small letters without them."""
    if key not in form:
        return ""
    found = _SHA256.fullmatch(form.text(key))
    if found is None:
        raise form.error(f"`{key}` is no SHA-256", key, "64 hexadecimal digits")
    return found[1].replace(":", "").lower()


def _signature(form: Form) -> Signature | None:
    if "signature" not in form:
        return None
    fields = form.form("signature", ("key", "value"))
    if not _KEY.fullmatch(fields.text("key")):
        raise fields.error("`key` must be 16 hexadecimal digits", "key", "sign the template with `spir template sign`")
    try:
        value = base64.b64decode(fields.text("value"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise fields.error("`value` must be base64", "value") from error
    if len(value) != 64:
        raise fields.error("`value` is no Ed25519 signature", "value", "it has 64 bytes")
    return Signature(fields.text("key"), value)


# -- whether it can be used ------------------------------------------------------------------


def _check_parameters(found: Template, form: Form) -> None:
    """Each is used somewhere, and obligations name none that is not there."""
    in_obligations = [scalar for node in found.obligations for scalar in mentions(node)]
    for scalar in in_obligations:
        if scalar.value not in found.parameters:
            raise no_parameter(scalar, found.parameters)
    used = named(found.when) | {str(scalar.value) for scalar in in_obligations}
    for name in found.parameters:
        if name not in used:
            place = form_of(form.node("parameters"), "`parameters`").fields.keys[name]
            hint = f"write parameters.{name} in a condition, or {{parameter: {name}}} in an obligation"
            raise DocumentError(f"the parameter `{name}` is used nowhere", hint=hint, location=place)


def _try(found: Template, form: Form, vocabulary: Vocabulary) -> None:
    """Bind it to its own examples and defaults: what these show to be wrong is wrong here, not where it is used."""
    examples = {name: parameter.example for name, parameter in found.parameters.items()}
    values = {name: example for name, example in examples.items() if example is not None}
    if len(values) == len(examples):
        condition_of(found, values, vocabulary, form.location)
        read_obligations(form, (filled(node, values) for node in found.obligations), found.id, found.kind)
