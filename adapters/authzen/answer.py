"""A decision in the words of AuthZEN: `{"decision": ..., "context": {...}}`, with obligations and reasons. Pure.

Only a plain permit is `true`. A conditional decision is `false`, and its context
says that it is conditional and on what. An enforcement point that names the
obligations it can carry out (`context.obligations_supported`) is not permitted
what would need another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.authzen.ucast import condition_tree, is_exact
from spir.errors import SpirError
from spir.language.printer import to_cel
from spir.model.decision import Decision, Effect
from spir.model.obligation import Incomparable, Obligation, joined, unmet
from spir.model.request import Request

__all__ = ["Refused", "Verdict", "answer", "failure", "planned", "refusal"]


class Refused(SpirError):
    """The call is refused: `status` of HTTP. What may be done about it is in the hint."""

    def __init__(self, status: int, message: str, *, hint: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()):
        super().__init__(message, hint=hint)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a caller is told: `permitted`, and what it must do. `unsupported`: duties that it has said it cannot do."""

    permitted: bool
    duties: tuple[Obligation, ...]
    unsupported: tuple[Obligation, ...] = ()

    @classmethod
    def of(cls, request: Request, decision: Decision) -> Verdict:
        """Only a plain permit is permitted. A duty that depends on data nobody has given binds."""
        if decision.effect is not Effect.PERMIT:
            return cls(False, decision.obligations)
        duties = decision.obligations
        if decision.tied:
            try:
                duties = joined((*duties, *(tied.obligation for tied in decision.tied)))
            except Incomparable:
                return cls(False, ())
        missing = _unsupported(request, duties)
        return cls(not missing, duties, missing)


def answer(request: Request, decision: Decision) -> dict[str, Any]:
    """The answer to one evaluation."""
    verdict = Verdict.of(request, decision)
    context = _context(verdict, decision)
    return {"decision": verdict.permitted, "context": context} if context else {"decision": verdict.permitted}


def failure(status: int, message: str) -> dict[str, Any]:
    """The answer to one evaluation that could not be decided."""
    return {"decision": False, "context": {"error": {"status": status, "message": message}}}


def refusal(status: int, message: str, hint: str = "") -> dict[str, Any]:
    """The body of an answer that is no decision."""
    return {"error": {"status": status, "message": f"{message}; {hint}" if hint else message}}


def planned(decision: Decision, pushed: Mapping[str, Any]) -> dict[str, Any]:
    """A plan: everything that the decision says, with the condition that is left as a tree.

    `pushed`: what each adapter would ask its peer for, by adapter.
    """
    body = decision.to_json()
    residual = decision.residual
    if decision.effect is Effect.CONDITIONAL:
        body["residual"] = condition_tree(residual)
        body["exact"] = is_exact(residual)
        body["condition"] = to_cel(residual.condition)
    # each binds unless its condition turns out false for the row
    body["tied"] = [{"obligation": t.obligation.to_json(), "condition": to_cel(t.condition)} for t in decision.tied]
    return {**body, "pushdown": dict(pushed)}


def _context(verdict: Verdict, decision: Decision) -> dict[str, Any]:
    context: dict[str, Any] = {}
    duties = [item.to_json() for item in verdict.duties]
    if decision.effect is Effect.CONDITIONAL:
        context["conditional"] = True
        context["residual"] = condition_tree(decision.residual)
        context["exact"] = is_exact(decision.residual)
        # not `obligations`: those are due at once, also with a `false` (obligations profile, DENY decisions)
        context |= {"pending": duties} if duties else {}
    elif duties:
        context["obligations"] = duties
    if decision.advice:
        context["advice"] = [item.to_json() for item in decision.advice]
    if not verdict.permitted:
        context["reasons"] = _reasons(verdict, decision)
    if decision.valid_until is not None:
        context["valid_until"] = decision.valid_until.isoformat()
    return context


def _reasons(verdict: Verdict, decision: Decision) -> list[dict[str, Any]]:
    """AuthZEN reason objects; `code`, `policy` and `layer` are for programs."""
    found = [reason.to_json() for reason in decision.reasons]
    if decision.effect is Effect.CONDITIONAL:
        found.append({"code": "conditional", "text": "it depends on data that was not given"})
    for item in verdict.unsupported:
        found.append({"code": "obligation-not-supported", "text": f"the caller cannot carry out `{item.type}`"})
    if not found:
        found.append({"code": "obligations-conflict", "text": "its obligations ask for different things"})
    return [
        {"id": str(number), "reason_admin": {"en": reason.pop("text")}, **reason} for number, reason in enumerate(found)
    ]


def _unsupported(request: Request, duties: tuple[Obligation, ...]) -> tuple[Obligation, ...]:
    """Duties that the caller has said it cannot carry out, by not naming them."""
    named = request.context.get("obligations_supported")
    if named is None or not duties:
        return ()
    understood = named if isinstance(named, tuple) else ()
    return unmet(duties, frozenset(name for name in understood if isinstance(name, str)))
