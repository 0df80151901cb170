"""Tokens through HTTP: what is issued, and each rule of OAuth contract 2.2 and 4.1 broken once."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.oauth.access_tokens import verify_access_token
from fidoloop.protocol.oauth.message_hash import PreviousMessage
from fidoloop.server import admin
from fidoloop.server.oauth.grants import purge
from fidoloop.server.settings.oauth import OAuthSettings, TokenFormat
from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import Count
from tests.server.harness import BASE, Bench, running
from tests.server.oauth.client import BY_DPOP, BY_KEY, BY_POP, DEVICE, OAuthClient, new_client, write_policy

OTHER = ec.generate_private_key(ec.SECP256R1())


def run(
    home: Path,
    check: Callable[[Bench, OAuthClient], Awaitable[None]],
    method: str = BY_POP,
    oauth: OAuthSettings = OAuthSettings(),  # noqa: B008 - frozen
) -> None:
    async def whole() -> None:
        async with running(home, oauth=oauth) as bench:
            await check(bench, await new_client(bench, method))

    asyncio.run(whole())


def refused(answer: httpx2.Response, code: str, status: int = 400) -> None:
    assert (answer.json()["error"], answer.status_code) == (code, status), answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["dpop-nonce"]


async def count(bench: Bench, table: str) -> int:
    row = await bench.store.fetch_one(Query(f"SELECT COUNT(*) FROM {table}", Count))  # noqa: S608
    assert row is not None
    return row.rows


@pytest.mark.parametrize("method", [BY_POP, BY_DPOP, BY_KEY])
def test_a_code_is_redeemed_for_tokens_bound_to_the_key(tmp_path: Path, method: str) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        answer = await client.redeem(await client.code(nonce="n-1"))
        assert answer.status_code == 200, answer.text
        tokens = answer.json()
        assert (tokens["token_type"], tokens["scope"], tokens["expires_in"]) == ("DPoP", "openid api", 300)
        assert answer.headers["cache-control"] == "no-store"
        keys = {key["kid"]: jose.parse_public_jwk(key) for key in (await bench.client.get("/jwks")).json()["keys"]}
        claims = verify_access_token(
            tokens["access_token"],
            keys=keys,
            expected_issuer=BASE,
            expected_audience=f"{BASE}/api",
            now=client.now,
        )
        assert (claims.sub, claims.cnf.jkt, claims.client_id) == ("jeff", client.jkt, client.client_id)
        id_token = jose.parse_compact(tokens["id_token"])
        jose.verify_parsed(id_token, keys[id_token.header["kid"]], ["ES256"])
        said = strictjson.loads(id_token.payload)
        assert (said["aud"], said["nonce"], said["acr"], said["amr"]) == (client.client_id, "n-1", "uaf", ["pop"])

    run(tmp_path, check, method)


def test_a_code_is_good_once_and_a_second_use_ends_what_came_of_it(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        code = await client.code()
        tokens = (await client.redeem(code)).json()
        refused(await client.redeem(code), "invalid_grant")
        refused(await client.refresh(tokens["refresh_token"]), "invalid_grant")
        assert await introspected(bench, tokens["access_token"]) == {"active": False}

    run(tmp_path, check)


def test_of_two_that_race_with_one_code_one_wins(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        code = await client.code()
        answers = await asyncio.gather(*(client.redeem(code) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]

    run(tmp_path, check)


def test_refresh_tokens_rotate_and_one_used_twice_ends_the_family(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        first = await client.tokens()
        second = (await client.refresh(first["refresh_token"])).json()
        third = (await client.refresh(second["refresh_token"], scope="api")).json()
        assert third["scope"] == "api"
        assert "id_token" not in third
        fourth = (await client.refresh(third["refresh_token"])).json()
        assert fourth["scope"] == "openid api"
        refused(await client.refresh(second["refresh_token"]), "invalid_grant")
        refused(await client.refresh(fourth["refresh_token"]), "invalid_grant")

    run(tmp_path, check)


async def introspected(bench: Bench, token: str) -> dict[str, Any]:
    headers = {"content-type": "application/x-www-form-urlencoded"} | bench.api
    answer = await bench.client.post("/introspect", content=f"token={token}", headers=headers)
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.mark.parametrize("kind", ["jwt", "opaque"])
def test_a_resource_is_told_of_a_token_by_its_hash(tmp_path: Path, kind: TokenFormat) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        token = (await client.tokens())["access_token"]
        assert token.count(".") == (2 if kind == "jwt" else 0)
        found = await introspected(bench, token)
        assert (found["active"], found["cnf"], found["acr"]) == (True, {"jkt": client.jkt}, "uaf")
        assert found["device"] == DEVICE
        assert await introspected(bench, token[:-1]) == {"active": False}
        assert await introspected(bench, (await client.tokens())["refresh_token"]) == {"active": False}
        bench.clock.advance(301)
        assert await introspected(bench, token) == {"active": False}
        answer = await bench.client.post("/introspect", content=f"token={token}")
        refused(answer, "invalid_client", 401)

    run(tmp_path, check, oauth=OAuthSettings(access_token_format=kind))


def test_a_client_revokes_its_own_tokens_only(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        tokens = await client.tokens()
        stranger = await new_client(bench)
        for token in (tokens["access_token"], tokens["refresh_token"], "unknown"):
            assert (await stranger.send("/revoke", {"token": token})).status_code == 200
        assert (await introspected(bench, tokens["access_token"]))["active"]
        assert (await client.send("/revoke", {"token": tokens["access_token"]})).status_code == 200
        assert not (await introspected(bench, tokens["access_token"]))["active"]
        again = (await client.refresh(tokens["refresh_token"])).json()
        assert (await client.send("/revoke", {"token": again["refresh_token"]})).status_code == 200
        assert not (await introspected(bench, again["access_token"]))["active"]
        refused(await client.refresh(again["refresh_token"]), "invalid_grant")

    run(tmp_path, check)


def test_who_is_disabled_gets_no_more_tokens(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        tokens = await client.tokens()
        await admin.disable_user(bench.store, "jeff", now=bench.clock())
        refused(await client.refresh(tokens["refresh_token"]), "invalid_grant")
        assert await introspected(bench, tokens["access_token"]) == {"active": False}

    run(tmp_path, check)


Break = Callable[[OAuthClient], tuple[dict[str, str], list[tuple[str, str]]]]


def with_form(**changes: str) -> Break:
    return lambda client: (changes, client.headers("/token"))


def with_fields(make: Callable[[OAuthClient], list[tuple[str, str]]]) -> Break:
    return lambda client: ({}, [("content-type", "application/x-www-form-urlencoded"), *make(client)])


def attested(client: OAuthClient, **changes: object) -> tuple[str, str]:
    return "oauth-client-attestation", client.attest(**changes)


def possessed(client: OAuthClient, **changes: Any) -> tuple[str, str]:  # noqa: ANN401
    return "oauth-client-attestation-pop", client.pop(**changes)


def proved(client: OAuthClient, **changes: Any) -> tuple[str, str]:  # noqa: ANN401
    return "dpop", client.proof("/token", **changes)


REFUSALS: dict[str, tuple[Break, str, int]] = {
    "no proof": (with_fields(lambda c: [attested(c), possessed(c)]), "invalid_dpop_proof", 400),
    "two proofs": (with_fields(lambda c: [proved(c), proved(c), attested(c), possessed(c)]), "invalid_dpop_proof", 400),
    "a proof for another service": (
        with_fields(lambda c: [("dpop", c.proof("/revoke")), attested(c), possessed(c)]),
        "invalid_dpop_proof",
        400,
    ),
    "a proof without nonce": (
        with_fields(lambda c: [proved(c, nonce=""), attested(c), possessed(c)]),
        "use_dpop_nonce",
        400,
    ),
    "the resource's nonce": (
        with_fields(
            lambda c: [
                proved(c, nonce=c.bench.environment.authorization_server.resource_nonces.current(c.now)),
                attested(c),
                possessed(c),
            ]
        ),
        "use_dpop_nonce",
        400,
    ),
    "the challenge as a nonce": (
        with_fields(lambda c: [proved(c, nonce=c.challenge), attested(c), possessed(c)]),
        "use_dpop_nonce",
        400,
    ),
    "a proof by another key": (
        with_fields(lambda c: [proved(c, key=OTHER), attested(c), possessed(c)]),
        "invalid_dpop_proof",
        400,
    ),
    "no attestation": (with_fields(lambda c: [proved(c)]), "invalid_client", 401),
    "two attestations": (
        with_fields(lambda c: [proved(c), attested(c), attested(c), possessed(c)]),
        "invalid_client_attestation",
        401,
    ),
    "an expired attestation": (
        with_fields(lambda c: [proved(c), attested(c, exp=c.now - 60), possessed(c)]),
        "use_fresh_attestation",
        400,
    ),
    "an attestation without device": (
        with_fields(lambda c: [proved(c), attested(c, tier=None), possessed(c)]),
        "invalid_client_attestation",
        401,
    ),
    "an attestation of a client that is not there": (
        with_fields(lambda c: [proved(c), attested(c, sub="nobody"), possessed(c)]),
        "invalid_client",
        401,
    ),
    "an attested key that is not the registered one": (
        with_fields(
            lambda c: [
                proved(c),
                attested(c, cnf={"jwk": jose.public_jwk(OTHER.public_key()).members}),
                possessed(c, key=OTHER),
            ]
        ),
        "invalid_client",
        401,
    ),
    "a proof of possession by another key": (
        with_fields(lambda c: [proved(c), attested(c), possessed(c, key=OTHER)]),
        "invalid_client_attestation",
        401,
    ),
    "a proof of possession for another server": (
        with_fields(lambda c: [proved(c), attested(c), possessed(c, aud="https://other.example")]),
        "invalid_client_attestation",
        401,
    ),
    "no challenge": (
        with_fields(lambda c: [proved(c), attested(c), possessed(c, challenge="")]),
        "use_attestation_challenge",
        400,
    ),
    "the nonce as a challenge": (
        with_fields(lambda c: [proved(c), attested(c), possessed(c, challenge=c.nonce)]),
        "use_attestation_challenge",
        400,
    ),
    "DPoP for a proof of possession where none is registered": (
        with_fields(lambda c: [proved(c), attested(c)]),
        "invalid_client",
        401,
    ),
    "Basic beside the attestation": (
        with_fields(lambda c: [proved(c), attested(c), possessed(c), ("authorization", "Basic YTpi")]),
        "invalid_client",
        401,
    ),
    "another client named": (with_form(client_id="other"), "invalid_client_attestation", 401),
    "an assertion beside the attestation": (
        lambda c: (c.assertion(), c.headers("/token")),
        "invalid_request",
        400,
    ),
    "no grant type": (with_form(grant_type=""), "invalid_request", 400),
    "another grant type": (with_form(grant_type="password"), "unsupported_grant_type", 400),
    "no code": (with_form(code=""), "invalid_request", 400),
    "another code": (with_form(code="x"), "invalid_grant", 400),
    "no verifier": (with_form(code_verifier=""), "invalid_grant", 400),
    "another verifier": (with_form(code_verifier="w" * 43), "invalid_grant", 400),
    "a redirect URI that was not there": (with_form(redirect_uri="https://app.example/"), "invalid_grant", 400),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_token_request_that_breaks_a_rule_is_refused_and_leaves_the_code(tmp_path: Path, name: str) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        code = await client.code()
        form, fields = REFUSALS[name][0](client)
        whole = {"grant_type": "authorization_code", "code": code, "code_verifier": "v" * 43, **form}
        refused(await client.send("/token", whole, fields), *REFUSALS[name][1:])
        assert await count(bench, "oauth_token") == 0
        assert await count(bench, "oauth_replay") == 0
        assert (await client.redeem(code)).status_code == 200

    run(tmp_path, check)


def test_a_proof_is_good_once(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        dpop, pop = client.proof("/token"), client.pop()
        for fields, code, status in (
            (client.headers("/token", dpop=dpop, pop=pop), None, 200),
            (client.headers("/token", dpop=dpop), "invalid_dpop_proof", 400),
            (client.headers("/token", pop=pop), "invalid_client_attestation", 401),
        ):
            form = {"grant_type": "authorization_code", "code": await client.code(), "code_verifier": "v" * 43}
            answer = await client.send("/token", form, fields)
            if code is None:
                assert answer.status_code == status
            else:
                refused(answer, code, status)

    run(tmp_path, check)


def test_a_stolen_code_or_refresh_token_is_worth_nothing_to_another_client(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        thief = await new_client(bench)
        code = await client.code()
        refused(await thief.redeem(code), "invalid_grant")
        tokens = (await client.redeem(code)).json()
        refused(await thief.refresh(tokens["refresh_token"]), "invalid_grant")
        assert (await client.refresh(tokens["refresh_token"])).status_code == 200

    run(tmp_path, check)


def test_a_refresh_token_stays_with_its_dpop_key(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        tokens = await client.tokens()
        fields = client.headers("/token", dpop=client.proof("/token", key=OTHER))
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        refused(await client.send("/token", form, fields), "invalid_dpop_proof")
        assert (await client.refresh(tokens["refresh_token"])).status_code == 200

    run(tmp_path, check)


def test_a_code_expires(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        code = await client.code()
        bench.clock.advance(60)
        await client.fresh()
        refused(await client.redeem(code), "invalid_grant")

    run(tmp_path, check)


def test_a_parameter_that_stands_twice_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        for body in ("grant_type=a&grant_type=a", "%zz", "=", "a=%ff"):
            refused(
                await bench.client.post("/token", content=body, headers=client.headers("/token")), "invalid_request"
            )
        refused(
            await bench.client.post("/token", content="{}", headers={"content-type": "application/json"}),
            "invalid_request",
        )

    run(tmp_path, check)


def test_an_assertion_that_breaks_a_rule_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        code = await client.code()
        other = await new_client(bench)
        once = client.assertion()
        wrong = [
            client.assertion(key=OTHER),
            client.assertion(aud=f"{BASE}/token"),
            client.assertion(iss="other"),
            client.assertion(exp=client.now),
            client.assertion(exp=client.now + 301),
            client.assertion(jti=""),
            client.assertion() | {"client_assertion_type": "x"},
            {**once, "client_assertion": once["client_assertion"][:-4] + "AAAA"},
            other.assertion(),
            {"client_assertion_type": once["client_assertion_type"], "client_assertion": "x"},
        ]
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": "v" * 43}
        for changes in wrong:
            answer = await client.send("/token", form | changes, client.headers("/token"))
            refused(answer, "invalid_client", 401)
        assert (await client.send("/token", form | once, client.headers("/token"))).status_code == 200
        again = form | {"code": await client.code()} | once
        refused(await client.send("/token", again, client.headers("/token")), "invalid_client", 401)

    run(tmp_path, check, BY_KEY)


def test_the_policy_decides_anew_at_every_token(tmp_path: Path) -> None:
    """A firmware that is denied by a reload gets no token, though its attestation is still good."""

    async def check(bench: Bench, client: OAuthClient) -> None:
        tokens = await client.tokens()
        deny = {"name": "advisory", "swversion": {"max": "5.7.1"}}
        anyone = {"name": "any", "grants": {"acr": ["uaf"], "scopes": ["openid", "api"]}}
        write_policy(bench, {"rules": [deny, anyone]})
        refused(await client.refresh(tokens["refresh_token"]), "invalid_client_attestation", 401)
        client.attestation = client.attest(swversion=["5.7.2"])
        assert (await client.refresh(tokens["refresh_token"])).status_code == 200
        write_policy(bench, {"rules": [{**anyone, "grants": {"acr": ["uaf"], "scopes": ["openid"]}}]})
        refused(await client.redeem(await client.code()), "invalid_scope")
        write_policy(bench, {"rules": [{**anyone, "grants": {"acr": ["fido2"], "scopes": ["openid", "api"]}}]})
        refused(await client.redeem(await client.code()), "insufficient_authorization", 403)

    run(tmp_path, check)


def test_without_a_policy_no_device_is_allowed(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        (bench.config.oauth_directory / "device-policy.json").unlink()
        bench.clock.advance(2)
        refused(await client.redeem(await client.code()), "invalid_client_attestation", 401)

    run(tmp_path, check)


def test_a_policy_that_cannot_be_used_leaves_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        write_policy(bench, {"rules": [{"name": "x", "grant": {}}]})
        assert (await client.redeem(await client.code())).status_code == 200
        assert "grant" in caplog.text

    run(tmp_path, check)


@pytest.mark.parametrize("method", [BY_POP, BY_DPOP])
def test_the_hash_of_the_message_before_is_compared(tmp_path: Path, method: str) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        right = base64url.encode(b"h" * 32)

        async def redeem(previous: PreviousMessage | None) -> httpx2.Response:
            code = await client.code(message=("authz-challenge", right))
            changes: dict[str, Any] = {} if previous is None else {"prev_msg": previous}
            fields = client.headers(
                "/token",
                dpop=client.proof("/token", **(changes if method == BY_DPOP else {})),
                pop=client.pop(**(changes if method == BY_POP else {})),
            )
            form = {"grant_type": "authorization_code", "code": code, "code_verifier": "v" * 43}
            return await client.send("/token", form, fields)

        assert (await redeem(PreviousMessage("authz-challenge", "sha-256", right))).status_code == 200
        for wrong in (
            PreviousMessage("authz-challenge", "sha-256", right[::-1]),
            PreviousMessage("par", "sha-256", right),
            None,
        ):
            refused(await redeem(wrong), "invalid_client_attestation", 401)

    run(tmp_path, check, method, oauth=OAuthSettings(prev_msg_required=True))


def test_metadata_names_what_is_there(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        found = (await bench.client.get("/.well-known/oauth-authorization-server")).json()
        assert found["issuer"] == BASE
        for name, value in found.items():
            if name.endswith(("_endpoint", "_uri")):
                path = value.removeprefix(BASE)
                answer = await bench.client.request("GET" if name == "jwks_uri" else "POST", path)
                assert answer.status_code != 404, name

    run(tmp_path, check)


def test_what_is_expired_is_removed(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        await client.tokens()
        bench.clock.advance(400)
        await purge(bench.store, now=bench.clock())
        assert [await count(bench, f"oauth_{table}") for table in ("replay", "code", "token", "grant")] == [0, 0, 1, 1]
        bench.clock.advance(31 * 24 * 3600)
        await purge(bench.store, now=bench.clock())
        assert [await count(bench, f"oauth_{table}") for table in ("token", "grant")] == [0, 0]

    run(tmp_path, check)
