"""A browser that its user had remembered: it is shown his devices, and nobody else is (HTTP contract 11)."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import outofband
from fidoloop.server import admin
from fidoloop.server.web.cookies import BROWSER
from tests.server.harness import Bench
from tests.server.phone import Phone
from tests.server.web.test_pushes import Postbox, confirm, postbox, reachable, run
from tests.server.web.visitor import Visitor, visiting

__all__ = ["postbox"]  # a fixture


async def devices(visitor: Visitor) -> dict[str, list[dict[str, Any]]]:
    answer = await visitor.get("/web/devices")
    assert answer.status_code == 200, answer.text
    return {user["username"]: user["devices"] for user in answer.json()["users"]}


async def device_id(bench: Bench, username: str) -> str:
    return (await admin.list_targets(bench.store, username))[0].id


async def remembered(bench: Bench, visitor: Visitor, phone: Phone) -> None:
    await visitor.log_in(bench, phone, remember=True)
    await visitor.post("/web/logout", {})


def test_only_a_remembered_browser_is_shown_devices(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await reachable(bench, postbox)
        assert await devices(visitor) == {}
        await visitor.log_in(bench, phone)
        assert await devices(visitor) == {}
        await visitor.post("/web/logout", {})
        await remembered(bench, visitor, phone)
        shown = {"id": await device_id(bench, "jeff"), "name": "my phone", "push": True}
        assert await devices(visitor) == {"jeff": [shown]}
        async with visiting(bench) as stranger:
            assert await devices(stranger) == {}
            for by in ("push", "qr"):
                answer = await stranger.post("/web/login", {"by": by, "device": shown["id"]})
                assert answer.status_code == 404
                unknown = await stranger.post("/web/login", {"by": by, "device": "no such"})
                assert (unknown.status_code, unknown.json()) == (404, answer.json())
        await asyncio.gather(*bench.environment.tasks)
        assert postbox.service.asked == []

    run(tmp_path, check)


def test_several_users_share_a_browser_and_see_no_more_than_theirs(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await admin.add_user(bench.store, "zoe", now=bench.clock())
        for name in ("jeff", "mia"):
            await remembered(bench, visitor, await reachable(bench, postbox, name, dispatcher="link"))
        await reachable(bench, postbox, "zoe")
        shown = await devices(visitor)
        assert sorted(shown) == ["jeff", "mia"]
        assert [device["push"] for owned in shown.values() for device in owned] == [False, False]
        answer = await visitor.post("/web/login", {"by": "qr", "device": await device_id(bench, "zoe")})
        assert answer.status_code == 404
        await admin.disable_user(bench.store, "mia", now=bench.clock())
        assert sorted(await devices(visitor)) == ["jeff"]

    run(tmp_path, check)


@pytest.mark.parametrize("end", ["forgotten", "too old", "remembered anew"])
def test_a_copied_cookie_is_worth_nothing_once_the_browser_is_forgotten(
    tmp_path: Path, postbox: Postbox, end: str
) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await reachable(bench, postbox)
        await remembered(bench, visitor, phone)
        async with visiting(bench) as thief:
            thief.client.cookies.set(BROWSER, visitor.client.cookies[BROWSER], domain="localhost.local")
            assert await devices(thief) == await devices(visitor) != {}
            if end == "forgotten":
                assert (await visitor.post("/web/devices/forget", {})).status_code == 204
                assert BROWSER not in visitor.client.cookies
            elif end == "too old":
                bench.clock.advance(90 * 24 * 3600)
            else:
                await remembered(bench, visitor, phone)
                assert sorted(await devices(visitor)) == ["jeff"]
            assert await devices(thief) == {}

    run(tmp_path, check)


def test_a_remembered_browser_is_not_logged_in(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await remembered(bench, visitor, await reachable(bench, postbox))
        assert await visitor.who() is None

    run(tmp_path, check)


@pytest.mark.parametrize("by", ["push", "code beside the push"])
def test_a_device_is_pushed_to_and_its_code_holds_the_same_token(tmp_path: Path, postbox: Postbox, by: str) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await reachable(bench, postbox)
        await remembered(bench, visitor, phone)
        begun = await visitor.begin("push", device=await device_id(bench, "jeff"))
        assert set(begun) == {"id", "now", "number", "link", "qr"}
        pushed = await postbox.received(bench, phone)
        shown = outofband.open_payload(outofband.decode_scanned(begun["link"]), phone.encryption_key)
        assert shown.token == pushed.token
        assert shown.members["channelLinking"] == pushed.members["channelLinking"] == {"mode": "number", "digits": 2}
        token = pushed.token if by == "push" else shown.token
        assert await confirm(bench, phone, token, begun["number"]) == 1200
        assert await visitor.finish(begun["id"]) == 200
        assert await visitor.who() == "jeff"

    run(tmp_path, check)


def test_a_push_that_does_not_get_through_is_said_and_its_code_is_left(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await reachable(bench, postbox)
        await remembered(bench, visitor, phone)
        postbox.fail()
        begun = await visitor.begin("push", device=await device_id(bench, "jeff"))
        assert begun["pushed"] is False
        shown = outofband.open_payload(outofband.decode_scanned(begun["link"]), phone.encryption_key)
        assert await confirm(bench, phone, shown.token, begun["number"]) == 1200
        assert await visitor.finish(begun["id"]) == 200

    run(tmp_path, check)


def test_a_code_for_a_device_is_for_that_device_and_its_user_alone(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone, other = await reachable(bench, postbox), await reachable(bench, postbox, "mia")
        await remembered(bench, visitor, phone)
        begun = await visitor.begin("qr", device=await device_id(bench, "jeff"))
        payload = outofband.decode_scanned(begun["link"])
        assert payload.nma_data_content_type == "application/jose"
        token = outofband.open_payload(payload, phone.encryption_key).token
        assert await confirm(bench, other, token, "") != 1200
        assert await visitor.finish(begun["id"]) == 403

    run(tmp_path, check)


def test_the_choice_of_a_device_counts_as_a_push(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await remembered(bench, visitor, await reachable(bench, postbox))
        device = await device_id(bench, "jeff")
        await visitor.begin("push", device=device)
        async with visiting(bench) as stranger:
            assert (await stranger.post("/web/login", {"by": "push", "username": "jeff"})).status_code == 429
        assert (await visitor.post("/web/login", {"by": "push", "device": device})).status_code == 429

    run(tmp_path, check)
