"""What must hold on any database: one winner of many, and every statement of the pages."""

import asyncio
import json
from pathlib import Path
from typing import Any

from fidoloop.server.settings.declared import WebPush
from fidoloop.server.web import operations
from tests.server.harness import Bench, running
from tests.server.phone import Phone
from tests.server.web.test_devices import devices
from tests.server.web.test_pushes import Postbox, confirm, postbox, reachable
from tests.server.web.visitor import Visitor, answer_link, token_in, visiting

__all__ = ["postbox"]  # a fixture
TRIES = 6


async def race(visitor: Visitor, path: str, body: dict[str, Any]) -> list[int]:
    """Statuses of the same request made many times at once, with the cookies of the moment."""
    cookie = "; ".join(f"{name}={value}" for name, value in visitor.client.cookies.items())
    answers = await asyncio.gather(*(visitor.post(path, body, cookie=cookie) for _ in range(TRIES)))
    return sorted(answer.status_code for answer in answers)


def test_one_of_many_gets_a_log_in_a_push_and_an_enrolment_back(
    tmp_path: Path, database: str, postbox: Postbox
) -> None:
    async def scenario() -> None:
        settings: dict[str, Any] = {"insecure": True, "web_push": WebPush(networks=("127.0.0.0/8",))}
        async with running(tmp_path, database=database, **settings) as bench, visiting(bench) as visitor:
            phone = await reachable(bench, postbox)
            begun = await visitor.begin()
            await answer_link(bench, begun["link"], phone)
            wanted = {"id": begun["id"], "remember": True}
            assert await race(visitor, "/web/login/finish", wanted) == [200] + [403] * (TRIES - 1)
            await visitor.log_in(bench, phone, remember=True)
            assert await visitor.who() == "jeff"
            await check_enrolment(bench, visitor)
            assert (await visitor.post("/web/logout", {})).status_code == 204
            await check_push(bench, visitor, phone, postbox)
            assert (await visitor.post("/web/devices/forget", {})).status_code == 204
            await operations.purge(bench.store, now=bench.clock())
            await operations.forget_all(bench.store)
            assert await visitor.who() is None

    asyncio.run(scenario())


async def check_enrolment(bench: Bench, visitor: Visitor) -> None:
    begun = (await visitor.post("/web/enrol", {})).json()
    returned = await bench.redeem(token_in(begun["link"]), "registration")
    (request,) = json.loads(returned["uafRequest"])
    new = Phone(bench.full)
    context = {"dispatchTarget": new.target("another")}
    assert (await bench.respond("Reg", new.register(request), context))["statusCode"] == 1200
    assert await race(visitor, "/web/enrol/undo", {"id": begun["id"]}) == [204] + [403] * (TRIES - 1)


async def check_push(bench: Bench, visitor: Visitor, phone: Phone, postbox: Postbox) -> None:
    wanted = {"by": "push", "username": "jeff"}
    assert await race(visitor, "/web/login", wanted) == [200] + [429] * (TRIES - 1)
    await postbox.received(bench, phone)
    (device,) = (await devices(visitor))["jeff"]
    bench.clock.advance(120)
    begun = await visitor.begin("push", device=device["id"])
    content = await postbox.received(bench, phone)
    assert await confirm(bench, phone, content.token, begun["number"]) == 1200
    assert await visitor.finish(begun["id"]) == 200
