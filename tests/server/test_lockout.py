"""What an operator takes away is gone at once, for operations that are open too."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fidoloop.server import admin, sessions
from tests.server.harness import JSON, Bench, running, session_id_of
from tests.server.phone import NOW as START

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


def test_what_is_open_for_others_stays_open(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone, other = await bench.registered(target=True), await bench.registered("mia", target=True)
        (target,) = await admin.list_targets(bench.store, "jeff")
        open_for_other = await bench.uaf_request("Auth", {"username": "mia"})
        open_for_all = await bench.uaf_request("Auth", {}, api=False)
        await admin.revoke_target(bench.store, target.id, now=bench.clock())
        await admin.revoke_credential(bench.store, phone.keys[0].text, now=bench.clock())
        await admin.disable_user(bench.store, "jeff", now=bench.clock())
        for request in (open_for_other, open_for_all):
            assert (await bench.respond("Auth", other.authenticate(request)))["statusCode"] == 1200

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


def test_the_audit_trail_outlives_the_sessions_it_is_read_from(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        for _ in range(2):  # the second by what the server remembers
            bench.clock.advance(1)
            request = await bench.uaf_request("Auth", {}, api=False)
            assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
        bench.clock.advance(1)
        request = await bench.uaf_request("Auth", {"username": "jeff"})
        await bench.respond("Auth", phone.authenticate(request) | {"fcParams": "e30"})
        await bench.uaf_request("Auth", {}, api=False)  # never answered
        trail = await admin.audit_entries(bench.store, "jeff")
        wanted = [("authentication", 1498), ("authentication", 1200), ("authentication", 1200), ("registration", 1200)]
        assert [(entry.event, entry.outcome) for entry in trail if entry.event != "user-added"] == wanted
        (latest,) = [entry for entry in trail if entry.session_id and entry.outcome == 1498]
        assert (latest.address, latest.requested_from, latest.key_id) == ("127.0.0.1", "127.0.0.1", None)
        assert {entry.key_id for entry in trail if entry.outcome == 1200} >= {phone.keys[0].text}
        for now in (0, 3600, 3604):
            bench.clock.now = START + now * 1000
            removed = await sessions.purge(bench.store, now=bench.clock(), keep_millis=3_600_000)
            assert removed == (5 if now == 3604 else 0)
            again = await admin.audit_entries(bench.store, "jeff")
            assert sorted(map(repr, again)) == sorted(map(repr, trail))
        assert (await admin.audit_entries(bench.store, "jeff", limit=1)) == again[:1]

    run(tmp_path, check)


def test_sessions_are_purged_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PURGED_AT_ONCE", 2)

    async def check(bench: Bench) -> None:
        for _ in range(5):
            await bench.uaf_request("Auth", {}, api=False)
        bench.clock.advance(3601)
        assert await sessions.purge(bench.store, now=bench.clock(), keep_millis=3_600_000) == 5

    run(tmp_path, check)


def test_a_model_that_is_revoked_is_locked_out_from_that_day_on(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        tomorrow = datetime.fromtimestamp(START / 1000, UTC).date() + timedelta(days=1)
        report = {"status": "REVOKED", "effectiveDate": tomorrow.isoformat()}
        entry = {"metadataStatement": bench.full.metadata(), "statusReports": [report]}
        path = tmp_path / "metadata" / f"{bench.full.aaid.replace('#', '-')}.json"
        path.write_text(json.dumps(entry))
        for seconds, wanted in ((2, 1200), (2, 1200), (24 * 3600, 1493)):  # the second by what the server remembers
            bench.clock.advance(seconds)
            request = await bench.uaf_request("Auth", {}, api=False)
            assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == wanted

    run(tmp_path, check)
