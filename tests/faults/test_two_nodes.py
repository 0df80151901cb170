"""Two servers with homes of their own on one PostgreSQL: what is good once is good once for both together."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest

from tests.faults.crowd import OK, Crowd, session_of
from tests.faults.exchange import Client
from tests.faults.invariants import assert_kept
from tests.faults.oauth import as_client
from tests.faults.place import USERS, Place, make_place, second_home
from tests.server.harness import BASE, UAF
from tests.server.oauth.client import VERIFIER, OAuthClient
from tests.server.postgres import Cluster
from tests.server.process import started

SETTINGS = f'insecure = true\nbase_url = "{BASE}"\n'
ROUNDS = 8
NO_REQUEST = 1491


@dataclass(frozen=True)
class Nodes:
    """Two nodes of one place, by their URLs."""

    place: Place
    urls: tuple[str, str]

    @property
    def racers(self) -> tuple[str, ...]:
        """Return where each of eight goes: to either node in turn."""
        return self.urls * 4


@pytest.fixture
def nodes(tmp_path: Path, cluster: Cluster) -> Iterator[Nodes]:
    (tmp_path / "one").mkdir()
    place = make_place(tmp_path / "one", cluster, settings=SETTINGS)
    with started(place.home, log=place.log) as first:
        second_home(place, tmp_path / "two", settings=SETTINGS)
        with started(tmp_path / "two", log=tmp_path / "two" / "log") as second:
            yield Nodes(place, (f"http://127.0.0.1:{first.port}", f"http://127.0.0.1:{second.port}"))
            assert (first.stop(), second.stop()) == (0, 0)


def test_one_token_and_one_assertion_at_both_nodes_have_one_winner(nodes: Nodes) -> None:
    crowd = Crowd(nodes.place, nodes.urls)

    async def race() -> None:
        clients = [Client(url) for url in nodes.racers]
        member = await crowd.register(clients[0], USERS[0])
        assert member is not None
        for _ in range(ROUNDS):
            token = await crowd.token(clients[1], USERS[0])
            assert token is not None
            (won,) = await crowd.redeem(clients, token)
            assert won.response is not None
            body = member.phone.authenticate(won.response.content)
            sent = [client.post("/nevisfido/uaf/1.1/authentication", body, UAF) for client in clients]
            codes = Counter(answer.code for answer in await asyncio.gather(*sent))
            assert codes == {OK: 1, NO_REQUEST: len(clients) - 1}
            crowd.ledger.signed.add(session_of(won))
            member.accepted = member.phone.counter
        for client in clients:
            await client.close()

    asyncio.run(race())
    assert_kept(nodes.place, crowd)


def test_two_nodes_under_load_lose_and_double_nothing(nodes: Nodes) -> None:
    crowd = Crowd(nodes.place, nodes.urls)

    async def load() -> None:
        async with crowd.at_work():
            await crowd.all_get_round(20)

    asyncio.run(load())
    assert not [kind for kind in crowd.ledger.answers if not kind.endswith(": answered")]
    assert_kept(nodes.place, crowd)


def test_a_code_a_refresh_token_and_a_proof_are_good_at_one_node(nodes: Nodes) -> None:
    async def races() -> None:
        async with as_client(nodes.place, nodes.urls[0]) as client:
            code = await client.code()
            form = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
            assert await _race(nodes, lambda url: _token(client, url, form)) == {200: 1, 400: 7}
            # What a second use ends is ended at both; so each race has a log-in of its own.
            form = {"grant_type": "refresh_token", "refresh_token": (await client.tokens())["refresh_token"]}
            assert await _race(nodes, lambda url: _token(client, url, form)) == {200: 1, 400: 7}
            access = (await client.tokens())["access_token"]
            nonce = await _resource_nonce(client, access)
            headers = {
                "authorization": f"DPoP {access}",
                "dpop": client.proof("/api/whoami", "GET", token=access, nonce=nonce),
            }
            assert await _race(nodes, lambda url: _get(url, headers)) == {200: 1, 401: 7}

    asyncio.run(races())


async def _race(nodes: Nodes, send: Callable[[str], Awaitable[int]]) -> Counter[int]:
    return Counter(await asyncio.gather(*(send(url) for url in nodes.racers)))


async def _token(client: OAuthClient, url: str, form: dict[str, str]) -> int:
    async with httpx2.AsyncClient(base_url=url, timeout=60) as connection:
        answer = await connection.post("/token", content=urlencode(form), headers=client.headers("/token"))
        return answer.status_code


async def _get(url: str, headers: dict[str, str]) -> int:
    async with httpx2.AsyncClient(base_url=url, timeout=60) as connection:
        return (await connection.get("/api/whoami", headers=headers)).status_code


async def _resource_nonce(client: OAuthClient, access: str) -> str:
    headers = {"authorization": f"DPoP {access}", "dpop": client.proof("/api/whoami", "GET", token=access)}
    answer = await client.bench.client.get("/api/whoami", headers=headers)
    return answer.headers["dpop-nonce"]
