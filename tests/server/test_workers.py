"""Several processes on one port: any of them takes any request, one that dies is replaced, all stop together."""

import asyncio
import json
import os
import re
import select
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from fidoloop.server import admin
from fidoloop.server.errors import ListenError
from fidoloop.server.store import queries
from fidoloop.server.store.open import migrate_store, open_store
from fidoloop.server.workers import listen_together
from tests.server.harness import JSON, REDEEM, UAF, write_metadata
from tests.server.phone import NOW, Model, Phone, full_model
from tests.server.process import Running, command, started

CREATE, REDEEM_PATH = "/nevisfido/token/create/authentication", "/nevisfido/token/redeem/authentication"


def pids_of(running: Running) -> set[int]:
    """Return the process ids of a server's workers."""
    found = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    return {int(pid) for pid in found}


@dataclass
class Clients:
    """A client for each worker, on a connection that stays with it."""

    running: Running
    by_worker: dict[str, httpx2.Client] = field(default_factory=dict)

    def worker_of(self, client: httpx2.Client) -> str:
        found = re.search(r'fidoloop_open_sessions\{worker="(\d+)"\}', client.get("/metrics").text)
        assert found is not None
        return found.group(1)

    def find(self, count: int) -> list[httpx2.Client]:
        """Connect until every worker has been met; the kernel spreads connections by their port."""
        while len(self.by_worker) < count:
            limits = httpx2.Limits(max_connections=1)
            client = httpx2.Client(base_url=self.running.url, timeout=60, limits=limits)
            worker = self.worker_of(client)
            if worker in self.by_worker:
                client.close()
            else:
                self.by_worker[worker] = client
        return [client for _, client in sorted(self.by_worker.items())]


@contextmanager
def clients_of(running: Running, count: int) -> Iterator[list[httpx2.Client]]:
    clients = Clients(running)
    try:
        yield clients.find(count)
    finally:
        for client in clients.by_worker.values():
            client.close()


@dataclass(frozen=True)
class Home:
    """A home whose database, of either kind, has one user and an API credential."""

    path: Path
    bearer: str
    model: Model

    @property
    def api(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.bearer}"}


def made_home(path: Path, database: str) -> Home:
    async def prepare() -> str:
        await migrate_store(database)
        store = await open_store(database)
        try:
            await admin.add_user(store, "jeff", now=NOW)
            return (await admin.add_api_key(store, "test", now=NOW)).bearer
        finally:
            await store.close()

    (path / "fidoloop.toml").write_text(f"[server]\ndatabase = {json.dumps(database)}\ninsecure = true\n")
    model = full_model()
    write_metadata(path, model)
    return Home(path, asyncio.run(prepare()), model)


@pytest.fixture
def home(tmp_path: Path, database: str) -> Home:
    return made_home(tmp_path, database)


@pytest.fixture
def file_home(tmp_path: Path) -> Home:
    return made_home(tmp_path, f"sqlite:///{tmp_path / 'server.sqlite'}")


def registered(home: Home, client: httpx2.Client, other: httpx2.Client) -> Phone:
    """Return a phone registered for jeff, its request from one worker and its response to another."""
    phone = Phone(home.model)
    wanted = {"op": "Reg", "context": '{"username":"jeff"}'}
    returned = client.post("/nevisfido/uaf/1.1/request/registration", json=wanted, headers=UAF | home.api).json()
    request = json.loads(returned["uafRequest"])[0]
    body = {"uafResponse": json.dumps([phone.register(request)])}
    assert other.post("/nevisfido/uaf/1.1/registration", json=body, headers=UAF).json()["statusCode"] == 1200
    return phone


def status_events(client: httpx2.Client, session_id: str) -> Iterator[dict[str, object]]:
    """Give the events of a session's status stream, as they come."""
    headers = JSON | {"accept": "text/event-stream"}
    path = "/nevisfido/status/stream"
    with client.stream("POST", path, json={"sessionId": session_id}, headers=headers) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def test_a_log_in_by_qr_code_goes_through_all_workers(home: Home) -> None:
    with started(home.path, "--workers", "3") as running:
        with clients_of(running, 3) as (laptop, first, second):
            phone = registered(home, first, second)
            wanted = {"getUafRequest": {"op": "Auth", "context": '{"username":"jeff"}'}, "dispatcher": "png-qr-code"}
            path = "/nevisfido/token/dispatch/authentication"
            made = first.post(path, json=wanted, headers=JSON | home.api).json()
            events = status_events(laptop, made["sessionId"])
            assert next(events)["status"] == "tokenCreated"
            returned = second.post(REDEEM_PATH, json={"token": made["token"]}, headers=REDEEM).json()
            assert next(events)["status"] == "clientAuthenticating"
            body = {"uafResponse": json.dumps([phone.authenticate(json.loads(returned["uafRequest"])[0])])}
            answer = first.post("/nevisfido/uaf/1.1/authentication", json=body, headers=UAF).json()
            assert answer["statusCode"] == 1200
            last = next(events)
            assert (last["status"], last["userId"]) == ("succeeded", "jeff")
            again = second.post("/nevisfido/uaf/1.1/authentication", json=body, headers=UAF).json()
            assert again["statusCode"] != 1200
        assert running.stop() == 0


