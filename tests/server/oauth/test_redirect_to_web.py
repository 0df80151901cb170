"""From the challenge endpoint to a browser: who is sent there, with a request that is kept or without."""

from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.oauth.message_hash import PreviousMessage, message_hash
from tests.server.harness import BASE, Bench
from tests.server.oauth.browser_flow import OTHER_REDIRECT, REDIRECT, STATE, Consenting, asking, run
from tests.server.oauth.client import FORM, OAuthClient, new_client
from tests.server.oauth.test_token_endpoint import count, refused

PATH = "/authorize-challenge"


async def ask(client: OAuthClient, **changes: str | None) -> httpx2.Response:
    return await client.send(PATH, asking(client, **{"acr_values": "web"} | changes))


@pytest.mark.parametrize("acr", ["web", "uaf web", "password"])
def test_what_no_app_can_do_goes_on_in_a_browser(tmp_path: Path, acr: str) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        parameters = asking(client, acr_values=acr)
        answer = await client.send(PATH, parameters)
        refused(answer, "redirect_to_web")
        assert "auth_session" not in answer.json()
        assert await count(bench, "oauth_session") == 0
        assert answer.json()["expires_in"] == 90
        query = urlencode({"client_id": client.client_id, "request_uri": answer.json()["request_uri"]})
        assert (await browser.page(query)).status_code == 200
        back = await browser.allowed(query)
        assert back["state"] == STATE
        sent = message_hash("POST", f"{BASE}{PATH}", FORM, urlencode(parameters).encode())
        pop = client.pop(prev_msg=PreviousMessage("authz-challenge", "sha-256", sent))
        form = {"grant_type": "authorization_code", "code": back["code"], "code_verifier": "v" * 43}
        form["redirect_uri"] = REDIRECT
        tokens = await client.send("/token", form, client.headers("/token", pop=pop))
        assert tokens.status_code == 200, tokens.text
        said = strictjson.loads(jose.parse_compact(tokens.json()["id_token"]).payload)
        assert (said["acr"], said["nonce"]) == ("uaf", "n-1")

    run(tmp_path, check)


def test_without_a_code_challenge_or_a_way_back_no_request_is_kept(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        bare = await new_client(bench)
        for answer in (
            await ask(client, code_challenge=None, code_challenge_method=None),
            await ask(client, redirect_uri=None),  # which of the two?
            await ask(bare, redirect_uri=None),
        ):
            refused(answer, "redirect_to_web")
            assert not {"request_uri", "expires_in"} & set(answer.json())
        assert await count(bench, "oauth_request") == 0
        single = await new_client(bench, redirect_uris=[OTHER_REDIRECT])
        assert "request_uri" in (await ask(single, redirect_uri=None)).json()

    run(tmp_path, check, logged_in=False)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"redirect_uri": "https://evil.example/"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"dpop_jkt": "x" * 43}, "invalid_dpop_proof"),
    ],
)
def test_what_cannot_be_is_refused_before(tmp_path: Path, changes: dict[str, str], code: str) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        refused(await ask(client, **changes), code)
        assert await count(bench, "oauth_request") == 0

    run(tmp_path, check, logged_in=False)


def test_a_client_with_no_way_to_a_browser_is_told_that_nothing_does(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        bare = await new_client(bench)
        refused(await ask(bare, acr_values="password"), "unmet_authentication_requirements")
        # A browser's code would be refused this device all the same.
        refused(await ask(client, acr_values="fido2-hw uaf-hw"), "unmet_authentication_requirements")
        # And what the device can do, it does.
        assert (await ask(client, acr_values="password uaf")).json()["error"] == "insufficient_authorization"

    run(tmp_path, check, logged_in=False)


def test_a_proof_is_used_up_by_the_way_to_a_browser_too(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        fields = client.headers(PATH)
        parameters = asking(client, acr_values="web")
        refused(await client.send(PATH, parameters, fields), "redirect_to_web")
        refused(await client.send(PATH, parameters, fields), "invalid_dpop_proof")
        assert await count(bench, "oauth_request") == 1

    run(tmp_path, check, logged_in=False)
