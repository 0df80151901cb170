"""web-push-500: so many phones listen at once, and all are logged in at once by a push each.

The phones' keys are in software and all are in one process, each with a push service of its own behind one listener;
server and pushes are over TLS.
"""

import asyncio
import json
import os
import socket
import ssl
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec

from bench.apart import report
from bench.measure import Row
from bench.oob_login_push import SETTINGS
from fidoloop.bridge.load.phone import SimulatedPhone, software_statement
from fidoloop.bridge.profile import Account
from fidoloop.bridge.push.queue import PushMessage, PushQueue
from fidoloop.bridge.push.service import PATH, PushService
from fidoloop.bridge.push.subscriptions import PushSubscription
from fidoloop.lab import LabServer
from fidoloop.protocol import base64url, outofband, strictjson, web_push
from fidoloop.protocol.jose import public_jwk
from fidoloop.server.settings.layers import FILE_NAME
from fidoloop.server.tls import ensure_lab_tls

PHONES = 500
_CONNECTIONS = asyncio.Semaphore(64)
_API = "/nevisfido"
_UAF = {"content-type": "application/fido+uaf;charset=UTF-8", "accept": "application/fido+uaf"}
_JSON = {"content-type": "application/json", "accept": "application/json"}
_REDEEM = {"content-type": "application/json", "accept": "application/fido+uaf"}


class _Queue(PushQueue):
    """Hands a message on at once, to a future of the loop that it came in on."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: asyncio.Future[PushMessage] = asyncio.get_running_loop().create_future()

    def put(self, message: PushMessage) -> None:
        self.arrived.set_result(message)


@dataclass
class _Listening:
    """One phone of one user, its push service and its dispatch target."""

    username: str
    subscription: PushSubscription
    service: PushService
    queue: _Queue
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    authenticator: SimulatedPhone = field(default_factory=SimulatedPhone.in_software)
    target_id: str = ""

    async def register(self, client: httpx2.AsyncClient, api: dict[str, str], base: str) -> None:
        """Register, and become a dispatch target that is pushed to."""
        context = json.dumps({"username": self.username})
        answer = await _post(client, "/uaf/1.1/request/registration", {"op": "Reg", "context": context}, _UAF | api)
        jwk = public_jwk(self.key.public_key()).members
        target = {
            "name": "phone",
            "signatureKey": jwk,
            "encryptionKey": jwk,
            "dispatcher": "web-push",
            "target": self.subscription.at(f"{base}{PATH}{self.subscription.path}"),
        }
        body = json.loads(self.authenticator.register(answer))
        body["context"] = json.dumps({"dispatchTarget": target})
        done = json.loads(await _post(client, "/uaf/1.1/registration", body, _UAF))
        self.target_id = json.loads(done["description"])["dispatchTargetId"]

    async def log_in(self, client: httpx2.AsyncClient, api: dict[str, str]) -> float:
        """Have a log-in dispatched and answer what is pushed; return the milliseconds from the one to the other's end.

        Raises RuntimeError: it did not succeed.
        """
        started = time.perf_counter()
        wanted = {"getUafRequest": {"op": "Auth", "context": "{}"}, "dispatchTargetId": self.target_id}
        sent, _ = await asyncio.gather(
            _post(client, "/token/dispatch/authentication", wanted, _JSON | api), self._answer(client)
        )
        spent = (time.perf_counter() - started) * 1000
        dispatched = json.loads(sent)
        if dispatched["dispatchResult"] != "dispatched":
            raise RuntimeError(str(dispatched))
        status = json.loads(await _post(client, "/status", {"sessionId": dispatched["sessionId"]}, _JSON))
        if (status["status"], status["userId"]) != ("succeeded", self.username):
            raise RuntimeError(str(status))
        return spent

    async def _answer(self, client: httpx2.AsyncClient) -> None:
        async with asyncio.timeout(60):
            message = await self.queue.arrived
        token = outofband.open_payload(outofband.decode_payload(message.plaintext), self.key).token
        returned = await _post(client, "/token/redeem/authentication", {"token": token}, _REDEEM)
        await _post(client, "/uaf/1.1/authentication", self.authenticator.authenticate(returned), _UAF)


async def _post(client: httpx2.AsyncClient, path: str, body: object, headers: dict[str, str]) -> bytes:
    content = body if isinstance(body, bytes) else strictjson.encode(body).encode("utf-8")
    # Not left to the client's pool, which walks through all that wait at every step.
    async with _CONNECTIONS:
        answer = await client.post(f"{_API}{path}", content=content, headers=headers)
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")
    return answer.content


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _listening(username: str, audience: str, server_key: ec.EllipticCurvePublicKey) -> _Listening:
    queue = _Queue()
    service = PushService(queue, refused=_say)
    key = ec.generate_private_key(ec.SECP256R1())
    subscription = PushSubscription(Account("", username, ""), username, key, os.urandom(16), server_key)
    service.watch([subscription], audience=audience)
    return _Listening(username, subscription, service, queue)


async def _measure(lab: LabServer, api_key: str) -> tuple[list[float], list[BaseException]]:
    trusted = ssl.create_default_context(cafile=lab.ca)
    api = {"authorization": f"Bearer {api_key}"}
    phones: dict[str, _Listening] = {}

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        await phones[scope["path"].removeprefix(PATH)].service(scope, receive, send)

    tls = ensure_lab_tls(lab.home / "tls", name="phone")
    settings = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, ssl_certfile=tls.certificate, ssl_keyfile=tls.key
    )
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        base = f"https://localhost:{listener.getsockname()[1]}"
        server = uvicorn.Server(settings)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
        async with httpx2.AsyncClient(base_url=lab.url, verify=trusted, timeout=60, limits=limits) as client:
            answer = await client.get(f"{_API}/web-push/key")
            point = base64url.decode(answer.json()["applicationServerKey"])
            for number in range(PHONES):
                phone = _listening(f"user-{number}", base, web_push.public_key_of(point))
                phones[phone.username] = phone
                await phone.register(client, api, base)
            log_ins = (phone.log_in(client, api) for phone in phones.values())
            done = await asyncio.gather(*log_ins, return_exceptions=True)
        server.should_exit = server.force_exit = True
        await serving
    spent = [each for each in done if isinstance(each, float)]
    return spent, [each for each in done if isinstance(each, BaseException)]


def run() -> list[Row]:
    """Measure against a server process of its own."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name:
        lab = LabServer(Path(name))
        lab.add_metadata([software_statement()])
        (lab.home / FILE_NAME).write_text(SETTINGS, encoding="utf-8")
        api_key = lab.add_api_key()
        for number in range(PHONES):
            lab.add_user(f"user-{number}")
        with lab:
            spent, failures = asyncio.run(_measure(lab, api_key))
    for failure in failures[:5]:
        sys.stderr.write(f"{failure!r}\n")
    return [
        Row("web-push-500-failures", len(failures), "of 500 log-ins at once", limit=0),
        Row("web-push-500-p95", round(statistics.quantiles(spent, n=100)[94], 1), "ms, 95th percentile"),
    ]


if __name__ == "__main__":
    report(run())
