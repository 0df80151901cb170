"""Passkeys in a browser without a screen: logging in, making one while logged in, deleting it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fidoloop.server.fido2.credentials import list_credentials, remove_credential
from fidoloop.server.settings.fido2 import Fido2
from fidoloop.server.settings.rate_limits import RateLimitSettings
from tests.protocol.webauthn.builders import UP
from tests.server.harness import BASE, JSON, Bench, running
from tests.server.passkeys import Passkey, enrolled
from tests.server.web.visitor import Visitor, visiting

OPTIONS, RESULT = "/nevisfido/fido2/attestation/options", "/nevisfido/fido2/attestation/result"
NEW = {"username": "jeff", "displayName": "Jeff", "authenticatorSelection": {"residentKey": "required"}}


def run(home: Path, check: Callable[[Bench], Awaitable[None]], **options: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with running(home, **options) as bench:
            await check(bench)

    asyncio.run(scenario())


async def asked(visitor: Visitor, **members: str) -> dict[str, Any]:
    answer = await visitor.post("/web/passkey/options", members)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def log_in(visitor: Visitor, passkey: Passkey, *, remember: bool = False) -> int:
    credential = passkey.get(await asked(visitor))
    return (await visitor.post("/web/passkey", {"credential": credential, "remember": remember})).status_code


def test_a_passkey_logs_a_browser_in(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        passkey = await enrolled(bench, "mia")
        async with visiting(bench) as visitor:
            options = await asked(visitor)
            assert options["allowCredentials"] == []
            assert options["userVerification"] == "required"
            answer = await visitor.post("/web/passkey", {"credential": passkey.get(options)})
            assert answer.json() == {"username": "mia"}
            assert await visitor.who() == "mia"
            (shown,) = (await visitor.get("/web/passkeys")).json()["passkeys"]
            assert (shown["id"], shown["current"], shown["counter"]) == (passkey.name, True, 1)
            await remove_credential(bench.store, passkey.name, now=bench.clock())
            assert await visitor.who() is None

    run(tmp_path, check)


def test_only_the_browser_that_asked_can_answer_and_once(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        passkey = await enrolled(bench)
        async with visiting(bench) as victim, visiting(bench) as other:
            options = await asked(victim)
            credential = {"credential": passkey.get(options)}
            await asked(other)
            assert (await other.post("/web/passkey", credential)).status_code == 403
            assert (await bench.post("/fido2/assertion/result", credential["credential"], JSON)).status_code == 403
            assert (await victim.post("/web/passkey", credential)).status_code == 200
            assert (await victim.post("/web/passkey", credential)).status_code == 403
            assert (await victim.who(), await other.who()) == ("jeff", None)

    run(tmp_path, check)


def test_a_log_in_takes_verification_whatever_the_settings_say(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        passkey = await enrolled(bench, passkey=Passkey(flags=UP))
        async with visiting(bench) as visitor:
            assert await log_in(visitor, passkey) == 403
            assert await visitor.who() is None

    run(tmp_path, check, fido2=Fido2(user_verification="discouraged"))


def test_a_browser_that_is_logged_in_makes_passkeys_for_its_user_only(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered("jeff")
        async with visiting(bench) as visitor, visiting(bench) as other:
            assert (await visitor.post(OPTIONS, NEW)).status_code == 401
            await visitor.log_in(bench, phone)
            elsewhere = await visitor.post(OPTIONS, NEW, origin="https://evil.example")
            assert elsewhere.status_code == 401
            foreign = await visitor.post(OPTIONS, NEW | {"username": "mia"})
            assert foreign.status_code == 403
            assert "who is logged in" in foreign.json()["errorMessage"]
            passkey = Passkey()
            credential = passkey.create((await visitor.post(OPTIONS, NEW)).json())
            # Neither nobody, nor another's browser, nor an API credential brings what this browser asked for.
            await other.log_in(bench, await bench.registered("mia"))
            assert (await other.post(RESULT, credential)).status_code == 403
            assert (await bench.post("/fido2/attestation/result", credential, JSON, api=True)).status_code == 403
            assert await list_credentials(bench.store) == []
            assert (await visitor.post(RESULT, credential)).status_code == 200
            (kept,) = await list_credentials(bench.store)
            assert kept.username == "jeff"
            assert (await visitor.post("/web/logout", {})).status_code == 204
            assert await log_in(visitor, passkey) == 200
            assert await visitor.who() == "jeff"

    run(tmp_path, check)


def test_users_delete_their_own_passkeys_and_are_logged_out_by_it(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        own, spare, others = await enrolled(bench), await enrolled(bench), await enrolled(bench, "mia")
        async with visiting(bench) as visitor:
            assert (await visitor.get("/web/passkeys")).status_code == 401
            assert (await visitor.post("/web/passkey/remove", {"id": own.name})).status_code == 401
            assert await log_in(visitor, own, remember=True) == 200
            assert (await visitor.post("/web/passkey/remove", {"id": others.name})).status_code == 404
            assert (await visitor.post("/web/passkey/remove", {"id": spare.name})).status_code == 204
            assert await visitor.who() == "jeff"
            assert (await visitor.post("/web/passkey/remove", {"id": own.name})).status_code == 204
            assert await visitor.who() is None
        assert [one.username for one in await list_credentials(bench.store)] == ["mia"]

    run(tmp_path, check)


def test_too_many_and_foreign_pages_are_refused(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        async with visiting(bench) as visitor:
            await asked(visitor)
            answer = await visitor.post("/web/passkey/options", {})
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "60"
            for path in ("/web/passkey/options", "/web/passkey", "/web/passkey/remove"):
                answer = await visitor.post(path, {}, origin="https://evil.example")
                assert answer.status_code == 403
                assert BASE in answer.json()["detail"]

    run(tmp_path, check, rate_limits=RateLimitSettings(begun=1, exempt=()))


def test_users_who_are_named_get_the_same_kind_of_answer_whoever_they_are(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        passkey = await enrolled(bench, "mia", response={"transports": ["usb"]})
        async with visiting(bench) as visitor:
            real, made_up = await asked(visitor, username="mia"), await asked(visitor, username="nobody")
            assert real["allowCredentials"][0]["id"] == passkey.name
            assert set(real["allowCredentials"][0]) == set(made_up["allowCredentials"][0])
            answer = await visitor.post("/web/passkey", {"credential": passkey.get(made_up)})
            assert answer.status_code == 403

    run(tmp_path, check)
