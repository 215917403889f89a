"""A small FHIR R4 store in memory, for the demo and the tests. Never for patients.

Read, vread, history of an instance, search with paging, create, update with
If-Match, delete; JSON only; strict. A raw ASGI application, served by
`ThreadedAsgi` where a port is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from adapters.sandbox import chart
from adapters.sandbox.asgi import Reply, Request, ThreadedAsgi, application
from adapters.sandbox.fhir_query import Search, number
from adapters.sandbox.fhir_search import PARAMETERS, TYPES, BadSearch, references, satisfies
from adapters.sandbox.shelf import Conflict, NoRoom, Resource, Shelf, Version

__all__ = ["SandboxFhir"]

_FHIR_JSON = "application/fhir+json"


class SandboxFhir(ThreadedAsgi):
    """Holds the invented patients' charts unless given other `resources`.

    `asked` keeps (method, path and query) of the last requests, so that a test
    can see what reached the store and what did not.
    """

    def __init__(
        self,
        *,
        sandbox: bool = False,
        resources: Iterable[Resource] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        capacity: int = 10_000,
    ) -> None:
        self.shelf = Shelf(capacity)
        self.shelf.fill(chart.everything() if resources is None else resources)
        self.asked: list[tuple[str, str]] = []
        super().__init__(application(self.answer), "sandbox FHIR store", host, port, sandbox=sandbox)

    def answer(self, request: Request) -> Reply:
        """One request, one reply; never raises for what a client sends."""
        self.asked.append((request.method, f"{request.path}?{request.query}" if request.query else request.path))
        del self.asked[:-1000]
        try:
            return self._route(request)
        except BadSearch as error:
            return _outcome(400, "invalid", str(error))
        except Conflict as error:
            return _outcome(412, "conflict", str(error))
        except NoRoom as error:
            return _outcome(507, "no-store", str(error))

    def _route(self, request: Request) -> Reply:
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["metadata"]:
                return _json(200, _capability())
            case _, [kind, *_] if kind not in TYPES:
                return _outcome(404, "not-supported", "this store does not have that resource type")
            case "GET", [kind]:
                return self._search(request, kind, request.query)
            case "POST", [kind, "_search"]:
                return self._search(request, kind, "&".join(filter(None, (request.query, request.text()))))
            case "POST", [kind]:
                return self._create(request, kind)
            case "GET" | "HEAD", [kind, id]:
                return self._read(request, kind, id)
            case "GET", [kind, id, "_history"]:
                return self._history(request, kind, id)
            case "GET", [kind, id, "_history", number]:
                return self._vread(kind, id, number)
            case "PUT", [kind, id]:
                return self._update(request, kind, id)
            case "DELETE", [kind, id]:
                gone = self.shelf.delete(kind, id, _if_match(request))
                return Reply(204 if gone else 404)
            case _:
                return _outcome(405, "not-supported", "this store does not do that")

    # -- interactions --------------------------------------------------------------------------

    def _read(self, request: Request, kind: str, id: str) -> Reply:
        reply = _version(self.shelf.current(kind, id))
        if reply.status == 200 and request.headers.get("if-none-match") == dict(reply.headers).get("etag"):
            return Reply(304, reply.headers)
        return reply

    def _vread(self, kind: str, id: str, number: str) -> Reply:
        found = (version for version in self.shelf.versions(kind, id) if str(version.number) == number)
        return _version(next(found, None))

    def _history(self, request: Request, kind: str, id: str) -> Reply:
        versions = self.shelf.versions(kind, id)
        if not versions:
            return _version(None)
        entries = [
            {
                "fullUrl": f"{request.base}/{kind}/{id}",
                **({"resource": version.resource} if version.resource else {}),
                "request": {"method": "PUT" if version.resource else "DELETE", "url": f"{kind}/{id}"},
                "response": {"status": "200", "etag": _etag(version)},
            }
            for version in reversed(versions)
        ]
        return _json(200, {"resourceType": "Bundle", "type": "history", "total": len(entries), "entry": entries})

    def _create(self, request: Request, kind: str) -> Reply:
        if "if-none-exist" in request.headers:
            return _outcome(400, "not-supported", "conditional create is not supported")
        resource = _resource(request, kind)
        made = self.shelf.create(kind, resource)
        return _written(201, request, made)

    def _update(self, request: Request, kind: str, id: str) -> Reply:
        resource = _resource(request, kind)
        if resource.get("id") != id:
            raise BadSearch("the id of the resource is not that of the URL")
        current = self.shelf.current(kind, id)
        if request.headers.get("if-none-match") == "*" and current and current.resource:
            raise Conflict("there is such a resource already")
        made = self.shelf.put(kind, id, resource, _if_match(request))
        return _written(201 if made.number == 1 else 200, request, made)

    def _search(self, request: Request, kind: str, query: str) -> Reply:
        """Matches in the order of creation; `next` while there are more (FHIR R4 http.html#paging)."""
        wanted = Search.parse(kind, query)
        rows = [one for one in self.shelf.all(kind) if all(satisfies(one, c, self.shelf) for c in wanted.criteria)]
        bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(rows)}
        page = rows[wanted.offset : wanted.offset + wanted.count]
        bundle["link"] = list(wanted.links(request.base, len(rows)))
        if not wanted.count_only:
            bundle["entry"] = [_entry(request, one, "match") for one in page]
            bundle["entry"] += [_entry(request, one, "include") for one in self._included(page, wanted)]
        return _json(200, bundle)

    def _included(self, page: list[Resource], wanted: Search) -> list[Resource]:
        """What `_include` and `_revinclude` add, each resource once."""
        found: dict[tuple[str, str], Resource] = {}
        for parameter in wanted.include:
            for reference in (r for one in page for r in references(one, parameter)):
                version = self.shelf.current(*reference.split("/", 1)) if reference.count("/") == 1 else None
                if version and version.resource:
                    found[version.resource["resourceType"], version.resource["id"]] = version.resource
        targets = {f"{one['resourceType']}/{one['id']}" for one in page}
        for kind, parameter in wanted.revinclude:
            for one in self.shelf.all(kind):
                if targets & set(references(one, parameter)):
                    found[kind, one["id"]] = one
        return list(found.values())


