"""Passkeys in software, and ceremonies over HTTP in nevisFIDO's shape."""

import os
from dataclasses import dataclass, field
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import base64url
from tests.protocol.webauthn.builders import UP, UV, Ceremony
from tests.server.harness import BASE, JSON, Bench

RP_ID = "localhost"
Options = dict[str, Any]


@dataclass
class Passkey:
    """One credential; `count` goes up with every use."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: os.urandom(32))
    flags: int = UP | UV
    count: int = 0
    handle: str = ""

    @property
    def name(self) -> str:
        return base64url.encode(self.id)

    def create(self, options: Options, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - of Ceremony
        self.handle = options["user"]["id"]
        return self._ceremony("webauthn.create", options, options["rp"]["id"], changes).registration()

    def get(self, options: Options, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - of Ceremony
        self.count += 1
        response = {"userHandle": self.handle} | changes.pop("response", {})
        ceremony = self._ceremony("webauthn.get", options, options["rpId"], changes | {"response": response})
        return ceremony.authentication()

    def _ceremony(self, kind: str, options: Options, rp_id: str, changes: dict[str, Any]) -> Ceremony:
        client = {"challenge": options["challenge"], "origin": BASE} | changes.pop("client", {})
        members: dict[str, Any] = {
            "rp_id": rp_id,
            "flags": self.flags,
            "count": self.count,
            "key": self.key,
            "id": self.id,
        }
        return Ceremony(type=kind, client=client, **(members | changes))


async def post(bench: Bench, path: str, body: object, *, api: bool = False) -> httpx2.Response:
    return await bench.post(f"/fido2/{path}", body, JSON, api=api)


async def creation_options(bench: Bench, username: str = "jeff", **members: Any) -> Options:  # noqa: ANN401 - JSON
    body = {"username": username, "displayName": username.title(), **members}
    answer = await post(bench, "attestation/options", body, api=True)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def request_options(bench: Bench, username: str | None = "jeff", **members: Any) -> Options:  # noqa: ANN401
    body = ({} if username is None else {"username": username}) | members
    answer = await post(bench, "attestation/options", body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def enrolled(bench: Bench, username: str = "jeff", passkey: Passkey | None = None, **changes: Any) -> Passkey:  # noqa: ANN401
    """Return a passkey that is registered for a user."""
    made = passkey or Passkey()
    credential = made.create(await creation_options(bench, username), **changes)
    answer = await post(bench, "attestation/result", credential, api=True)
    assert answer.status_code == 200, answer.text
    return made


async def log_in(bench: Bench, passkey: Passkey, username: str | None = "jeff", **changes: Any) -> httpx2.Response:  # noqa: ANN401
    return await post(bench, "assertion/result", passkey.get(await request_options(bench, username), **changes))


async def status(bench: Bench, options: Options) -> dict[str, Any]:
    answer = await post(bench, "status", {"fido2SessionId": options["fido2SessionId"]})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
