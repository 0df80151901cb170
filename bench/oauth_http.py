"""oauth-token: token requests a second over HTTP, with attestation, proof of possession and DPoP, one worker, SQLite.

The floor, turn by turn beside it: a minimal POST on the same server and the three bare ECDSA verifications that the
request needs. oauth-api and oauth-introspect have a minimal POST (and one verification) for a floor.
"""

import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.http_uaf_auth import CONNECTIONS, SECONDS, Work, loaded
from bench.measure import Row, rate, rate_of, row_of
from bench.minimal_server import MINIMAL_BODY, MINIMAL_HEAD
from fidoloop.bridge.load.connection import Connection, Endpoint
from fidoloop.lab import LabServer
from fidoloop.protocol import jose
from fidoloop.protocol.oauth.client_attestation import PopClaims, make_client_attestation, make_pop
from fidoloop.protocol.oauth.dpop import DpopClaims, access_token_hash, make_dpop_proof
from fidoloop.server.config import load_config
from fidoloop.server.environment import Environment, make_environment, system_clock
from fidoloop.server.oauth.client_authentication import BY_POP
from fidoloop.server.oauth.grants import Approved, add_code
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.open import open_store

TURNS = 11
PREPARED = 96
"""Proofs of each kind that every client has ready when a turn begins: more than it can use up in one."""
_FORM = "application/x-www-form-urlencoded"
DEVICE_POLICY = [{"name": "any", "grants": {"acr": ["uaf"], "scopes": ["api"]}}]
_DEVICE = {"evidence_type": "piv-attestation", "tier": "attested"}


class Client(NamedTuple):
    """A client and what it needs for the first request."""

    id: str
    key: ec.EllipticCurvePrivateKey
    attestation: str
    code: str


class Session:
    """One client on one connection: every request with fresh proofs."""

    def __init__(self, connection: Connection, base: str, client: Client, nonces: tuple[str, str, str]) -> None:
        self.connection, self._base, self._client = connection, base, client
        self._nonce, self._resource_nonce, self._challenge = nonces
        self.refresh_token = ""
        self.access_token = ""
        self._tokens: list[bytes] = []
        self._calls: list[bytes] = []

    async def redeem(self) -> None:
        await self._token(f"grant_type=authorization_code&code={self._client.code}")

    async def refresh(self) -> None:
        await self._token(f"grant_type=refresh_token&refresh_token={self.refresh_token}")

    async def call(self) -> None:
        head_ = self._calls.pop() if self._calls else self._call_head()
        await self.connection.post(head_, b"")

    def prepare(self) -> None:
        """Make proofs for what comes: it is the server that is measured, not who signs for it."""
        self._tokens += [self._token_head() for _ in range(PREPARED - len(self._tokens))]
        self._calls += [self._call_head() for _ in range(PREPARED - len(self._calls))]

    async def _token(self, form: str) -> None:
        head_ = self._tokens.pop() if self._tokens else self._token_head()
        answer: dict[str, Any] = json.loads(await self.connection.post(head_, form.encode()))
        self.refresh_token = answer["refresh_token"]
        self.access_token = self.access_token or answer["access_token"]

    def _call_head(self) -> bytes:
        claims = DpopClaims(
            secrets.token_urlsafe(16),
            "GET",
            f"{self._base}/api/whoami",
            int(time.time()),
            ath=access_token_hash(self.access_token),
            nonce=self._resource_nonce,
        )
        proof = make_dpop_proof(self._client.key, claims)
        return _with(f"Authorization: DPoP {self.access_token}\r\nDPoP: {proof}\r\n", "GET", "/api/whoami")

    def _token_head(self) -> bytes:
        now = int(time.time())
        dpop = DpopClaims(secrets.token_urlsafe(16), "POST", f"{self._base}/token", now, nonce=self._nonce)
        pop = PopClaims(self._base, secrets.token_urlsafe(16), now, self._challenge)
        fields = (
            f"DPoP: {make_dpop_proof(self._client.key, dpop)}\r\n"
            f"OAuth-Client-Attestation: {self._client.attestation}\r\n"
            f"OAuth-Client-Attestation-PoP: {make_pop(self._client.key, pop)}\r\n"
        )
        return _with(fields, "POST", "/token")


