"""The webhook receiver keeps what is signed, and nothing else."""

from __future__ import annotations

import pytest

from adapters.sandbox.asgi import Request
from adapters.sandbox.hook import SIGNATURE, SandboxHook, signature

SECRET = b"invented"
BODY = b'{"alert":"high"}'


def post(hook: SandboxHook, body: bytes, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return hook.answer(Request("POST", "/alerts", "", named, body, "")).status


def test_a_signed_delivery_is_kept():
    hook = SandboxHook(sandbox=True, secret=SECRET)
    assert post(hook, BODY, **{SIGNATURE: signature(SECRET, BODY)}) == 204
    assert [(one.path, one.body) for one in hook.deliveries] == [("/alerts", {"alert": "high"})]
    assert hook.wait(1)


@pytest.mark.parametrize("given", ["", "sha256=00", signature(b"other", BODY), "\u00ff"])
def test_what_is_not_signed_with_the_secret_is_refused(given):
    hook = SandboxHook(sandbox=True, secret=SECRET)
    assert post(hook, BODY, **{SIGNATURE: given}) == 401
    assert (hook.deliveries, hook.refused) == ([], 1)


def test_a_changed_body_breaks_the_signature():
    hook = SandboxHook(sandbox=True, secret=SECRET)
    assert post(hook, BODY + b" ", **{SIGNATURE: signature(SECRET, BODY)}) == 401


def test_without_a_secret_anything_that_is_json_is_kept():
    hook = SandboxHook(sandbox=True)
    assert (post(hook, BODY), post(hook, b"no json")) == (204, 400)


def test_it_can_be_told_to_fail_first():
    hook = SandboxHook(sandbox=True, failing=2)
    assert [post(hook, BODY) for _ in range(3)] == [503, 503, 204]


def test_other_methods_are_refused():
    assert SandboxHook(sandbox=True).answer(Request("GET", "/", "", {}, b"", "")).status == 405


def test_only_the_last_thousand_are_kept():
    hook = SandboxHook(sandbox=True)
    assert {post(hook, BODY) for _ in range(1001)} == {204}
    assert len(hook.deliveries) == 1000
