"""The server's clock jumps ahead and back: what has expired is refused, what was used stays used, counters go on.

The clock is libfaketime's, put before a real process; phones have the true one.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from fidoloop.server import admin
from fidoloop.server.config import load_config
from fidoloop.server.environment import make_environment, system_clock
from fidoloop.server.store.base import Query, Store
from fidoloop.server.store.open import open_store
from fidoloop.server.store.rows import Nothing, One
from tests.faults.crowd import OK, PATH, Crowd, session_of
from tests.faults.exchange import Answer
from tests.faults.invariants import assert_kept
from tests.faults.place import USERS, Place, configure
from tests.server.harness import BASE, REDEEM, UAF, Bench, Clock
from tests.server.oauth.client import OAuthClient, new_client
from tests.server.phone import full_model, surrogate_model
from tests.server.process import Running, started

EXPIRED, NO_REQUEST = 1408, 1491
HOUR = 3600
MARK = Query("INSERT INTO oauth_replay (replay_key, expires_at) VALUES ('mark', :expires_at)", Nothing)
MARKED = Query("SELECT replay_key FROM oauth_replay WHERE replay_key = 'mark'", One)


class ServerClock:
    """How far a server's clock is from the true one; libfaketime reads the file each time that it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.put(0)
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        self.under = [
            "env",
            f"LD_PRELOAD={library}",
            f"FAKETIME_TIMESTAMP_FILE={path}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]

    def put(self, seconds: int) -> None:
        staged = self._path.with_suffix(".new")
        staged.write_text(f"{seconds:+d}s\n")
        os.replace(staged, self._path)


@contextmanager
def running_by(clock: ServerClock, place: Place, port: int = 0) -> Iterator[Running]:
    with started(place.home, "--port", str(port), log=place.log, under=clock.under) as running:
        yield running
        assert running.stop() == 0


def test_expiry_holds_and_nothing_used_is_good_again(place: Place, tmp_path: Path) -> None:
    clock = ServerClock(tmp_path / "clock")
    with running_by(clock, place) as running:
        crowd = Crowd(place, [running.url])

        async def scenario() -> None:
            client = crowd.client()
            member = await crowd.register(client, USERS[0])
            assert member is not None

            async def send(body: bytes) -> int:
                return (await client.post(f"{PATH}/uaf/1.1/authentication", body, UAF)).code

            async def redeem(token: str) -> int:
                path = f"{PATH}/token/redeem/authentication"
                return (await client.post_json(path, {"token": token}, REDEEM)).code

            async def token() -> str:
                made = await crowd.token(client, USERS[0])
                assert made is not None
                return made

            async def asked() -> Answer:
                wanted = {"op": "Auth", "context": "{}"}
                return await client.post_json(f"{PATH}/uaf/1.1/request/authentication", wanted, UAF)

            used, waiting, unanswered = await token(), await token(), await asked()
            assert await redeem(used) == OK
            request = await asked()
            answered = member.phone.authenticate(_content(request))
            crowd.ledger.signed.add(session_of(request))
            assert await send(answered) == OK
            member.accepted = member.phone.counter
            for ahead in (HOUR, -HOUR, 30 * 24 * HOUR, 0):
                clock.put(ahead)
                assert await send(answered) == NO_REQUEST, ahead
                assert await redeem(used) != OK, ahead
                if ahead > 0:
                    assert await redeem(waiting) == EXPIRED, ahead
                    assert await send(member.phone.authenticate(_content(unanswered))) == NO_REQUEST, ahead
                assert await crowd.log_in(client, member), ahead
            # It waited all the time, and is good by the true clock: once.
            assert Counter([await redeem(waiting), await redeem(waiting)])[OK] == 1
            await crowd.close()

        asyncio.run(scenario())
        assert_kept(place, crowd)


def test_a_proof_is_not_good_again_after_a_clock_that_went_ahead(place: Place, tmp_path: Path) -> None:
    """Ahead, expired marks are removed: by a server that starts then, so that it happens at once."""
    clock = ServerClock(tmp_path / "clock")
    configure(place.home, place.database, f'insecure = true\nbase_url = "{BASE}"\n')

    async def call(client: OAuthClient, headers: dict[str, str]) -> int:
        return (await client.bench.client.get("/api/whoami", headers=headers)).status_code

    async def scenario() -> None:
        with running_by(clock, place) as running:
            port = running.port
            client, access = await _client(place, running)
            answer = await client.bench.client.get("/api/whoami", headers=_shown(client, access, client.nonce))
            headers = _shown(client, access, answer.headers["dpop-nonce"])
            assert await call(client, headers) == httpx2.codes.OK
            assert await call(client, headers) == httpx2.codes.UNAUTHORIZED
            await _mark_as_used(client.bench.store)
        clock.put(HOUR)
        with running_by(clock, place, port):
            assert await call(client, headers) == httpx2.codes.UNAUTHORIZED
            await _until_purged(client.bench.store)
        clock.put(0)
        with running_by(clock, place, port):
            assert await call(client, headers) == httpx2.codes.UNAUTHORIZED
            fresh = await client.bench.client.get("/api/whoami", headers=_shown(client, access, client.nonce))
            again = _shown(client, access, fresh.headers["dpop-nonce"])
            assert await call(client, again) == httpx2.codes.OK
        await client.bench.client.aclose()
        await client.bench.environment.close()
        await client.bench.store.close()

    asyncio.run(scenario())


def _shown(client: OAuthClient, access: str, nonce: str) -> dict[str, str]:
    proof = client.proof("/api/whoami", "GET", token=access, nonce=nonce)
    return {"authorization": f"DPoP {access}", "dpop": proof}


async def _client(place: Place, running: Running) -> tuple[OAuthClient, str]:
    """Return a registered OAuth client and an access token of its own."""
    config = load_config(place.home)
    store = await open_store(config.database)
    environment = make_environment(config, store, system_clock)
    connection = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", timeout=60)
    await admin.add_user(store, "jeff", now=system_clock())
    bench = Bench(
        config,
        store,
        Clock(system_clock()),
        connection,
        place.bearer,
        full_model(),
        surrogate_model(),
        environment,
    )
    client = await new_client(bench)
    return client, str((await client.tokens())["access_token"])


async def _mark_as_used(store: Store) -> None:
    """Leave the mark of a proof that expired long ago by the true clock, and is removed an hour ahead."""
    await store.execute(MARK, expires_at=system_clock() - 3 * 1000 * HOUR // 2)


async def _until_purged(store: Store) -> None:
    async with asyncio.timeout(60):
        while await store.fetch_one(MARKED) is not None:
            await asyncio.sleep(0)


def _content(answer: Answer) -> bytes:
    assert answer.response is not None
    assert answer.code == OK
    return answer.response.content