def run() -> list[Row]:
    """Measure against a server process of its own."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name:
        lab = LabServer(Path(name))
        lab.write_device_policy(DEVICE_POLICY)
        lab.add_user("alice")
        bearer = lab.add_api_key()
        command = [sys.executable, "-m", "bench.minimal_server", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline())
                with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
                    return runner.run(_measure(Path(name), port, process.pid, bearer))
            finally:
                process.terminate()


async def opened_sessions(home: Path, port: int) -> list[Session]:
    """Return clients that have redeemed their codes at the server that listens on this port."""
    base = f"http://127.0.0.1:{port}"
    config = load_config(home, {"base_url": base})
    store = await open_store(config.database)
    environment = make_environment(config, store, system_clock)
    clients = [await _new_client(environment, number) for number in range(CONNECTIONS)]
    nonces = _nonces(environment)
    await environment.close()
    await store.close()
    connections = [await Connection.open(Endpoint.loopback(port)) for _ in clients]
    pairs = zip(connections, clients, strict=True)
    sessions = [Session(connection, base, client, nonces) for connection, client in pairs]
    for session in sessions:
        await session.redeem()
    return sessions


async def _measure(home: Path, port: int, pid: int, bearer: str) -> list[Row]:
    sessions = await opened_sessions(home, port)
    connections = [session.connection for session in sessions]
    minimal: Work = [lambda connection=each: connection.post(MINIMAL_HEAD, MINIMAL_BODY) for each in connections]  # type: ignore[misc]
    introspect = _with(f"Authorization: Bearer {bearer}\r\n", "POST", "/introspect")
    body = f"token={sessions[0].access_token}".encode()
    known: Work = [lambda connection=each: connection.post(introspect, body) for each in connections]  # type: ignore[misc]
    subjects = {
        "oauth-token": Subject([session.refresh for session in sessions], lambda: _prepare(sessions), 3, 0.5),
        "oauth-api": Subject([session.call for session in sessions], lambda: _prepare(sessions), 2),
        "oauth-introspect": Subject(known, lambda: None, 0),
    }
    rows = []
    for name, subject in subjects.items():
        rows += await _rows(name, pid, subject, minimal)
    for connection in connections:
        connection.close()
    return rows


class Subject(NamedTuple):
    """What is measured: its work, made ready by `prepare`, and how many bare verifications it needs."""

    work: Work
    prepare: Callable[[], None]
    verifications: int
    wanted: float | None = None


async def _rows(name: str, pid: int, subject: Subject, minimal: Work) -> list[Row]:
    """Return the rates beside their floors, by the clock and by the server's processor time."""
    key = ec.generate_private_key(ec.SECP256R1())
    data, algorithm = os.urandom(160), ec.ECDSA(hashes.SHA256())
    signature, public_key = key.sign(data, algorithm), key.public_key()
    await rate_of(subject.work, SECONDS)
    await rate_of(minimal, SECONDS)
    pairs, by_cpu, loads = [], [], []
    for _ in range(TURNS):
        subject.prepare()
        value, load = await loaded(pid, subject.work)
        posts, minimal_load = await loaded(pid, minimal)
        cpu, started = time.process_time(), time.perf_counter()
        bare = rate(lambda: public_key.verify(signature, data, algorithm), 0.1)
        bare_load = (time.process_time() - cpu) / (time.perf_counter() - started)
        pairs.append((value, 1 / (1 / posts + subject.verifications / bare)))
        by_cpu.append((value / load, 1 / (minimal_load / posts + subject.verifications * bare_load / bare)))
        loads.append(load)
    return [
        row_of(name, pairs, wanted=subject.wanted),
        row_of(f"{name}: by server CPU", by_cpu, wanted=None),
        Row(f"{name}: server CPU", round(100 * statistics.median(loads), 1), "% of a core"),
    ]


def _prepare(sessions: list[Session]) -> None:
    for session in sessions:
        session.prepare()


def _with(fields: str, method: str, path: str) -> bytes:
    """Return the head of a request with these header fields, up to the value of its Content-Length."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {_FORM}\r\n"
        f"Accept: application/json\r\n{fields}Content-Length: "
    ).encode("ascii")


def _nonces(environment: Environment) -> tuple[str, str, str]:
    server, now = environment.authorization_server, int(time.time())
    return server.nonces.current(now), server.resource_nonces.current(now), server.challenges.current(now)


async def _new_client(environment: Environment, number: int) -> Client:
    key = ec.generate_private_key(ec.SECP256R1())
    jwk, now = jose.public_jwk(key.public_key()), environment.clock()
    client_id = f"client-{number}"
    signing = environment.authorization_server.attester.signing_key(now)
    claims = {
        **_DEVICE,
        "sub": client_id,
        "iat": now // 1000,
        "exp": now // 1000 + 3600,
        "cnf": {"jwk": jwk.members},
    }
    approved = Approved(
        client_id=client_id, username="alice", scope="api", acr="uaf", auth_time=now // 1000, jkt=jwk.thumbprint
    )
    async with environment.store.transaction() as transaction:
        await transaction.execute(
            oauth_queries.ADD_CLIENT,
            id=client_id,
            jkt=jwk.thumbprint,
            jwk=jwk.to_json(),
            auth_method=BY_POP,
            metadata="{}",
            device=json.dumps(_DEVICE),
            registration_token_hash="",
            now=now,
        )
        code = await add_code(environment, transaction, approved)
    return Client(client_id, key, make_client_attestation(signing.key, claims, signing.kid), code)
