"""The way of a key: registered, used, used for a transaction, deleted; each directly and by token."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.server.harness import JSON, running, session_id_of


@pytest.mark.parametrize("attestation", ["full", "surrogate"])
def test_registers_and_authenticates_with_either_attestation(tmp_path: Path, attestation: str) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as bench:
            phone = await bench.registered(model=getattr(bench, attestation))
            request = await bench.uaf_request("Auth", {"username": "jeff"})
            assert request["policy"]["accepted"] == [[{"aaid": [phone.model.aaid], "keyIDs": [phone.keys[0].text]}]]
            answer = await bench.respond("Auth", phone.authenticate(request))
            assert answer == {"statusCode": 1200, "description": '{"message":"OK. Operation completed."}'}
            status = await bench.status(session_id_of(request))
            assert status["status"] == "succeeded"
            assert status["userId"] == "jeff"
            assert status["authenticators"] == [{"aaid": phone.model.aaid, "keyId": phone.keys[0].text}]

    asyncio.run(scenario())


def test_a_redeemed_token_leads_to_a_log_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as bench:
            phone = await bench.registered()
            wanted = {"getUafRequest": {"op": "Auth", "context": "{}"}, "dispatcher": "link"}
            dispatched = (await bench.post("/token/dispatch/authentication", wanted, JSON, api=True)).json()
            assert dispatched["dispatchResult"] == "dispatched"
            returned = await bench.redeem(dispatched["token"])
            request = json.loads(returned["uafRequest"])[0]
            assert session_id_of(request) == dispatched["sessionId"]
            assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
            assert (await bench.status(dispatched["sessionId"]))["status"] == "succeeded"

    asyncio.run(scenario())