def test_a_key_that_one_worker_remembers_is_used_by_another_meanwhile(home: Home) -> None:
    """A counter that went back is found by the store, whatever a worker remembers."""
    with started(home.path, "--workers", "2") as running:
        with clients_of(running, 2) as (one, other):
            phone = registered(home, one, other)

            def respond(client: httpx2.Client) -> tuple[httpx2.Client, dict[str, str]]:
                wanted = {"op": "Auth", "context": "{}"}
                path = "/nevisfido/uaf/1.1/request/authentication"
                returned = client.post(path, json=wanted, headers=UAF).json()
                request = json.loads(returned["uafRequest"])[0]
                return client, {"uafResponse": json.dumps([phone.authenticate(request)])}

            def send(client: httpx2.Client, body: dict[str, str]) -> int:
                answer = client.post("/nevisfido/uaf/1.1/authentication", json=body, headers=UAF).json()
                return int(answer["statusCode"])

            assert send(*respond(one)) == 1200
            early, late = respond(one), respond(other)
            assert send(*late) == 1200
            assert send(*early) == 1498
            assert send(*respond(one)) == 1200
        assert running.stop() == 0


def test_a_token_that_two_workers_redeem_at_once_has_one_winner(home: Home) -> None:
    async def redeem_everywhere(clients: list[httpx2.AsyncClient], token: str) -> Counter[int]:
        sent = [client.post(REDEEM_PATH, json={"token": token}, headers=REDEEM) for client in clients]
        return Counter(answer.json()["statusCode"] for answer in await asyncio.gather(*sent))

    async def race(url: str) -> None:
        # Enough connections that both workers have some.
        clients = [httpx2.AsyncClient(base_url=url, timeout=60) for _ in range(8)]
        workers = {(await client.get("/metrics")).text.partition('worker="')[2][:1] for client in clients}
        while len(workers) < 2:
            clients.append(httpx2.AsyncClient(base_url=url, timeout=60))
            workers.add((await clients[-1].get("/metrics")).text.partition('worker="')[2][:1])
        for _ in range(4):
            body = '{"op":"Auth","context":"{\\"username\\":\\"jeff\\"}"}'
            headers = home.api | {"content-type": "application/fido+uaf"}
            made = (await clients[0].post(CREATE, content=body, headers=headers)).json()
            codes = await redeem_everywhere(clients, made["token"])
            winners = sum(count for code, count in codes.items() if code != 1403)
            assert winners == 1, codes
        for client in clients:
            await client.aclose()

    with started(home.path, "--workers", "2") as running:
        asyncio.run(race(running.url))
        assert running.stop() == 0


def test_a_worker_that_is_killed_is_replaced(file_home: Home) -> None:
    log = file_home.path / "log"
    with started(file_home.path, "--workers", "2", log=log) as running:
        before = pids_of(running)
        assert len(before) == 2
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        while len(after := pids_of(running) - {victim}) < 2:
            assert running.process.poll() is None
        assert len(after & before) == 1
        # Whichever socket a connection falls to, somebody answers.
        with clients_of(running, 2) as clients:
            assert [client.get("/readyz").json() for client in clients] == [{"status": "ready"}] * 2
        assert running.stop() == 0
    assert f"(process {victim}) ended by signal 9; another takes its place" in log.read_text()


def test_workers_give_requests_ids_of_their_own(file_home: Home) -> None:
    with started(file_home.path, "--workers", "2") as running:
        with clients_of(running, 2) as clients:
            ids = [client.get("/readyz").headers["x-request-id"] for client in clients]
            assert len({given.partition("-")[0] for given in ids}) == 2
        assert running.stop() == 0


def test_workers_end_when_nobody_looks_after_them(file_home: Home) -> None:
    with started(file_home.path, "--workers", "2") as running:
        workers = pids_of(running)
        descriptors = [os.pidfd_open(pid) for pid in workers]
        running.process.kill()
        running.process.communicate()
        for descriptor in descriptors:
            assert wait_for_end(descriptor)


def wait_for_end(descriptor: int) -> bool:
    """Return whether the process of a pidfd ends within a minute."""
    readable, _, _ = select.select([descriptor], [], [], 60)
    os.close(descriptor)
    return bool(readable)


def test_a_job_is_claimed_by_one_of_many(database: str) -> None:
    async def claim() -> list[int]:
        await migrate_store(database)
        store = await open_store(database)
        try:
            return [
                await store.execute(queries.CLAIM_JOB, name="purge", now=now, until=until)
                # The last is of a clock that was put back: a claim further off than one's own would bind too long.
                for now, until in ((0, 10), (5, 15), (9, 19), (10, 20), (11, 21), (1, 11))
            ]
        finally:
            await store.close()

    assert asyncio.run(claim()) == [1, 0, 0, 1, 0, 1]


def test_a_port_that_is_taken_is_refused_by_workers_too() -> None:
    (taken, other) = listen_together("127.0.0.1", 0, 2)
    with taken, other:
        assert taken.getsockname() == other.getsockname()
        with pytest.raises(ListenError, match=r"cannot listen on 127\.0\.0\.1"):
            listen_together("127.0.0.1", taken.getsockname()[1], 2)


def test_what_is_wrong_is_said_once_and_nobody_serves(file_home: Home) -> None:
    (file_home.path / "policies").mkdir()
    (file_home.path / "policies" / "default.json").write_text("{")
    done = command(file_home.path, "run", "--port", "0", "--workers", "2")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("default.json") == 1
