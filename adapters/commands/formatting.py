"""`spir fmt`: documents in their canonical form, in place."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adapters.commands.output import FINDING, OK, USAGE, say
from spir.embed import collect
from spir.errors import DocumentError, Location
from spir.language.format import format_document, is_document

__all__ = ["fmt"]


def fmt(arguments: Namespace) -> int:
    """0; with `--check` 1 if a file would change; 2 if one is refused. A refused file does not hold up the others."""
    named = {str(Path(name)) for name in arguments.paths}
    found = [_formatted(name, text, arguments.check, name in named) for name, text in collect(*arguments.paths).items()]
    for one in found:
        if one["state"] == "refused":
            print(f"spir: {one['error']}", file=sys.stderr)
    say(arguments, found, _lines(found, arguments.check))
    states = {one["state"] for one in found}
    if "refused" in states:
        return USAGE
    return FINDING if arguments.check and "changed" in states else OK


def _formatted(name: str, text: str, check: bool, named: bool) -> dict[str, Any]:
    """What became of one file: changed, unchanged, refused, or left (it is not ours, and nobody named it)."""
    try:
        if not named and not is_document(text, name):
            return {"file": name, "state": "left"}
        made = format_document(text, name)
        if made == text:
            return {"file": name, "state": "unchanged"}
        if not check:
            _replace(Path(name), made)
        return {"file": name, "state": "changed"}
    except DocumentError as error:
        return {"file": name, "state": "refused", "error": str(error)}


def _replace(path: Path, text: str) -> None:
    """All of it or nothing: a file that is cut off would be another policy."""
    draft = path.with_name(f"{path.name}.fmt")
    try:
        draft.write_text(text, "utf-8")
        draft.chmod(path.stat().st_mode & 0o777)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        reason = error.strerror or "unknown reason"
        raise DocumentError(f"cannot be written: {reason}", location=Location(str(path))) from error


def _lines(found: list[dict[str, Any]], check: bool) -> Iterator[str]:
    verb = "would change" if check else "formatted"
    yield from (f"{verb}: {one['file']}" for one in found if one["state"] == "changed")
    counts = {state: sum(one["state"] == state for one in found) for state in ("changed", "unchanged", "refused")}
    yield ", ".join(f"{number} {state}" for state, number in counts.items())
