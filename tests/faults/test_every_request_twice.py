"""A phone sends everything twice, or again as the answer was lost: the second has an answer, nothing is doubled."""

import asyncio
import json

import pytest

from fidoloop.bridge.load.phone import SimulatedPhone
from fidoloop.server import admin
from fidoloop.server.store.open import open_store
from tests.faults.crowd import OK, PATH, REFUSED_TOKEN, Crowd, Member, session_of
from tests.faults.exchange import Answer, Client
from tests.faults.invariants import assert_kept
from tests.faults.place import USERS, Place
from tests.server.harness import REDEEM, UAF
from tests.server.process import Running, started

NO_REQUEST = 1491
WAYS = ("one after the other", "at once", "the first answer is lost")


class Twice:
    """Sends every request twice and returns both answers, the good one first; None for one that was not read."""

    def __init__(self, running: Running, way: str) -> None:
        self._clients = Client(running.url), Client(running.url)
        self._running, self._way = running, way

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[Answer | None, Answer]:
        first, second = self._clients
        if self._way == "the first answer is lost":
            await self._unread(path, body, headers)
            return None, await second.post(path, body, headers)
        if self._way == "at once":
            one, other = await asyncio.gather(first.post(path, body, headers), second.post(path, body, headers))
        else:
            one, other = await first.post(path, body, headers), await second.post(path, body, headers)
        return (one, other) if one.code == OK else (other, one)

    async def _unread(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Send a request, and hang up when its answer begins to come."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._running.port)
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{fields}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await writer.wait_closed()

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_request_sent_twice_has_a_second_answer_and_one_effect(place: Place, way: str) -> None:
    with started(place.home, "--workers", "2", log=place.log) as running:
        crowd = Crowd(place, [running.url])

        async def scenario() -> None:
            twice = Twice(running, way)
            member = await _register(crowd, twice)
            for number in range(1, 4):
                await _log_in(crowd, twice, member)
                assert await _counters(place) == [number]
            await twice.close()
            await crowd.close()

        asyncio.run(scenario())
        assert_kept(place, crowd)
        assert running.stop() == 0


def _refused_with(answers: tuple[Answer | None, Answer], code: int) -> None:
    first, second = answers
    assert first is None or first.code == OK
    assert second.code == code, second.body


async def _register(crowd: Crowd, twice: Twice) -> Member:
    wanted = json.dumps({"op": "Reg", "context": json.dumps({"username": USERS[0]})}).encode()
    _, asked = await twice.post(f"{PATH}/uaf/1.1/request/registration", wanted, UAF | crowd.place.api)
    assert asked.code == OK
    assert asked.response is not None
    member = Member(SimulatedPhone.in_software(), USERS[0])
    crowd.ledger.attempted.add(member.key_id)
    crowd.ledger.signed.add(session_of(asked))
    body = member.phone.register(asked.response.content)
    _refused_with(await twice.post(f"{PATH}/uaf/1.1/registration", body, UAF), NO_REQUEST)
    crowd.ledger.registered[member.key_id] = member
    return member


async def _log_in(crowd: Crowd, twice: Twice, member: Member) -> None:
    client = crowd.client()
    token = await crowd.token(client, member.username)
    assert token is not None
    body = json.dumps({"token": token}).encode()
    path = f"{PATH}/token/redeem/authentication"
    first, second = await twice.post(path, body, REDEEM)
    _refused_with((first, second), REFUSED_TOKEN)
    if first is None:
        # A token whose answer was lost is lost: the phone begins anew.
        wanted = b'{"op":"Auth","context":"{}"}'
        first = await client.post(f"{PATH}/uaf/1.1/request/authentication", wanted, UAF)
    crowd.ledger.signed.add(session_of(first))
    assert first.response is not None
    answer = member.phone.authenticate(first.response.content)
    _refused_with(await twice.post(f"{PATH}/uaf/1.1/authentication", answer, UAF), NO_REQUEST)
    member.accepted = member.phone.counter


async def _counters(place: Place) -> list[int]:
    store = await open_store(place.database)
    try:
        return [each.sign_counter for each in await admin.list_credentials(store)]
    finally:
        await store.close()
