"""All gates, in the order in which policies pass them: the quick ones first, what needs people last."""

from __future__ import annotations

from adapters.gates.approval import Approval
from adapters.gates.candidate import Gate
from adapters.gates.policy_tests import PolicyTests
from adapters.gates.surveys import Surveys
from adapters.gates.validation import Validation
from adapters.settings import Settings

__all__ = ["gates_of"]


def gates_of(settings: Settings) -> tuple[Gate, ...]:
    surveys = Surveys()
    return (PolicyTests(settings), Validation(settings, surveys), Approval(settings, surveys))
