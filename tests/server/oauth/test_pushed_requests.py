"""Pushed authorization requests through HTTP: what is kept, and each rule of RFC 9126 broken once."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import jose
from fidoloop.protocol.oauth.message_hash import PreviousMessage, message_hash
from fidoloop.server.settings.oauth import OAuthSettings
from tests.server.harness import BASE, Bench
from tests.server.oauth.browser_flow import (
    OTHER_REDIRECT,
    STATE,
    Consenting,
    asking,
    push,
    pushed,
    run,
    sent_back,
)
from tests.server.oauth.client import BY_DPOP, BY_KEY, BY_POP, FORM, OAuthClient, new_client, write_policy
from tests.server.oauth.test_token_endpoint import count, refused

OTHER = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("method", [BY_POP, BY_DPOP, BY_KEY])
def test_a_pushed_request_ends_in_tokens(tmp_path: Path, method: str) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        answer = await push(client)
        assert answer.status_code == 201, answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["dpop-nonce"]
        assert answer.json()["request_uri"].startswith("urn:ietf:params:oauth:request_uri:")
        assert answer.json()["expires_in"] == 90
        query = urlencode({"client_id": client.client_id, "request_uri": answer.json()["request_uri"]})
        back = await browser.allowed(query)
        assert (back["state"], back["iss"], set(back)) == (STATE, BASE, {"code", "state", "iss"})
        tokens = await client.redeem(back["code"], redirect_uri=asking(client)["redirect_uri"])
        assert tokens.status_code == 200, tokens.text
        assert tokens.json()["token_type"] == "DPoP"

    run(tmp_path, check, method=method)


async def without_proof(client: OAuthClient, parameters: dict[str, str]) -> Any:  # noqa: ANN401 - an answer
    fields = [(name, value) for name, value in client.headers("/par") if name != "dpop"]
    return await client.send("/par", parameters, fields)


def test_the_key_is_named_by_the_proof_by_the_parameter_or_by_both_alike(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        assert (await push(client)).status_code == 201
        assert (await push(client, dpop_jkt=None)).status_code == 201
        assert (await without_proof(client, asking(client))).status_code == 201
        refused(await without_proof(client, asking(client, dpop_jkt=None)), "invalid_request")
        other = jose.public_jwk(OTHER.public_key()).thumbprint
        refused(await push(client, dpop_jkt=other), "invalid_dpop_proof")
        refused(await without_proof(client, asking(client, dpop_jkt="short")), "invalid_request")

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"redirect_uri": "https://app.example/callback"}, "invalid_request"),
        ({"redirect_uri": "https://evil.example/callback?from=fidoloop"}, "invalid_request"),
        ({"redirect_uri": "https://app.example/callback?from=fidoloop&x=y"}, "invalid_request"),
        ({"redirect_uri": "HTTPS://app.example/callback?from=fidoloop"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"scope": "openid admin"}, "invalid_scope"),
        ({"acr_values": "password"}, "unmet_authentication_requirements"),
        ({"acr_values": "fido2-hw"}, "unmet_authentication_requirements"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"prompt": "none"}, "interaction_required"),
        ({"state": "s" * 1025}, "invalid_request"),
        ({"nonce": "n" * 1025}, "invalid_request"),
        ({"scope": "api " * 257}, "invalid_request"),
    ],
)
def test_what_cannot_be_is_refused_at_once_and_nothing_is_kept(
    tmp_path: Path, changes: dict[str, str | None], code: str
) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        refused(await push(client, **changes), code)
        assert await count(bench, "oauth_request") == 0

    run(tmp_path, check, logged_in=False)


def test_only_the_authenticated_client_pushes_and_each_proof_is_good_once(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        stranger = await new_client(bench)
        refused(await push(client, client_id=stranger.client_id), "invalid_client_attestation", 401)
        body, fields = urlencode(asking(client)), client.headers("/par")
        bare = [field for field in fields if not field[0].startswith("oauth-client-attestation")]
        refused(await bench.client.post("/par", content=body, headers=bare), "invalid_client", 401)
        assert (await bench.client.post("/par", content=body, headers=fields)).status_code == 201
        refused(await bench.client.post("/par", content=body, headers=fields), "invalid_dpop_proof")
        fields = [("dpop", client.proof("/par")), *(field for field in fields if field[0] != "dpop")]
        refused(await bench.client.post("/par", content=body, headers=fields), "invalid_client_attestation", 401)
        refused(await client.send("/par", asking(client), client.headers("/token")), "invalid_dpop_proof")
        write_policy(bench, {"rules": [{"name": "none"}]})
        refused(await push(client), "invalid_client_attestation", 401)

    run(tmp_path, check, logged_in=False)


def test_a_parameter_that_stands_twice_and_another_media_type_are_refused(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        body = f"{urlencode(asking(client))}&state=again"
        refused(await bench.client.post("/par", content=body, headers=client.headers("/par")), "invalid_request")
        fields = [("content-type", "application/json"), *client.headers("/par")[1:]]
        refused(await bench.client.post("/par", content="{}", headers=fields), "invalid_request")
        assert (await bench.client.get("/par")).status_code == 405

    run(tmp_path, check, logged_in=False)


def test_a_client_without_a_redirect_uri_of_its_own_has_no_way_here(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        bare = await new_client(bench)
        refused(await push(bare), "invalid_request")
        page = await browser.page(urlencode(asking(bare)))
        assert (page.status_code, "location" in page.headers) == (400, False)
        refresher = await new_client(bench, redirect_uris=[OTHER_REDIRECT], grant_types=["refresh_token"])
        refused(await push(refresher, redirect_uri=OTHER_REDIRECT), "unauthorized_client")

    run(tmp_path, check, logged_in=False)


def test_it_is_kept_for_its_time_only(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        query = await pushed(client)
        bench.clock.advance(6)
        assert (await browser.page(query)).status_code == 200
        bench.clock.advance(1)
        assert (await browser.page(query)).status_code == 400
        await browser.open(query, 400)

    run(tmp_path, check, logged_in=False, oauth=OAuthSettings(pushed_request=7))


def test_a_token_request_may_bear_the_hash_of_the_pushed_request(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        for of, right in (("par", True), ("authz-challenge", False), ("par", False)):
            body = urlencode(asking(client)) if right or of != "par" else urlencode(asking(client, state="another"))
            sent = await bench.client.post("/par", content=urlencode(asking(client)), headers=client.headers("/par"))
            query = urlencode({"client_id": client.client_id, "request_uri": sent.json()["request_uri"]})
            code = (await browser.allowed(query))["code"]
            h = message_hash("POST", f"{BASE}/par", FORM, body.encode())
            claim = PreviousMessage(of, "sha-256", h)  # type: ignore[arg-type]
            form = {"grant_type": "authorization_code", "code": code, "code_verifier": "v" * 43}
            form["redirect_uri"] = asking(client)["redirect_uri"]
            answer = await client.send("/token", form, client.headers("/token", pop=client.pop(prev_msg=claim)))
            if right:
                assert answer.status_code == 200, answer.text
            else:
                refused(answer, "invalid_client_attestation", 401)

    run(tmp_path, check, oauth=OAuthSettings(prev_msg_required=True))


def test_it_goes_to_an_apps_own_scheme_too(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        opened = await browser.open(await pushed(client, redirect_uri=OTHER_REDIRECT))
        assert opened["destination"] == "the app com.example.app"
        location = (await browser.decide(opened)).json()["location"]
        assert set(sent_back(location, OTHER_REDIRECT)) == {"code", "state", "iss"}

    run(tmp_path, check)


def test_where_the_pages_are_turned_off_there_is_nothing(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        assert (await push(client)).status_code == 404
        assert (await browser.page(urlencode(asking(client)))).status_code == 404
        await browser.open(urlencode(asking(client)), 404)
        found = (await bench.client.get("/.well-known/oauth-authorization-server")).json()
        assert not {"authorization_endpoint", "pushed_authorization_request_endpoint"} & set(found)
        refused(
            await client.send("/authorize-challenge", asking(client, acr_values="web")),
            "unmet_authentication_requirements",
        )

    run(tmp_path, check, logged_in=False, web=False)


def test_the_metadata_names_both_endpoints_where_there_are_pages(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        found = (await bench.client.get("/.well-known/oauth-authorization-server")).json()
        assert found["pushed_authorization_request_endpoint"] == f"{BASE}/par"
        assert found["authorization_endpoint"] == f"{BASE}/authorize"
        assert found["authorization_response_iss_parameter_supported"] is True
        assert found["require_pushed_authorization_requests"] is False

    run(tmp_path, check, logged_in=False)
