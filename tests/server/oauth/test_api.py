"""The protected API and the middleware: what a request must show, each demand broken once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import UNSET
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fidoloop.protocol import jose
from fidoloop.protocol.oauth.access_tokens import AccessTokenClaims, KeyConfirmation, make_access_token
from fidoloop.protocol.oauth.dpop import access_token_hash
from fidoloop.server.oauth.resource import CLAIMS, Demand, DpopAccess, Resource, jwt_reader
from fidoloop.server.settings.oauth import OAuthSettings, TokenFormat
from tests.server.harness import BASE, Bench, running
from tests.server.oauth.client import OAuthClient, new_client, write_policy

WHOAMI, SIGN = "/api/whoami", "/api/sign-demo"
ACRS = ["uaf", "uaf-hw", "fido2", "fido2-hw"]


def run(
    home: Path,
    check: Callable[[Bench, OAuthClient], Awaitable[None]],
    oauth: OAuthSettings = OAuthSettings(),  # noqa: B008 - frozen
) -> None:
    async def whole() -> None:
        async with running(home, oauth=oauth) as bench:
            write_policy(bench, {"rules": [{"name": "all", "grants": {"acr": ACRS, "scopes": ["openid", "api"]}}]})
            client = await new_client(bench)
            # The resource's nonces are its own.
            client.nonce = (await bench.client.get(WHOAMI)).headers["dpop-nonce"]
            await check(bench, client)

    asyncio.run(whole())


async def token_of(client: OAuthClient, **changes: object) -> str:
    nonce, client.nonce = client.nonce, client.bench.environment.authorization_server.nonces.current(client.now)
    answer = await client.redeem(await client.code(message=None, **changes))
    client.nonce = nonce
    return str(answer.json()["access_token"])


async def call(
    client: OAuthClient, token: str, path: str = WHOAMI, method: str = "GET", body: object = None, **changes: object
) -> httpx2.Response:
    proof = client.proof(path, method, token=token, **changes)
    headers = {"authorization": f"DPoP {token}", "dpop": proof}
    content = None if body is None else json.dumps(body)
    return await client.bench.client.request(method, path, headers=headers, content=content)


def refused(answer: httpx2.Response, error: str | None, status: int = 401) -> None:
    assert answer.status_code == status, answer.text
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("DPoP ")
    assert 'algs="ES256' in challenge
    assert ("error=" in challenge) == (error is not None)
    if error is not None:
        assert f'error="{error}"' in challenge
    assert answer.headers["dpop-nonce"]


@pytest.mark.parametrize("kind", ["jwt", "opaque"])
def test_a_token_with_a_proof_by_its_key_says_who_calls(tmp_path: Path, kind: TokenFormat) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        answer = await call(client, await token_of(client))
        assert answer.json() == {
            "username": "jeff",
            "client_id": client.client_id,
            "scope": "openid api",
            "acr": "uaf",
            "cnf": {"jkt": client.jkt},
        }

    run(tmp_path, check, OAuthSettings(access_token_format=kind))


OTHER = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("kind", ["jwt", "opaque"])
def test_what_a_request_must_show_is_demanded(tmp_path: Path, kind: TokenFormat) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        token = await token_of(client)
        send = bench.client.get
        proof = client.proof(WHOAMI, "GET", token=token)
        refused(await send(WHOAMI), None)
        refused(await send(WHOAMI, headers={"authorization": f"Bearer {token}", "dpop": proof}), "invalid_token")
        refused(await send(WHOAMI, headers={"authorization": "Basic YTpi"}), None)
        refused(await send(WHOAMI, headers={"authorization": f"DPoP {token}"}), "invalid_dpop_proof")
        for field in ("authorization", "dpop"):
            fields = [("authorization", f"DPoP {token}"), ("dpop", proof)]
            twice = [*fields, next(pair for pair in fields if pair[0] == field)]
            expected = ("invalid_request", 400) if field == "authorization" else ("invalid_dpop_proof", 401)
            refused(await send(WHOAMI, headers=twice), *expected)
        refused(await call(client, token + "x", ath=access_token_hash(token + "x")), "invalid_token")
        refused(await call(client, token, key=OTHER), "invalid_dpop_proof")
        refused(await call(client, token, ath=access_token_hash("x")), "invalid_dpop_proof")
        refused(await call(client, token, ath=UNSET), "invalid_dpop_proof")
        refused(await call(client, token, htm="POST"), "invalid_dpop_proof")
        refused(await call(client, token, htu=BASE + SIGN), "invalid_dpop_proof")
        refused(await call(client, token, nonce=UNSET), "use_dpop_nonce")
        refused(
            await call(client, token, nonce=bench.environment.authorization_server.nonces.current(client.now)),
            "use_dpop_nonce",
        )
        assert (await send(WHOAMI, headers={"authorization": f"DPoP {token}", "dpop": proof})).status_code == 200
        refused(await send(WHOAMI, headers={"authorization": f"DPoP {token}", "dpop": proof}), "invalid_dpop_proof")
        refused(await call(client, await token_of(client, scope="openid")), "insufficient_scope", 403)
        bench.clock.advance(301)
        client.nonce = (await send(WHOAMI)).headers["dpop-nonce"]
        refused(await call(client, token), "invalid_token")

    run(tmp_path, check, OAuthSettings(access_token_format=kind))


def test_only_hardware_may_have_a_text_signed(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        weak = await call(client, await token_of(client), SIGN, "POST", {"text": "a"})
        refused(weak, "insufficient_user_authentication")
        assert 'acr_values="fido2-hw uaf-hw"' in weak.headers["www-authenticate"]
        strong = await call(client, await token_of(client, acr="uaf-hw"), SIGN, "POST", {"text": "a"})
        signed = jose.parse_compact(strong.json()["jws"])
        assert json.loads(signed.payload)["text"] == "a"
        for body in ({}, {"text": ""}, {"text": "x" * 201}):
            answer = await call(client, await token_of(client, acr="uaf-hw"), SIGN, "POST", body)
            assert answer.status_code == 400

    run(tmp_path, check)


def test_a_revoked_opaque_token_is_worth_nothing_at_once(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        token = await token_of(client)
        await client.fresh()
        assert (await client.send("/revoke", {"token": token})).status_code == 200
        client.nonce = (await bench.client.get(WHOAMI)).headers["dpop-nonce"]
        refused(await call(client, token), "invalid_token")

    run(tmp_path, check, OAuthSettings(access_token_format="opaque"))


def test_the_metadata_leads_to_the_authorization_server(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient) -> None:
        found = (await bench.client.get("/.well-known/oauth-protected-resource/api")).json()
        assert found["resource"] == f"{BASE}/api"
        assert found["authorization_servers"] == [BASE]
        assert found["dpop_bound_access_tokens_required"] is True

    run(tmp_path, check)


# The middleware, before an application of somebody else's

ISSUER, ORIGIN, NOW = "https://as.example", "https://api.example", 1_800_000_000
SIGNER = ec.derive_private_key(12, ec.SECP256R1())
KEY = ec.derive_private_key(13, ec.SECP256R1())


class Remembered:
    """Proofs that were used, in memory."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    async def use(self, replay_key: str, expires_at: int) -> bool:
        assert expires_at > NOW
        new = replay_key not in self.seen
        self.seen.add(replay_key)
        return new


