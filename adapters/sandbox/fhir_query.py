"""The query of a search on the sandbox FHIR store: criteria, paging, includes (FHIR R4 search.html).

Pure. What a parameter means is in `fhir_search`; here is what a whole query says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlencode

from adapters.sandbox.fhir_search import PARAMETERS, BadSearch, Criterion, criterion

__all__ = ["Search", "number"]

_MAX_PAGE = 500
_DEFAULT_PAGE = 50
_IGNORED = frozenset({"_format", "_pretty"})  # they change the form of an answer, not what is in it


class Search:
    """A parsed search. `pairs` are the parameters as they came, for the links."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pairs: list[tuple[str, str]] = []
        self.criteria: list[Criterion] = []
        self.include: list[str] = []
        self.revinclude: list[tuple[str, str]] = []
        self.count = _DEFAULT_PAGE
        self.offset = 0
        self.count_only = False

    @classmethod
    def parse(cls, kind: str, query: str) -> Search:
        made = cls(kind)
        for name, value in parse_qsl(query, keep_blank_values=True):
            made._take(name, value)
        return made

    def links(self, base: str, total: int) -> Iterator[Mapping[str, str]]:
        yield {"relation": "self", "url": self._url(base, self.offset)}
        if self.offset + self.count < total and self.count:
            yield {"relation": "next", "url": self._url(base, self.offset + self.count)}

    def _url(self, base: str, offset: int) -> str:
        pairs = [*self.pairs, ("_count", str(self.count)), *([("_offset", str(offset))] if offset else [])]
        return f"{base}/{self.kind}?{urlencode(pairs)}"

    def _take(self, name: str, value: str) -> None:
        match name:
            case "_count":
                self.count = min(number(name, value), _MAX_PAGE)
                return
            case "_offset":
                self.offset = number(name, value)
                return
            case "_summary" if value == "count":
                self.count_only = True
            case "_total" if value in ("none", "estimate", "accurate"):
                pass
            case "_include":
                self.include.append(_through(value, self.kind)[1])
            case "_revinclude":
                self.revinclude.append(_through(value))
            case _ if name not in _IGNORED:
                self.criteria.append(criterion(self.kind, name, value))
        self.pairs.append((name, value))


def number(name: str, value: str) -> int:
    """A small non-negative number in digits. Raises BadSearch."""
    if not (value.isascii() and value.isdigit() and len(value) < 9):
        raise BadSearch(f"`{name}` must be a number")
    return int(value)


def _through(value: str, kind: str = "") -> tuple[str, str]:
    """`Observation:patient` as type and parameter; of type `kind` where given."""
    source, _, parameter = value.partition(":")
    known = PARAMETERS.get(source, {}).get(parameter, ("", ""))[0] == "reference"
    if not known or (kind and source != kind):
        raise BadSearch("`_include` and `_revinclude` are written Type:parameter, with a reference parameter")
    return source, parameter
