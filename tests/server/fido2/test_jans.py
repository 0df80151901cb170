"""The same ceremonies in the shape of Janssen's FIDO2 server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2

from fidoloop.server.fido2.authentication import REFUSED
from fidoloop.server.fido2.credentials import list_credentials
from tests.server.harness import BASE, JSON, Bench, running
from tests.server.passkeys import RP_ID, Passkey


def run(home: Path, check: Callable[[Bench], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with running(home) as bench:
            await check(bench)

    asyncio.run(scenario())


async def call(bench: Bench, path: str, body: dict[str, Any], *, api: bool = False) -> httpx2.Response:
    headers = JSON | (bench.api if api else {})
    return await bench.client.post(f"/jans-fido2/restv1/{path}", content=json.dumps(body), headers=headers)


def test_the_configuration_says_where_everything_is(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        found = (await bench.client.get("/.well-known/fido2-configuration")).json()
        assert found["issuer"] == BASE
        for name in ("attestation", "assertion"):
            base = f"{BASE}/jans-fido2/restv1/{name}"
            assert found[name] == {
                "base_path": base,
                "options_enpoint": f"{base}/options",
                "options_endpoint": f"{base}/options",
                "result_enpoint": f"{base}/result",
                "result_endpoint": f"{base}/result",
            }

    run(tmp_path, check)


def test_a_passkey_is_registered_and_logs_in(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        body = {"username": "jeff", "displayName": "Jeff", "attestation": "none", "documentDomain": RP_ID}
        assert (await call(bench, "attestation/options", body)).status_code == 401
        options = (await call(bench, "attestation/options", body, api=True)).json()
        assert {"attestation", "authenticatorSelection", "challenge", "pubKeyCredParams", "rp", "user"} <= set(options)
        assert (options["status"], options["errorMessage"]) == ("ok", "")
        passkey = Passkey()
        credential = passkey.create(options, body={"rawId": None})
        assert (await call(bench, "attestation/result", credential)).status_code == 401
        made = (await call(bench, "attestation/result", credential, api=True)).json()
        created = {"type": "public-key", "id": passkey.name}
        assert made == {"status": "ok", "errorMessage": "", "createdCredentials": created}

        options = (await call(bench, "assertion/options", {"username": "jeff", "session_id": "x"})).json()
        assert (options["user"], options["rpId"]) == ("jeff", RP_ID)
        assert options["allowCredentials"] == [created]
        done = (await call(bench, "assertion/result", passkey.get(options))).json()
        assert done == {"status": "ok", "errorMessage": "", "authenticatedCredentials": created}

    run(tmp_path, check)


def test_a_user_alone_is_enough_for_registration_options(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        options = (await call(bench, "attestation/options", {"username": "jeff"}, api=True)).json()
        assert options["user"]["displayName"] == "jeff"

    run(tmp_path, check)


def test_what_is_refused_says_so_in_both_ways(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        answer = await call(bench, "attestation/options", {"username": "nobody"}, api=True)
        assert answer.status_code == 403
        assert answer.json() == {"status": "failed", "errorMessage": "no such user"}
        options = (await call(bench, "assertion/options", {"username": "jeff"})).json()
        answer = await call(bench, "assertion/result", Passkey().get(options))
        assert answer.status_code == 400
        assert answer.json() == {"status": "failed", "errorMessage": REFUSED}
        answer = await call(bench, "assertion/options", {"username": "jeff", "documentDomain": "evil.example"})
        assert answer.status_code == 400
        assert await list_credentials(bench.store) == []

    run(tmp_path, check)