def strangers_app() -> DpopAccess:
    async def show(request: Request) -> JSONResponse:
        claims: AccessTokenClaims = request.scope[CLAIMS]
        return JSONResponse({"sub": claims.sub})

    resource = Resource(
        origin=ORIGIN,
        read_token=jwt_reader(
            lambda: {"k": jose.public_jwk(SIGNER.public_key())}, issuer=ISSUER, audience=ORIGIN, clock=lambda: NOW
        ),
        replay=Remembered(),
        clock=lambda: NOW,
    )
    demands = {"/notes": Demand(("read",)), "/notes/secret": Demand(("read",), ("uaf-hw",))}
    return DpopAccess(Starlette(routes=[Route("/notes/{id}", show), Route("/open", show)]), resource, demands)


def test_the_middleware_guards_an_application_of_somebody_elses() -> None:
    from fidoloop.protocol.oauth.dpop import DpopClaims, make_dpop_proof

    claims = AccessTokenClaims(
        iss=ISSUER,
        sub="alice",
        aud=ORIGIN,
        client_id="c",
        exp=NOW + 60,
        iat=NOW,
        jti="t",
        scope="read",
        cnf=KeyConfirmation(jose.public_jwk(KEY.public_key()).thumbprint),
    )
    token = make_access_token(SIGNER, "k", claims)

    async def whole() -> None:
        transport = httpx2.ASGITransport(app=strangers_app())
        async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as client:

            async def get(path: str, jti: str) -> httpx2.Response:
                made = DpopClaims(jti, "GET", ORIGIN + path, NOW, ath=access_token_hash(token))
                headers = {"authorization": f"DPoP {token}", "dpop": make_dpop_proof(KEY, made)}
                return await client.get(path, headers=headers)

            assert (await get("/notes/1", "a")).json() == {"sub": "alice"}
            assert (await get("/notes/1", "a")).status_code == 401
            assert (await get("/notes/secret", "b")).status_code == 401
            assert (await get("/notessecret", "c")).status_code == 404
            assert (await get("/open", "d")).status_code == 404
            answer = await client.get("/notes/1")
            assert answer.status_code == 401
            assert answer.json()["error"] == "unauthorized"

    asyncio.run(whole())
