"""A server under test, spoken to over HTTP without a socket."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from fidoloop.server import admin
from fidoloop.server.app import app_of
from fidoloop.server.config import ServerConfig
from fidoloop.server.environment import Environment, make_environment
from fidoloop.server.http.dispatch import Routes
from fidoloop.server.store.base import Query, Store
from fidoloop.server.store.open import open_store
from fidoloop.server.store.rows import One
from tests.server.phone import NOW, Model, Phone, full_model, surrogate_model
from tests.server.postgres import schema_of

BASE = "https://localhost:8443"
UAF = {"content-type": "application/fido+uaf;charset=UTF-8", "accept": "application/fido+uaf"}
JSON = {"content-type": "application/json", "accept": "application/json"}
REDEEM = {"content-type": "application/json", "accept": "application/fido+uaf"}
postgres_url = ""
"""Set by --store=postgresql: where `running` makes a schema for each home, unless it is told another database."""
TABLES = ("account", "api_key", "credential", "dispatch_target")


class Clock:
    """A clock that stands still until it is moved; epoch milliseconds."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


@dataclass
class Bench:
    """A running server, its store, its clock, a client with an API credential, and the models it knows."""

    config: ServerConfig
    store: Store
    clock: Clock
    client: httpx2.AsyncClient
    bearer: str
    full: Model
    surrogate: Model
    environment: Environment

    @property
    def api(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.bearer}"}

    def another_client(self) -> httpx2.AsyncClient:
        """Return a client without a credential or cookies."""
        transport = httpx2.ASGITransport(app=app_of(self.environment))
        return httpx2.AsyncClient(transport=transport, base_url=BASE)

    async def post(self, path: str, body: object, headers: dict[str, str], *, api: bool = False) -> httpx2.Response:
        content = body if isinstance(body, (bytes, str)) else json.dumps(body)
        return await self.client.post(f"/nevisfido{path}", content=content, headers=headers | (self.api if api else {}))

    async def request(self, op: str, context: dict[str, Any] | str, *, api: bool = True) -> dict[str, Any]:
        """Return the ReturnUAFRequest of a request service."""
        name = {"Reg": "registration", "Auth": "authentication", "Dereg": "deregistration"}[op]
        text = context if isinstance(context, str) else json.dumps(context)
        answer = await self.post(f"/uaf/1.1/request/{name}", {"op": op, "context": text}, UAF, api=api)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def uaf_request(self, op: str, context: dict[str, Any], *, api: bool = True) -> dict[str, Any]:
        """Return the UAF message of a request service that accepts."""
        returned = await self.request(op, context, api=api)
        assert returned["statusCode"] == 1200, returned
        return dict(json.loads(returned["uafRequest"])[0])

    async def respond(self, op: str, response: dict[str, Any], context: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the ServerResponse to a response."""
        name = {"Reg": "registration", "Auth": "authentication"}[op]
        body: dict[str, Any] = {"uafResponse": json.dumps([response])}
        if context is not None:
            body["context"] = json.dumps(context)
        answer = await self.post(f"/uaf/1.1/{name}", body, UAF)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def registered(self, username: str = "jeff", model: Model | None = None, *, target: bool = False) -> Phone:
        """Return a phone that is registered for `username`."""
        phone = Phone(model or self.full)
        request = await self.uaf_request("Reg", {"username": username})
        context = {"dispatchTarget": phone.target()} if target else None
        answer = await self.respond("Reg", phone.register(request), context)
        assert answer["statusCode"] == 1200, answer
        return phone

    async def redeem(self, token: str, name: str = "authentication") -> dict[str, Any]:
        answer = await self.post(f"/token/redeem/{name}", {"token": token}, REDEEM)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def status(self, session_id: str) -> dict[str, Any]:
        answer = await self.post("/status", {"sessionId": session_id}, JSON)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def state(self) -> dict[str, list[str]]:
        """Return a digest of every row that a refused request must leave alone."""
        digests = {}
        for table in TABLES:
            columns = {"credential": "key_id || aaid || username || sign_counter", "account": "username"}
            column = columns.get(table, "id")
            if table == "dispatch_target":
                column = "id || name || COALESCE(target, '') || COALESCE(dispatcher, '')"
            rows = await self.store.fetch_all(Query(f"SELECT {column} FROM {table} ORDER BY 1", One))  # noqa: S608
            digests[table] = [hashlib.sha256(row.value.encode()).hexdigest() for row in rows]
        return digests


def session_id_of(request: dict[str, Any]) -> str:
    return str(request["header"]["exts"][0]["data"])


def write_metadata(home: Path, *models: Model) -> None:
    directory = home / "metadata"
    directory.mkdir(parents=True, exist_ok=True)
    for model in models:
        (directory / f"{model.aaid.replace('#', '-')}.json").write_text(json.dumps(model.metadata()))


@asynccontextmanager
async def running(
    home: Path,
    *,
    database: str = "",
    users: tuple[str, ...] = ("jeff", "mia"),
    routes: Routes | None = None,
    **overrides: Any,  # noqa: ANN401 - any option
) -> AsyncIterator[Bench]:
    """Run a server on a fresh store with the users jeff and mia and one API credential."""
    full, surrogate = full_model(), surrogate_model()
    write_metadata(home, full, surrogate)
    if postgres_url and not database:
        database = await schema_of(postgres_url, home)
    config = ServerConfig(home=home, base_url=BASE, database=database, **overrides)
    clock = Clock()
    store = await open_store(config.database, migrate=True)
    environment: Environment | None = None
    try:
        for name in users:
            await admin.add_user(store, name, now=clock())
        key = await admin.add_api_key(store, "test", now=clock())
        environment = make_environment(config, store, clock)
        transport = httpx2.ASGITransport(app=app_of(environment, routes))
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            yield Bench(config, store, clock, client, key.bearer, full, surrogate, environment)
    finally:
        if environment is not None:
            await environment.close()
        await store.close()