# -- forms of an answer ----------------------------------------------------------------------


def _json(status: int, body: Resource, *headers: tuple[str, str]) -> Reply:
    return Reply(status, (("content-type", f"{_FHIR_JSON}; charset=utf-8"), *headers), orjson.dumps(body))


def _outcome(status: int, code: str, text: str) -> Reply:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return _json(status, {"resourceType": "OperationOutcome", "issue": [issue]})


def _etag(version: Version) -> str:
    return f'W/"{version.number}"'


def _version(version: Version | None) -> Reply:
    if version is None:
        return _outcome(404, "not-found", "there is no such resource")
    if version.resource is None:
        return _outcome(410, "deleted", "the resource has been deleted")
    stamp = version.updated.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return _json(200, version.resource, ("etag", _etag(version)), ("last-modified", stamp))


def _written(status: int, request: Request, version: Version) -> Reply:
    reply = _version(version)
    resource = version.resource or {}
    place = f"{request.base}/{resource['resourceType']}/{resource['id']}/_history/{version.number}"
    return Reply(status, (*reply.headers, ("location", place)), reply.body)


def _entry(request: Request, resource: Resource, mode: str) -> Resource:
    place = f"{request.base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": place, "resource": resource, "search": {"mode": mode}}


def _resource(request: Request, kind: str) -> Resource:
    """The body, a JSON object of this type. Raises BadSearch."""
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise BadSearch("the body is not JSON") from None
    if not isinstance(body, dict) or body.get("resourceType") != kind:
        raise BadSearch(f"the body is not a {kind}")
    if not isinstance(body.get("meta", {}), dict):
        raise BadSearch("`meta` is not an object")
    return body


def _if_match(request: Request) -> int | None:
    """The version number of `If-Match: W/"3"`. Raises BadSearch."""
    given = request.headers.get("if-match")
    if given is None:
        return None
    return number("If-Match", given.removeprefix("W/").strip('"'))


def _capability() -> Resource:
    interactions = ("read", "vread", "update", "delete", "history-instance", "create", "search-type")
    resources = [
        {
            "type": kind,
            "versioning": "versioned-update",
            "updateCreate": True,
            "interaction": [{"code": code} for code in interactions],
            "searchParam": [{"name": name, "type": sort} for name, (sort, _) in table.items()],
        }
        for kind, table in sorted(PARAMETERS.items())
    ]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-21",
        "kind": "instance",
        "implementation": {"description": "SPIR sandbox: invented data"},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "resource": resources}],
    }
