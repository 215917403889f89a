"""What takes long runs beside the event loop: others go first, too much is refused, and it comes to an end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from adapters.authzen.answer import Refused
from adapters.authzen.aside import Aside
from tests.authzen.given_pdp import GivenPdp, ask, evaluation, pdp


def test_a_decision_is_given_while_an_explanation_is_being_made():
    port, go_on = GivenPdp(), threading.Event()
    explained = port.explain

    def slow(request, over):
        assert go_on.wait(20)
        return explained(request, over)

    port.explain = slow

    async def run():
        app = pdp(port)
        why = asyncio.create_task(ask(app, "POST", "/v1/explain", evaluation()))
        decision = await ask(app, "POST", "/access/v1/evaluation", evaluation())
        assert not why.done()
        go_on.set()
        return decision.status, (await why).status

    assert asyncio.run(run()) == (200, 200)


def test_what_it_returns_and_raises_comes_back():
    async def run():
        aside = Aside()
        assert await aside.run(lambda over: (over(), threading.current_thread().name)) == (False, "spir-aside_0")
        with pytest.raises(ZeroDivisionError):
            await aside.run(lambda over: 1 / 0)
        await aside.close()
        await aside.close()

    asyncio.run(run())


def test_too_many_at_once_are_refused_and_later_ones_are_not():
    async def run():
        aside, go_on = Aside(most=2), threading.Event()
        two = [asyncio.create_task(aside.run(lambda over: go_on.wait(20))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refused) as caught:
            await aside.run(lambda over: True)
        assert caught.value.status == 503
        go_on.set()
        assert await asyncio.gather(*two) == [True, True]
        assert await aside.run(lambda over: "later") == "later"
        await aside.close()

    asyncio.run(run())


def test_nobody_waits_longer_than_allowed_and_the_work_is_told_to_end():
    ended = threading.Event()

    def endless(over):
        while not over():
            pass
        ended.set()

    async def run():
        aside, hold = Aside(seconds=0.05), threading.Event()
        stuck = asyncio.create_task(aside.run(lambda over: hold.wait(20)))
        waited = asyncio.create_task(aside.run(lambda over: pytest.fail("it began too late")))
        for late in (stuck, waited):
            with pytest.raises(Refused):
                await late
        hold.set()
        await aside.close()
        other = Aside(seconds=0.2)
        await other.run(endless)
        await other.close()

    asyncio.run(run())
    assert ended.is_set()
