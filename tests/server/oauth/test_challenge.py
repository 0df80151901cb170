"""The authorization challenge endpoint through HTTP: each acr, both dialects, and what must not work."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.oauth.message_hash import PreviousMessage, message_hash
from fidoloop.protocol.oauth.pkce import code_challenge
from fidoloop.server import admin
from tests.server.harness import BASE, Bench, running
from tests.server.oauth.client import FORM, VERIFIER, OAuthClient, new_client, write_policy
from tests.server.passkeys import Passkey

PATH = "/authorize-challenge"
PASSWORD = "correct horse battery"
ALL = {
    "name": "all",
    "grants": {"acr": ["pw-enroll", "uaf", "uaf-hw", "fido2", "fido2-hw"], "scopes": ["openid", "api"]},
}
ASK = {
    "response_type": "code",
    "scope": "openid api",
    "code_challenge": code_challenge(VERIFIER),
    "code_challenge_method": "S256",
}


def run(home: Path, check: Callable[[Bench, OAuthClient], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with running(home) as bench:
            write_policy(bench, {"rules": [ALL]})
            await admin.set_password(bench.store, "jeff", PASSWORD, now=bench.clock())
            await check(bench, await new_client(bench))

    asyncio.run(whole())


async def ask(client: OAuthClient, path: str = PATH, **parameters: str) -> httpx2.Response:
    return await client.send(path, parameters)


async def begun(client: OAuthClient, acr: str, **parameters: str) -> dict[str, Any]:
    answer = await ask(client, **(ASK | {"acr_values": acr} | parameters))
    assert answer.status_code == 403, answer.text
    assert answer.json()["error"] == "insufficient_authorization"
    assert answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


def refused(answer: httpx2.Response, code: str, status: int = 400) -> None:
    assert (answer.json()["error"], answer.status_code) == (code, status), answer.text
    assert "authorization_code" not in answer.json()


async def finished(client: OAuthClient, answer: httpx2.Response, acr: str) -> dict[str, Any]:
    """Check that a code came, redeem it, and return the claims of the id_token."""
    assert answer.status_code == 200, answer.text
    tokens = (await client.redeem(answer.json()["authorization_code"])).json()
    claims = dict(strictjson.loads(jose.parse_compact(tokens["id_token"]).payload))
    assert (claims["sub"], claims["acr"]) == ("jeff", acr)
    return claims


def test_uaf_logs_in(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        phone = await bench.registered()
        first = await begun(client, "uaf", nonce="n-7")
        (request,) = json.loads(first["uaf_request"])
        response = json.dumps([phone.authenticate(request)])
        answer = await ask(client, auth_session=first["auth_session"], uaf_response=response)
        assert (await finished(client, answer, "uaf"))["nonce"] == "n-7"
        refused(await ask(client, auth_session=first["auth_session"], uaf_response=response), "invalid_session")

    run(tmp_path, check)


def test_a_password_enrols_a_uaf_key_and_logs_nobody_in_afterwards(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        from tests.server.phone import Phone

        first = await begun(client, "pw-enroll", username="jeff", password=PASSWORD)
        phone = Phone(bench.full)
        (request,) = json.loads(first["uaf_request"])
        answer = await ask(
            client, auth_session=first["auth_session"], uaf_response=json.dumps([phone.register(request)])
        )
        assert (await finished(client, answer, "pw-enroll"))["amr"] == ["pwd"]
        again = await begun(client, "uaf")
        (request,) = json.loads(again["uaf_request"])
        response = json.dumps([phone.authenticate(request)])
        await finished(client, await ask(client, auth_session=again["auth_session"], uaf_response=response), "uaf")

    run(tmp_path, check)


def test_a_password_enrols_a_passkey_which_logs_in(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        first = await begun(client, "pw-enroll", username="jeff", password=PASSWORD)
        passkey = Passkey()
        made = json.dumps(passkey.create(first["fido2_options"]))
        answer = await ask(client, auth_session=first["auth_session"], attestation_result_request=made)
        await finished(client, answer, "pw-enroll")
        second = await begun(client, "fido2")
        signed = json.dumps(passkey.get(second["fido2_options"]))
        answer = await ask(client, auth_session=second["auth_session"], assertion_result_request=signed)
        await finished(client, answer, "fido2")

    run(tmp_path, check)


async def enrolled(client: OAuthClient) -> Passkey:
    first = await begun(client, "pw-enroll", username="jeff", password=PASSWORD)
    passkey = Passkey()
    made = json.dumps(passkey.create(first["fido2_options"]))
    assert (await ask(client, auth_session=first["auth_session"], attestation_result_request=made)).status_code == 200
    return passkey


async def exchanged(client: OAuthClient, session: str, credential: Any, **changes: Any) -> httpx2.Response:  # noqa: ANN401
    body = {"client_id": client.client_id, "auth_session": session, "credential": credential}
    headers = {"content-type": "application/json", "dpop": client.proof("/assertion/result", **changes)}
    return await client.bench.client.post("/assertion/result", content=json.dumps(body), headers=headers)


def test_a_fido2_token_is_good_once_in_its_session_by_its_key(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        passkey = await enrolled(client)
        first, second = await begun(client, "fido2"), await begun(client, "fido2")
        signed = passkey.get(first["fido2_options"])
        other = ec.generate_private_key(ec.SECP256R1())
        refused(await exchanged(client, first["auth_session"], signed, key=other), "invalid_dpop_proof")
        refused(await exchanged(client, second["auth_session"], signed), "access_denied", 403)
        answer = await exchanged(client, first["auth_session"], passkey.get(first["fido2_options"]))
        token = answer.json()["fido2_token"]
        refused(await ask(client, auth_session=second["auth_session"], fido2_token=token), "access_denied", 403)
        thief = await new_client(bench)
        refused(await ask(thief, auth_session=first["auth_session"], fido2_token=token), "invalid_session")
        done = await ask(client, auth_session=first["auth_session"], fido2_token=token)
        await finished(client, done, "fido2")
        fresh = done.json()["auth_session"]
        refused(await ask(client, auth_session=fresh, fido2_token=token), "invalid_request")

    run(tmp_path, check)


def test_a_fido2_token_grows_old(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        passkey = await enrolled(client)
        first = await begun(client, "fido2")
        token = (await exchanged(client, first["auth_session"], passkey.get(first["fido2_options"]))).json()
        bench.clock.advance(60)
        answer = await ask(client, auth_session=first["auth_session"], fido2_token=token["fido2_token"])
        refused(answer, "access_denied", 403)

    run(tmp_path, check)


@pytest.mark.parametrize("path", [PATH, "/authz-challenge"])
def test_the_older_dialect_speaks_of_device_sessions(tmp_path: Path, path: str) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        phone = await bench.registered()
        first = await client.send(path, ASK | {"acr_values": "uaf", "use_device_session": "true"})
        assert (first.status_code, first.json()["error"]) == (403, "authorization_required")
        assert "auth_session" not in first.json()
        (request,) = json.loads(first.json()["uaf_request"])
        body = json.dumps(
            {
                "device_session": first.json()["device_session"],
                "uaf_response": json.dumps([phone.authenticate(request)]),
            }
        )
        fields = [("content-type", "application/json"), *client.headers(path)[1:]]
        answer = await bench.client.post(path, content=body, headers=fields)
        await finished(client, answer, "uaf")

    run(tmp_path, check)


def test_a_stronger_acr_is_asked_for_in_the_session_of_the_weaker_one(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        passkey = await enrolled(client)
        phone = await bench.registered()
        first = await begun(client, "uaf")
        (request,) = json.loads(first["uaf_request"])
        done = await ask(
            client, auth_session=first["auth_session"], uaf_response=json.dumps([phone.authenticate(request)])
        )
        await client.redeem(done.json()["authorization_code"], code_verifier=VERIFIER)
        more = await ask(client, **(ASK | {"acr_values": "fido2-hw", "auth_session": done.json()["auth_session"]}))
        assert more.status_code == 403, more.text
        signed = json.dumps(passkey.get(more.json()["fido2_options"]))
        answer = await ask(client, auth_session=more.json()["auth_session"], assertion_result_request=signed)
        # Nobody vouches for the passkey of this test.
        refused(answer, "access_denied", 403)
        assert "hardware" in answer.json()["error_description"]

    run(tmp_path, check)


def test_uaf_hw_takes_models_that_keep_keys_in_hardware_only(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        for model, accepted in ((bench.full, True), (bench.surrogate, False)):
            phone = await bench.registered("jeff", model)
            first = await begun(client, "uaf-hw")
            (request,) = json.loads(first["uaf_request"])
            response = json.dumps([phone.authenticate(request)])
            answer = await ask(client, auth_session=first["auth_session"], uaf_response=response)
            kept = bench.environment.metadata.get(model.aaid)
            assert kept is not None
            if accepted and kept.model_facts.key_protection & 0x0E:
                await finished(client, answer, "uaf-hw")
            else:
                refused(answer, "access_denied", 403)

    run(tmp_path, check)


def test_another_sessions_response_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        phone = await bench.registered()
        first, second = await begun(client, "uaf"), await begun(client, "uaf")
        (request,) = json.loads(second["uaf_request"])
        response = json.dumps([phone.authenticate(request)])
        refused(await ask(client, auth_session=first["auth_session"], uaf_response=response), "access_denied", 403)

    run(tmp_path, check)


def test_a_session_is_its_clients_and_its_keys_alone(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        phone = await bench.registered()
        first = await begun(client, "uaf")
        (request,) = json.loads(first["uaf_request"])
        answer = {"auth_session": first["auth_session"], "uaf_response": json.dumps([phone.authenticate(request)])}
        thief = await new_client(bench)
        refused(await thief.send(PATH, answer), "invalid_session")
        other = ec.generate_private_key(ec.SECP256R1())
        fields = client.headers(PATH, dpop=client.proof(PATH, key=other))
        refused(await client.send(PATH, answer, fields), "invalid_dpop_proof")
        refused(await client.send(PATH, answer | {"device_session": "x"}), "invalid_request")
        refused(await client.send(PATH, answer | {"auth_session": "x"}), "invalid_session")
        await finished(client, await client.send(PATH, answer), "uaf")

    run(tmp_path, check)


def test_a_session_grows_old_and_bears_few_tries(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        phone = await bench.registered()
        first = await begun(client, "uaf")
        (request,) = json.loads(first["uaf_request"])
        request["header"]["serverData"] = "x" * 86
        wrong = json.dumps([phone.authenticate(request)])
        for _ in range(5):
            answer = await ask(client, auth_session=first["auth_session"], uaf_response=wrong)
            refused(answer, "access_denied", 403)
            assert answer.json()["auth_session"] == first["auth_session"]
        refused(await ask(client, auth_session=first["auth_session"], uaf_response=wrong), "invalid_session")
        second = await begun(client, "uaf")
        bench.clock.advance(601)
        await client.fresh()
        refused(await ask(client, auth_session=second["auth_session"], uaf_response=wrong), "invalid_session")

    run(tmp_path, check)


def test_unknown_users_and_wrong_passwords_are_answered_alike(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        await admin.disable_user(bench.store, "mia", now=bench.clock())
        texts = set()
        for username, password in (("jeff", "wrong password"), ("nobody", PASSWORD), ("mia", PASSWORD)):
            answer = await ask(
                client, **(ASK | {"acr_values": "pw-enroll", "username": username, "password": password})
            )
            refused(answer, "username_or_password_invalid")
            texts.add(answer.json()["error_description"])
        assert len(texts) == 1

    run(tmp_path, check)


@pytest.mark.parametrize("username", ["jeff", "nobody"])
def test_few_passwords_may_be_tried_whoever_is_named(tmp_path: Path, username: str) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        wanted = ASK | {"acr_values": "pw-enroll", "username": username}
        for _ in range(5):
            refused(await ask(client, **wanted, password="x" * 8), "username_or_password_invalid")
        answer = await ask(client, **wanted, password=PASSWORD)
        refused(answer, "too_many_attempts", 429)
        assert answer.headers["retry-after"] == "120"
        bench.clock.advance(120)
        await client.fresh()
        client.attestation = client.attest()
        after = await ask(client, **wanted, password=PASSWORD)
        assert after.status_code == (403 if username == "jeff" else 400)

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("parameters", "code", "status"),
    [
        ({}, "invalid_request", 400),
        ({"acr_values": "password"}, "unmet_authentication_requirements", 400),
        ({"acr_values": "uaf", "scope": "admin"}, "invalid_scope", 400),
        ({"acr_values": "uaf", "code_challenge": "x", "code_challenge_method": "S256"}, "invalid_request", 400),
        ({"acr_values": "uaf", "code_challenge": "x" * 43}, "invalid_request", 400),
        ({"acr_values": "uaf", "response_type": "token"}, "unsupported_response_type", 400),
        ({"acr_values": "uaf", "dpop_jkt": "x" * 43}, "invalid_dpop_proof", 400),
        ({"acr_values": "uaf", "uaf_response": "[]"}, "invalid_request", 400),
        ({"acr_values": "pw-enroll"}, "username_required", 400),
        ({"acr_values": "pw-enroll", "username": "jeff"}, "password_required", 400),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, parameters: dict[str, str], code: str, status: int) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        refused(await ask(client, **parameters), code, status)

    run(tmp_path, check)


def test_the_first_acr_that_can_be_is_taken(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        assert (await begun(client, "unheard-of uaf fido2"))["acr_values"] == "uaf"

    run(tmp_path, check)


def test_a_proof_for_another_acr_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        first = await begun(client, "fido2")
        for name in ("uaf_response", "attestation_result_request"):
            refused(await ask(client, auth_session=first["auth_session"], **{name: "[]"}), "invalid_request")
        both = {"assertion_result_request": "{}", "fido2_token": "x"}
        refused(await ask(client, auth_session=first["auth_session"], **both), "invalid_request")

    run(tmp_path, check)


def test_the_code_knows_the_request_that_it_answers(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        phone = await bench.registered()
        first = await begun(client, "uaf")
        (request,) = json.loads(first["uaf_request"])
        form = urlencode(
            {"auth_session": first["auth_session"], "uaf_response": json.dumps([phone.authenticate(request)])}
        )
        answer = await bench.client.post(PATH, content=form, headers=client.headers(PATH))
        code = answer.json()["authorization_code"]
        previous = PreviousMessage("authz-challenge", "sha-256", message_hash("POST", BASE + PATH, FORM, form.encode()))
        redeem = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        for claim, status in ((PreviousMessage("authz-challenge", "sha-256", "x" * 43), 401), (previous, 200)):
            fields = client.headers("/token", pop=client.pop(prev_msg=claim))
            assert (await client.send("/token", redeem, fields)).status_code == status

    run(tmp_path, check)


def test_without_an_attested_client_nothing_is_asked(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        fields = [("content-type", FORM), ("dpop", client.proof(PATH))]
        refused(await client.send(PATH, ASK | {"acr_values": "uaf"}, fields), "invalid_client", 401)

    run(tmp_path, check)
