"""The OpenAPI description: every operation with a registered policy id that stands for what is really asked."""

from __future__ import annotations

import jsonschema
import pytest

from adapters import mappings
from adapters.authzen.openapi import POLICY_ID
from adapters.authzen.operations import Operations
from spir.embed import default_vocabulary
from spir.errors import DocumentError
from spir.language.document import read_documents
from spir.model.policy import OperationPattern
from tests.authzen.given_pdp import PEP, GivenPdp, call, evaluation, pdp
from tests.given import deny, permit

DOCUMENT = call(pdp(), "GET", "/openapi.json", bearer="").json
OPERATIONS = Operations.build(mappings.read("pdp"))
FAR = "10.0.0.9"

DESCRIBED = {
    (method.upper(), path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def body_of(path):
    """A body that the operation at `path` can read."""
    return None if path.startswith(("/.", "/open", "/metrics", "/healthz", "/readyz")) else evaluation()


def ask(key, rule, bearer="pep"):
    """Call an operation from afar; the reply, and what the engine was asked about the caller itself."""
    port = GivenPdp()
    port.rule = lambda request: port.asked.append(request) or rule(request)
    reply = call(pdp(port), *key, body_of(key[1]), client=FAR, bearer=bearer)
    return reply, [request.operation for request in port.asked if request.subject == PEP]


def test_every_operation_that_is_served_is_described_and_no_other():
    served = {key for key in pdp()._routes if key[0] != "HEAD"}
    assert served == set(DESCRIBED)


@pytest.mark.parametrize("key", DESCRIBED, ids=lambda key: key[1])
def test_every_operation_names_a_registered_policy_id(key):
    assert DESCRIBED[key][POLICY_ID] in OPERATIONS.policies


@pytest.mark.parametrize("key", DESCRIBED, ids=lambda key: key[1])
def test_the_policy_id_stands_for_the_permission_that_is_really_checked(key):
    """Its permission is what the engine is asked; without it alone the caller is refused, with it alone it is not."""
    permission = OPERATIONS.policies[DESCRIBED[key][POLICY_ID]]
    if not permission:
        reply, asked = ask(key, deny, bearer="")
        assert (reply.status, asked) == (200, [])
        assert DESCRIBED[key]["security"] == []
        return
    without, asked = ask(key, lambda request: deny(request) if request.operation == permission else permit(request))
    assert (without.status, asked) == (403, [permission])
    alone, asked = ask(key, lambda request: permit(request) if request.operation == permission else deny(request))
    assert (alone.status, asked) == (200, [permission])
    assert ask(key, permit, bearer="")[0].status == 401
    assert DESCRIBED[key]["security"] == [{"bearer": []}]


def test_every_permission_is_an_operation_that_policies_may_name():
    vocabulary = read_documents({}, vocabulary_text=default_vocabulary()).vocabulary
    for permission in filter(None, OPERATIONS.policies.values()):
        vocabulary.check_operation(OperationPattern.parse(permission), None)


def test_every_registered_policy_id_is_used():
    assert {operation.policy_id for operation in OPERATIONS.by_id.values()} == set(OPERATIONS.policies)


def test_an_id_that_is_not_registered_is_an_error():
    with pytest.raises(DocumentError, match="not registered"):
        Operations.build({"policies": [], "operations": [["a", "GET", "/a", "spir.none", ""]]})


# -- the document itself -----------------------------------------------------------------------


def references(node):
    if isinstance(node, dict):
        yield from ([node["$ref"]] if isinstance(node.get("$ref"), str) else ())
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere():
    found = set(references(DOCUMENT))
    assert found and all(reference.startswith("#/") for reference in found)
    assert {reference for reference in found if not leads_somewhere(reference)} == set()


def leads_somewhere(reference):
    node = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        if name not in node:
            return False
        node = node[name]
    return True


def test_its_schemas_are_schemas():
    assert DOCUMENT["openapi"] == "3.1.0"
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def schema_of(*path):
    node = DOCUMENT
    for name in path:
        node = node[name]
    return jsonschema.Draft202012Validator(
        {**node["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}
    )


@pytest.mark.parametrize("key", [key for key in DESCRIBED if key[1] != "/metrics"], ids=lambda key: key[1])
def test_what_is_sent_and_what_comes_back_are_as_described(key):
    method, path = key
    place = ("paths", path, method.lower())
    body = body_of(path)
    if body is not None:
        schema_of(*place, "requestBody").validate(body)
    reply = call(pdp(), method, path, body, bearer="ops" if path == "/v1/reload" else "pep")
    assert reply.status == 200
    schema_of(*place, "responses", "200").validate(reply.json)
    headers = DESCRIBED[key]["responses"]["200"]["headers"]
    assert {name.lower() for name in headers} <= set(reply.headers)


def test_a_refusal_is_as_described():
    schema = schema_of("components", "responses", "Refused")
    for method, path, status in (("POST", "/v1/plan", 400), ("GET", "/nowhere", 404)):
        reply = call(pdp(), method, path, b"{" if method == "POST" else None)
        assert reply.status == status
        schema.validate(reply.json)
