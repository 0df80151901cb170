"""Whole log-ins of every kind at the lowest log level: no secret that crossed the wire is anywhere but there."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fidoloop.protocol import base64url
from fidoloop.server import admin, audit
from fidoloop.server.logs import log_handler
from tests.server import passkeys
from tests.server.harness import JSON, Bench, running
from tests.server.oauth.client import OAuthClient, new_client, write_policy
from tests.server.oauth.test_challenge import ALL, ASK, PASSWORD
from tests.server.phone import Phone
from tests.server.web.visitor import visiting

HEADERS = {"authorization", "cookie", "dpop", "oauth-client-attestation", "oauth-client-attestation-pop"}
MEMBERS = {
    *("token", "code", "access_token", "refresh_token", "id_token", "authorization_code", "auth_session", "password"),
    *("code_verifier", "registration_access_token", "client_secret", "request_uri", "fido2_token", "challenge"),
    *("qr", "link", "response", "serverData", "client_assertion", "number", "uafResponse", "uafRequest"),
}
SHORTEST = 4


class Wire:
    """Every secret that crossed it, as it was written there."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()

    async def request(self, request: httpx2.Request) -> None:
        for name in HEADERS & request.headers.keys():
            self.secrets.add(request.headers[name].rpartition(" ")[2])
        for part in request.headers.get("cookie", "").split(";"):
            self.secrets.add(part.partition("=")[2])
        self.body(request.content)

    async def response(self, response: httpx2.Response) -> None:
        await response.aread()
        for cookie in response.headers.get_list("set-cookie"):
            self.secrets.add(cookie.partition("=")[2].partition(";")[0])
        self.body(response.content)

    def body(self, body: bytes) -> None:
        try:
            self._walk(json.loads(body))
        except ValueError:
            self._walk(dict(parse_qsl(body.decode("utf-8", "replace"))))

    def _walk(self, value: Any) -> None:  # noqa: ANN401 - JSON
        if isinstance(value, list):
            for each in value:
                self._walk(each)
        if isinstance(value, dict):
            for name, each in value.items():
                if name in MEMBERS and isinstance(each, str):
                    self.secrets.add(each)
                self._walk(each)


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """Collect what all loggers of the process say, from DEBUG on."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = log_handler("plain", stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


async def log_in_by_code(bench: Bench, phone: Phone) -> None:
    for dispatcher in ("link", "png-qr-code", "link-png-qr-code"):
        wanted = {"getUafRequest": {"op": "Auth", "context": '{"username":"jeff"}'}, "dispatcher": dispatcher}
        made = (await bench.post("/token/dispatch/authentication", wanted, JSON, api=True)).json()
        returned = await bench.redeem(made["token"])
        again = await bench.redeem(made["token"])
        assert again["statusCode"] == 1403
        response = phone.authenticate(json.loads(returned["uafRequest"])[0])
        assert (await bench.respond("Auth", response))["statusCode"] == 1200
        assert (await bench.respond("Auth", response))["statusCode"] == 1491
        assert (await bench.status(made["sessionId"]))["status"] == "succeeded"


async def log_in_by_app(bench: Bench, client: OAuthClient) -> None:
    wanted = ASK | {"acr_values": "pw-enroll", "username": "jeff"}
    for password in ("a wrong password", PASSWORD):
        await client.send("/authorize-challenge", wanted | {"password": password})
    tokens = await client.tokens()
    newer = (await client.refresh(tokens["refresh_token"])).json()
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400
    fields = {
        "authorization": f"DPoP {newer['access_token']}",
        "dpop": client.proof("/api/whoami", "GET", token=newer["access_token"]),
    }
    await bench.client.get("/api/whoami", headers=fields)
    await client.send("/introspect", {"token": newer["access_token"]}, [("content-type", "application/json")])
    await client.send("/revoke", {"token": newer["refresh_token"]})


async def log_in_by_page(bench: Bench, wire: Wire, phone: Phone) -> None:
    async with visiting(bench) as visitor:
        visitor.client.event_hooks = {"request": [wire.request], "response": [wire.response]}
        await visitor.log_in(bench, phone, remember=True)
        assert await visitor.who() == "jeff"
        assert (await visitor.post("/web/logout", {})).status_code == 204


def test_no_secret_of_a_whole_log_in_is_in_logs_audit_or_metrics(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def check() -> None:
        wire = Wire()
        with everything_logged() as logged:
            async with running(tmp_path, access_log=True) as bench:
                bench.client.event_hooks = {"request": [wire.request], "response": [wire.response]}
                write_policy(bench, {"rules": [ALL]})
                await admin.set_password(bench.store, "jeff", PASSWORD, now=bench.clock())
                phone = await bench.registered(target=True)
                await log_in_by_code(bench, phone)
                passkey = await passkeys.enrolled(bench)
                assert (await passkeys.log_in(bench, passkey)).status_code == 200
                client = await new_client(bench)
                await log_in_by_app(bench, client)
                await log_in_by_page(bench, wire, phone)
                entries = await audit.entries(bench.store, None, limit=1000)
                metrics = (await bench.client.get("/metrics", headers=bench.api)).text
        assert len(entries) > 5
        told = logged.getvalue() + repr(entries) + metrics + "".join(capfd.readouterr())
        assert told.count("fidoloop.access") > 30
        private = client.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        wire.secrets |= {bench.bearer, bench.bearer.partition(".")[2], PASSWORD, base64url.encode(private)}
        secrets = {secret for secret in wire.secrets if len(secret) >= SHORTEST}
        assert len(secrets) > 40
        leaked = {secret for secret in secrets if re.search(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", told)}
        assert leaked == set()

    asyncio.run(check())


def test_the_wire_is_read_for_secrets() -> None:
    """The test above would be worth nothing without it."""
    wire = Wire()
    wire.body(b'{"a": [{"token": "in json"}]}')
    wire.body(b"code=in+a+form&other=not")
    asyncio.run(wire.request(httpx2.Request("GET", "https://x/", headers={"authorization": "Bearer in a header"})))
    answer = httpx2.Response(200, headers={"set-cookie": "name=in a cookie; Secure"}, content=b"{}")
    asyncio.run(wire.response(answer))
    assert {"in json", "in a form", "header", "in a cookie"} <= wire.secrets
    assert "not" not in wire.secrets
