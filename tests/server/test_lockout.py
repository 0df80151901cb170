"""What an operator takes away is gone at once, for operations that are open too."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from fidoloop.server import admin, sessions
from tests.server.harness import JSON, Bench, running, session_id_of

Check = Callable[[Bench], Awaitable[None]]


def run(home: Path, check: Check) -> None:
    async def scenario() -> None:
        async with running(home) as bench:
            await check(bench)

    asyncio.run(scenario())


def test_a_revoked_key_is_locked_out(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        named = await bench.uaf_request("Auth", {"username": "jeff"})
        usernameless = await bench.uaf_request("Auth", {}, api=False)
        await admin.revoke_credential(bench.store, phone.keys[0].text, now=bench.clock())
        assert (await bench.status(session_id_of(named)))["status"] == "failed"
        assert (await bench.respond("Auth", phone.authenticate(named)))["statusCode"] == 1491
        assert (await bench.respond("Auth", phone.authenticate(usernameless)))["statusCode"] == 1481

    run(tmp_path, check)


def test_a_revoked_target_takes_its_tokens_with_it(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        (target,) = await admin.list_targets(bench.store, "jeff")
        wanted = {
            "getUafRequest": {"op": "Auth", "context": "{}"},
            "dispatcher": "link",
            "dispatchTargetId": target.id,
        }
        waiting, redeemed = [
            (await bench.post("/token/dispatch/authentication", wanted, JSON, api=True)).json() for _ in range(2)
        ]
        request = json.loads((await bench.redeem(redeemed["token"]))["uafRequest"])[0]
        await admin.revoke_target(bench.store, target.id, now=bench.clock())
        assert (await bench.redeem(waiting["token"]))["statusCode"] == 1403
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1491
        answer = (await bench.post("/token/dispatch/authentication", wanted, JSON, api=True)).json()
        assert answer["dispatchResult"] == "dispatchTargetNotFound"

    run(tmp_path, check)


def test_a_disabled_user_is_locked_out(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        named = await bench.uaf_request("Auth", {"username": "jeff"})
        usernameless = await bench.uaf_request("Auth", {}, api=False)
        before = await bench.state()
        await admin.disable_user(bench.store, "jeff", now=bench.clock())
        assert (await bench.request("Auth", {"username": "jeff"}))["statusCode"] == 1400
        assert (await bench.request("Reg", {"username": "jeff"}))["statusCode"] == 1400
        assert (await bench.respond("Auth", phone.authenticate(named)))["statusCode"] == 1491
        assert (await bench.respond("Auth", phone.authenticate(usernameless)))["statusCode"] == 1403
        assert await bench.state() == before
        await admin.enable_user(bench.store, "jeff", now=bench.clock())
        request = await bench.uaf_request("Auth", {"username": "jeff"})
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200

    run(tmp_path, check)


def test_old_sessions_are_purged_and_open_ones_kept(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        old = await bench.uaf_request("Auth", {}, api=False)
        bench.clock.advance(3601)
        new = await bench.uaf_request("Auth", {}, api=False)
        assert await sessions.purge(bench.store, now=bench.clock(), keep_millis=3_600_000) == 1
        assert (await bench.status(session_id_of(old)))["status"] == "unknown"
        assert (await bench.status(session_id_of(new)))["status"] == "clientAuthenticating"

    run(tmp_path, check)
