"""Where policies find their templates: those of the site, and behind them those that ship, read when they are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spir.errors import DocumentError
from spir.language.contents import forms_in, of_kind
from spir.language.kinds.template import read_template
from spir.language.template import Found, Template, find
from spir.language.vocabulary import Vocabulary

__all__ = ["Shelf", "Shipped"]


class Shipped:
    """The templates that every site may use: read when they are named, and kept while vocabulary and text stay."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self._read: dict[str, tuple[str, Vocabulary, tuple[Template, ...]]] = {}

    def read(self, id: str, vocabulary: Vocabulary) -> tuple[Template, ...]:
        """All versions of one; none if there is no text of that id."""
        if id not in self.texts:
            return ()
        text = self.texts[id]
        known = self._read.get(id)
        if known is None or known[0] != text or known[1] is not vocabulary:
            forms = of_kind(forms_in(text, f"the template {id}"), "Template")
            found = tuple(one for one in (read_template(form, vocabulary) for form in forms) if one.id == id)
            known = self._read[id] = text, vocabulary, found
        return known[2]


class Shelf:
    """The templates of a site, and behind them those that every site may use, read when they are named."""

    def __init__(self, vocabulary: Vocabulary, own: Iterable[Template], shipped: Shipped) -> None:
        self.own = tuple(own)
        self._vocabulary = vocabulary
        self._shipped = shipped
        self._by_id: dict[str, tuple[Template, ...]] = {}
        for one in self.own:
            self._add(one)

    def _add(self, new: Template) -> None:
        known = self._by_id.get(new.id, ())
        twin = next((one for one in known if one.version == new.version), None)
        if twin is not None:
            problem = f"the template `{new.id}` {new.version} is there twice"
            raise DocumentError(problem, hint=f"the other is at {twin.location}", location=new.location)
        self._by_id[new.id] = (*known, new)

    def versions(self, id: str) -> tuple[Template, ...]:
        if id not in self._by_id:
            self._by_id[id] = self._shipped.read(id, self._vocabulary)
        return self._by_id[id]

    def names(self) -> Iterable[str]:
        return {*(id for id, known in self._by_id.items() if known), *self._shipped.texts}

    def answers_as_before(self, used: Iterable[Found]) -> bool:
        return all(self._same(found) for found in used)

    def _same(self, found: Found) -> bool:
        try:
            now = find(self, found.use).template
        except DocumentError:
            return False  # whoever reads the file anew says so
        return now is found.template or now.digest == found.template.digest
