"""Documents in their canonical form: the order of keys, one way to lay out, conditions as the printer writes them.

Comments are kept, each with the entry that it stands above or behind. What
would lose one (a comment inside a condition, or where no entry follows) is
refused, and so is whatever would not read back as the same document: every
result is read again before it is given out.

Short lists and mappings of plain values stand on one line; nested ones do where
their author wrote them so and they fit. Blank lines stay, one at a time.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import yaml

from spir.errors import DocumentError, Location
from spir.language.binding import PARAMETERS
from spir.language.canonical import canonical
from spir.language.cel import ROOTS, parse
from spir.language.document import KINDS
from spir.language.kinds import permission_map, policy_set, policy_test, vocabulary_document
from spir.language.kinds.instance import INSTANCE_FIELDS
from spir.language.kinds.template import LANGUAGES
from spir.language.nodes import Fields, Items, Node, plain, read_nodes
from spir.language.parameters import PARAMETER_FIELDS
from spir.language.printer import to_cel
from spir.model.condition import And, Condition, Conditional, Or

__all__ = ["format_document", "is_document"]

WIDTH = 120
ONE_LINE = 80  # characters of a condition that stand on one line
PROSE = 100

Tree: TypeAlias = Any  # a node of PyYAML

# A policy is written out or made from a template; keys that both have stand in the same order.
_POLICY = ("id", "description", "effect", *INSTANCE_FIELDS[2:5], *policy_set.POLICY_FIELDS[3:])

# path below the document, `*` for any key or place -> order of the keys; keys that are not named keep theirs, behind
_ORDERS: Mapping[tuple[str, ...], tuple[str, ...]] = MappingProxyType(
    {
        ("PolicySet", "policies", "*"): _POLICY,
        ("PolicySet", "policies", "*", "valid"): ("from", "until"),
        ("PolicySet", "policies", "*", "obligations", "*"): ("id", "type"),
        ("PermissionMap", "rules", "*"): permission_map.RULE_FIELDS,
        ("Template", "title"): LANGUAGES,
        ("Template", "description"): LANGUAGES,
        ("Template", "parameters", "*"): PARAMETER_FIELDS,
        ("Template", "conditions"): tuple(ROOTS),
        ("Template", "obligations", "*"): ("id", "type"),
        ("Template", "signature"): ("key", "value"),
        ("Vocabulary", "attributes", "*"): vocabulary_document.ATTRIBUTE_FIELDS,
        ("Vocabulary", "actions", "*"): vocabulary_document.ACTION_FIELDS,
        ("PolicyTest", "given"): policy_test.GIVEN_FIELDS,
        ("PolicyTest", "cases", "*"): policy_test.CASE_FIELDS,
        ("PolicyTest", "cases", "*", "given"): policy_test.GIVEN_FIELDS,
    }
)
_CONDITIONS = (("PolicySet", "policies", "*", "when"), ("PermissionMap", "rules", "*", "when"), ("Template", "when"))

_STRINGS = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)


def is_document(text: str, file: str) -> bool:
    """Whether the first thing in the text is a document of ours, well or badly written. Raises DocumentError."""
    first = next(iter(read_nodes(text, file)), None)
    if not isinstance(first, Fields):
        return False
    return {"spir", "kind"} <= first.entries.keys() or (_kind(first) == "Template" and "effect" in first.entries)


def format_document(text: str, file: str) -> str:
    """The canonical form of all documents of a file, YAML or JSON. Raises DocumentError if one cannot be given."""
    nodes = read_nodes(text, file)
    if not is_document(text, file):
        raise DocumentError("this is no document of ours", hint="it has no `spir` and `kind`", location=Location(file))
    for node in nodes:
        _check_conditions(node)
    try:
        made = _json(nodes) if file.endswith(".json") else _Layout(text, file).text()
        same = _meaning(read_nodes(made, "the formatted text")) == _meaning(nodes)
    except yaml.YAMLError as error:
        raise DocumentError("this cannot be formatted", location=Location(file)) from error
    if not same:
        raise DocumentError("this cannot be formatted without changing it", location=Location(file))
    return made


# -- what must not change --------------------------------------------------------------------


def _meaning(nodes: list[Node]) -> str:
    return canonical([_ordered(node, (), one_line=True) for node in nodes])


def _ordered(node: Node, path: tuple[str, ...], *, one_line: bool = False) -> Any:
    """JSON-like data with keys in order and conditions in canonical form."""
    if not path:
        path = (_kind(node),)
    match node:
        case Fields():
            names = _sorted(list(node.entries), path)
            return {name: _ordered(node.entries[name], (*path, name), one_line=one_line) for name in names}
        case Items():
            return [_ordered(item, (*path, "*"), one_line=one_line) for item in node.items]
        case _:
            if _is_condition(path) and isinstance(node.value, str):
                return _condition(node.value, node.content, one_line=one_line)
            return plain(node)


def _kind(node: Node) -> str:
    """Also of a template that other systems exchange, which does not say what it is."""
    entries = node.entries if isinstance(node, Fields) else {}
    found = entries.get("kind")
    return str(plain(found)) if found is not None else "Template" if "template_id" in entries else ""


def _sorted(names: list[str], path: tuple[str, ...]) -> list[str]:
    order = KINDS.get(path[0], ()) if len(path) == 1 else _order(path)
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _order(path: tuple[str, ...]) -> tuple[str, ...]:
    return next((order for pattern, order in _ORDERS.items() if _fits(path, pattern)), ())


def _fits(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    return len(path) == len(pattern) and all(p in ("*", name) for name, p in zip(path, pattern, strict=True))


def _is_condition(path: tuple[str, ...]) -> bool:
    return any(_fits(path, pattern) for pattern in _CONDITIONS)


def _condition(text: str, location: Location | None, *, one_line: bool) -> str:
    """Canonical CEL: on one line if it is short, else a line for each part of the outermost `&&` or `||`."""
    found = parse(text, location=location, variables=(PARAMETERS,))
    printed = to_cel(found)
    if one_line or len(printed) <= ONE_LINE or not isinstance(found, (And, Or)):
        return printed
    sign = "&&" if isinstance(found, And) else "||"
    return f"\n{sign} ".join(_part(item, found) for item in found.items) + "\n"


def _part(item: Condition, whole: And | Or) -> str:
    loose = (And, Or, Conditional) if isinstance(whole, And) else (Or, Conditional)
    return f"({to_cel(item)})" if isinstance(item, loose) else to_cel(item)


def _check_conditions(document: Node) -> None:
    """Refuse what does not parse, with its place, and the comments of CEL (`//`): the tree that is printed has none."""
    waiting: list[tuple[tuple[str, ...], Node]] = [((_kind(document),), document)]
    while waiting:
        path, node = waiting.pop()
        match node:
            case Fields():
                waiting.extend(((*path, name), below) for name, below in node.entries.items())
            case Items():
                waiting.extend(((*path, "*"), below) for below in node.items)
            case _:
                if not _is_condition(path) or not isinstance(node.value, str):
                    continue
                parse(node.value, location=node.content, variables=(PARAMETERS,))
                if "//" in _STRINGS.sub("", node.value):
                    hint = "put it above the policy, as a `#` comment"
                    raise DocumentError("a comment inside a condition would be lost", hint=hint, location=node.location)


def _json(nodes: list[Node]) -> str:
    return "".join(json.dumps(_ordered(node, (), one_line=True), ensure_ascii=False, indent=2) + "\n" for node in nodes)


# -- YAML with its comments ------------------------------------------------------------------


@dataclass(slots=True)
class _Entry:
    """A key with its value, or an item of a list (without a key), and the comments that go with it.

    `above` holds comments and, as "", blank lines.
    """

    key: Tree
    value: Tree
    above: list[str] = field(default_factory=list)
    behind: str = ""
    inner: list[_Entry] = field(default_factory=list)

    @property
    def start(self) -> Any:
        return (self.key or self.value).start_mark

    def every(self) -> Iterator[_Entry]:
        """This one and all below it, as they are written."""
        yield self
        for entry in self.inner:
            yield from entry.every()

    @property
    def commented(self) -> bool:
        """Whether anything below it has a comment."""
        return any(one.behind or any(one.above) for entry in self.inner for one in entry.every())


class _Layout:
    """One file: its documents as entries, its comments put to them, and all of it written anew."""

    def __init__(self, source: str, file: str) -> None:
        self.source = source.replace("\r\n", "\n")
        self.file = file
        self.lines = self.source.split("\n")
        if any(line.startswith("%") for line in self.lines):
            raise DocumentError("directives cannot be kept", hint="take the `%` line out", location=Location(file))
        trees = _composed(self.source)
        self.roots = [_Entry(None, tree, inner=_entries(tree)) for tree in trees]
        self.comments = _comments(self.source, trees)
        self.footer = self._attach()

    def text(self) -> str:
        parts = [self._document(root) for root in self.roots]
        made = "---\n".join("".join(f"{line}\n" for line in part) for part in parts)
        made += "".join(f"{line}\n" for line in self.footer)
        again = _composed(made)
        if Counter(self.comments.values()) != Counter(_comments(made, again).values()):
            hint = "put each comment above an entry, or at the end of its line"
            raise DocumentError("a comment here would be lost", hint=hint, location=self._lost(made, again))
        return made

    def _lost(self, made: str, again: list[Tree]) -> Location:
        left = Counter(self.comments.values()) - Counter(_comments(made, again).values())
        found = next((place for place, text in self.comments.items() if text in left), None)
        return Location(self.file, found[0] + 1, found[1] + 1) if found else Location(self.file)

    # -- which comment belongs to what --

    def _attach(self) -> list[str]:
        """Give each entry its comments; those behind the last one are returned."""
        own = {line for line, column in self.comments if not self.lines[line][:column].strip()}
        seen: set[int] = set()
        every = [entry for root in self.roots for top in root.inner for entry in top.every()]
        for entry in every:
            line = entry.start.line
            if line not in seen:
                seen.add(line)
                entry.above = self._above(line, own)
        for (line, column), text in self.comments.items():
            if line not in own:
                self._put_behind(every, line, column, text)
        footer = self._above(len(self.lines), own)
        while footer and not footer[-1]:
            footer.pop()
        return footer

    def _above(self, line: int, own: set[int]) -> list[str]:
        """Comments and blank lines directly above a line, in order."""
        found: list[str] = []
        while line > 0 and (line - 1 in own or not self.lines[line - 1].strip()):
            line -= 1
            found.append(self.lines[line].strip())
        return _tidy(found[::-1])

    def _put_behind(self, every: list[_Entry], line: int, column: int, text: str) -> None:
        """To the outermost entry that ends on this line, else to the innermost that begins on it."""
        ending = (e for e in every if _end(e.value) == line and e.value.end_mark.column <= column)
        beginning = (e for e in reversed(every) if e.start.line == line and e.start.column < column)
        entry = next(ending, None) or next(beginning, None)
        if entry is not None and not entry.behind:
            entry.behind = text

    # -- writing --

    def _document(self, root: _Entry) -> list[str]:
        values = {str(e.key.value): e.value.value for e in root.inner if e.key is not None}
        kind = values.get("kind", "Template" if "template_id" in values else "")
        return self._block(root, (str(kind),), 0)

    def _block(self, entry: _Entry, path: tuple[str, ...], indent: int) -> list[str]:
        lines: list[str] = []
        for number, inner in enumerate(_in_order(entry, path)):
            written = self._written(inner, path, indent)
            above = inner.above if number or not indent else _without_first_blanks(inner.above)
            lines += [" " * indent + text if text else "" for text in above]
            lines += written
        return lines

    def _written(self, entry: _Entry, path: tuple[str, ...], indent: int) -> list[str]:
        """The lines of one entry, without what stands above it."""
        below = (*path, "*" if entry.key is None else str(entry.key.value))
        head = "-" if entry.key is None else f"{self._scalar(entry.key, flow=False)}:"
        behind = f"  {entry.behind}" if entry.behind else ""
        space = WIDTH - indent - len(head) - 1
        if entry.inner and (self._is_block(entry, below) or len(self._flow(entry, below)) > space):
            return self._nested(entry, below, indent, head, behind)
        if not isinstance(entry.value, yaml.ScalarNode):
            return [f"{' ' * indent}{head} {self._flow(entry, below)}{behind}"]
        first, *rest = self._value(entry.value, below, space)
        return [f"{' ' * indent}{head} {first}".rstrip() + behind, *(" " * (indent + 2) + r if r else "" for r in rest)]

    def _nested(self, entry: _Entry, path: tuple[str, ...], indent: int, head: str, behind: str) -> list[str]:
        if entry.key is not None:
            return [f"{' ' * indent}{head}{behind}", *self._block(entry, path, indent + 2)]
        # What stands above the first key of an item has to stand above the item.
        first = _in_order(entry, path)[0]
        entry.above = [*entry.above, *(text for text in first.above if text), *([entry.behind] if behind else [])]
        first.above = []
        lines = self._block(entry, path, indent + 2)
        return [f"{' ' * indent}- {lines[0].lstrip()}", *lines[1:]]

    def _is_block(self, entry: _Entry, path: tuple[str, ...]) -> bool:
        """Whether it cannot stand on one line, whatever its length."""
        nested = any(inner.inner for inner in entry.inner)
        if entry.commented or (nested and not entry.value.flow_style):
            return True
        return any("\n" in line for inner in entry.inner for line in self._texts(inner, path))

    def _texts(self, entry: _Entry, path: tuple[str, ...]) -> Iterator[str]:
        """The values of all scalars below, as they are to be."""
        below = (*path, "*" if entry.key is None else str(entry.key.value))
        if isinstance(entry.value, yaml.ScalarNode):
            yield self._text_of(entry.value, below)
        for inner in entry.inner:
            yield from self._texts(inner, below)

    def _text_of(self, node: Tree, path: tuple[str, ...]) -> str:
        return _condition(node.value, None, one_line=False) if _is_condition(path) else str(node.value)

    def _flow(self, entry: _Entry, path: tuple[str, ...]) -> str:
        """On one line."""
        if isinstance(entry.value, yaml.ScalarNode):
            if not _is_condition(path):
                return self._scalar(entry.value, flow=True)
            text = self._text_of(entry.value, path)
            return text if _reads_back(text, flow=True) else _quoted(text)
        parts = []
        for inner in _in_order(entry, path):
            below = (*path, "*" if inner.key is None else str(inner.key.value))
            key = "" if inner.key is None else f"{self._scalar(inner.key, flow=True)}: "
            parts.append(f"{key}{self._flow(inner, below)}")
        return f"[{', '.join(parts)}]" if isinstance(entry.value, yaml.SequenceNode) else f"{{{', '.join(parts)}}}"

    def _scalar(self, node: Tree, *, flow: bool) -> str:
        """A scalar on one line, as its author wrote it if that is possible there."""
        written = self.source[node.start_mark.index : node.end_mark.index]
        if "\n" in written or node.style in ("|", ">"):
            return _any_style(node.value, flow=flow)
        if node.style:
            return written
        if not written:
            return "null" if flow else ""
        return written if not flow or not re.search(r"[\[\]{},]", written) else _quoted(node.value)

    def _value(self, node: Tree, path: tuple[str, ...], space: int) -> list[str]:
        """The value of a key: one line, or the head of a block and its lines."""
        text = self._text_of(node, path)
        if _is_condition(path):
            if "\n" not in text and _reads_back(text, flow=False):
                return [text]
            return ["|", *text.rstrip("\n").split("\n")]
        if "\n" in text and _fits_a_block(text):
            return ["|" if text.endswith("\n") else "|-", *text.removesuffix("\n").split("\n")]
        written = self._scalar(node, flow=False)
        if len(written) > space and "\n" not in text and text == " ".join(text.split()) and _is_text(node):
            return [">-", *_wrapped(text)]
        return [written]


def _composed(text: str) -> list[Tree]:
    """The documents of a text but for empty ones."""
    # The loader in Python: its marks count characters, whatever PyYAML was built with.
    trees = yaml.compose_all(text, Loader=yaml.SafeLoader)
    return [tree for tree in trees if tree is not None and (not isinstance(tree, yaml.ScalarNode) or tree.value)]


def _end(tree: Tree) -> int:
    """The line on which a value ends; -1 for a block, whose end is where the next thing begins."""
    block = tree.style in ("|", ">") if isinstance(tree, yaml.ScalarNode) else not tree.flow_style
    return -1 if block else int(tree.end_mark.line)


def _entries(tree: Tree) -> list[_Entry]:
    match tree:
        case yaml.MappingNode():
            return [_Entry(key, value, inner=_entries(value)) for key, value in tree.value]
        case yaml.SequenceNode():
            return [_Entry(None, item, inner=_entries(item)) for item in tree.value]
        case _:
            return []


def _in_order(entry: _Entry, path: tuple[str, ...]) -> list[_Entry]:
    if not isinstance(entry.value, yaml.MappingNode):
        return entry.inner
    by_name = {str(inner.key.value): inner for inner in entry.inner}
    return [by_name[name] for name in _sorted(list(by_name), path)]


def _comments(source: str, trees: list[Tree]) -> dict[tuple[int, int], str]:
    """All comments of a text, by line and column, both from 0."""
    covered = bytearray(len(source) + 1)
    for start, end in (span for tree in trees for span in _spans(tree, source)):
        covered[start:end] = b"\1" * (end - start)
    found: dict[tuple[int, int], str] = {}
    offset = 0
    for number, line in enumerate(source.split("\n")):
        for column, letter in enumerate(line):
            opens = letter == "#" and not covered[offset + column]
            if opens and (column == 0 or line[column - 1] in " \t"):
                found[number, column] = line[column:].rstrip()
                break
        offset += len(line) + 1
    return found


def _spans(tree: Tree, source: str) -> Iterator[tuple[int, int]]:
    """Where scalars stand: a `#` there is no comment. What stands behind the `|` of a block is."""
    if isinstance(tree, yaml.ScalarNode):
        start, end = tree.start_mark.index, tree.end_mark.index
        if tree.style in ("|", ">"):
            feed = source.find("\n", start)
            start = end if feed < 0 else feed
        yield start, max(start, end)
        return
    for part in tree.value:
        for below in part if isinstance(part, tuple) else (part,):
            yield from _spans(below, source)


def _tidy(lines: list[str]) -> list[str]:
    """Never two blank lines together."""
    return [line for number, line in enumerate(lines) if line or (number == 0 or lines[number - 1])]


def _without_first_blanks(lines: list[str]) -> list[str]:
    while lines and not lines[0]:
        lines = lines[1:]
    return lines


def _reads_back(text: str, *, flow: bool) -> bool:
    """Whether the text may stand without quotes."""
    try:
        nodes = read_nodes(f"{{k: {text}}}" if flow else f"k: {text}", "text")
    except DocumentError:
        return False
    return [plain(node) for node in nodes] == [{"k": text}]


def _any_style(text: str, *, flow: bool) -> str:
    if "\n" in text or not text.isprintable():
        return json.dumps(text, ensure_ascii=False)
    return text if _reads_back(text, flow=flow) else _quoted(text)


def _quoted(text: str) -> str:
    """In the quotes that it does not hold itself."""
    return json.dumps(text, ensure_ascii=False) if '"' not in text else "'" + text.replace("'", "''") + "'"


def _fits_a_block(text: str) -> bool:
    """Whether a block can hold it as it is: no blank at its beginning, one line feed at most at its end."""
    lines = text.removesuffix("\n").split("\n")
    clean = all(line == line.rstrip() and line.isprintable() for line in lines)
    return clean and bool(lines[0]) and not lines[0].startswith(" ") and bool(lines[-1])


def _is_text(node: Tree) -> bool:
    return bool(node.style) or _reads_back(node.value, flow=False)


def _wrapped(text: str) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > PROSE:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line
