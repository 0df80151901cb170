"""What no fault may change, asked of the database and from the outside."""

import asyncio

from fidoloop.server import admin
from fidoloop.server.store.base import Query, Store
from fidoloop.server.store.open import open_store
from fidoloop.server.store.rows import One
from tests.faults.crowd import OK, REFUSED_SIGNATURE, Crowd, Ledger, Member
from tests.faults.exchange import Client
from tests.faults.place import Place
from tests.server.harness import UAF
from tests.server.process import Running

MOST_LOG_INS = 30
"""So many of those who were registered first are made to log in again, and so many of the last."""


def assert_kept(place: Place, crowd: Crowd) -> None:
    """Hold the database and a server that runs at the crowd's first URL against what the crowd was told."""
    asyncio.run(_assert_kept(place, crowd))


def assert_all_were_told(place: Place, crowd: Crowd, running: Running) -> None:
    """No worker went down with its database, and no connection either: everybody was answered, by 503 meanwhile."""
    assert not [kind for kind in crowd.ledger.answers if not kind.endswith((": answered", ": 503"))]
    assert_kept(place, crowd)
    assert running.stop() == 0
    log = place.log.read_text()
    assert "Traceback" not in log
    assert "ended by" not in log


async def _assert_kept(place: Place, crowd: Crowd) -> None:
    store = await open_store(place.database)
    try:
        await assert_database(store, crowd.ledger)
        client = crowd.client()
        members = list(crowd.ledger.registered.values())
        for member in members[:MOST_LOG_INS] + members[MOST_LOG_INS:][-MOST_LOG_INS:]:
            assert await crowd.log_in(client, member), crowd.ledger.answers
        await assert_no_older_counter(client, members[0])
        await client.close()
        await assert_database(store, crowd.ledger)
    finally:
        await store.close()


async def assert_database(store: Store, ledger: Ledger) -> None:
    """Nothing that was told is missing, and nothing is there that nobody has signed."""
    stored = {each.key_id: each.sign_counter for each in await admin.list_credentials(store)}
    assert set(ledger.registered) <= set(stored), "a registered credential is lost"
    assert set(stored) <= ledger.attempted
    for key_id, member in ledger.registered.items():
        assert member.accepted <= stored[key_id] <= member.phone.counter, "a counter went back, or ahead"
    succeeded = await _column(store, "SELECT id FROM session WHERE state = 'succeeded'")
    assert ledger.succeeded <= succeeded
    assert succeeded <= ledger.signed, "a session succeeded without a signature"
    assert not succeeded & ledger.forged
    redeemed = await _column(store, "SELECT token FROM session WHERE redeemed_at IS NOT NULL AND token IS NOT NULL")
    assert {token for token, count in ledger.redeemed.items() if count} <= redeemed
    assert max(ledger.redeemed.values(), default=0) <= 1, "a token was redeemed twice"


async def assert_no_older_counter(client: Client, member: Member) -> None:
    """A copy of a key whose counter stands where the key's was is refused."""
    now = member.phone.counter
    member.phone.counter = member.accepted - 1
    asked = await client.post_json("/nevisfido/uaf/1.1/request/authentication", {"op": "Auth", "context": "{}"}, UAF)
    assert asked.code == OK
    assert asked.response is not None
    body = member.phone.authenticate(asked.response.content)
    answer = await client.post("/nevisfido/uaf/1.1/authentication", body, UAF)
    assert answer.code == REFUSED_SIGNATURE
    member.phone.counter = now


async def _column(store: Store, sql: str) -> set[str]:
    return {row.value for row in await store.fetch_all(Query(sql, One))}
