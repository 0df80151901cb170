"""oauth-replay-1M: using a proof up in a store that remembers a million, against one that remembers none."""

import asyncio
import secrets
import statistics
import tempfile
import time
from pathlib import Path

from bench.measure import ROUNDS, Row
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Store, Transaction
from fidoloop.server.store.open import open_store

MANY = 1_000_000
PER_ROUND = 100


def run() -> list[Row]:
    """Measure one check, a transaction of its own, in processor time: what is over takes none."""
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name:
        empty, full = [await open_store(f"sqlite:///{Path(name) / each}.sqlite") for each in ("empty", "full")]
        async with full.transaction() as transaction:
            for _ in range(MANY):
                await _use(transaction)
        await _round(empty)
        await _round(full)
        pairs = [(await _round(full), await _round(empty)) for _ in range(ROUNDS)]
        for store in (empty, full):
            await store.close()
    ratio = statistics.median(value / floor for value, floor in pairs)
    microseconds = statistics.median(value for value, _ in pairs) * 1e6
    return [
        Row("oauth-replay-1M: one check", round(microseconds, 1), "us"),
        Row("oauth-replay-1M: against an empty store", round(ratio, 3), "x", limit=1.3),
    ]


async def _round(store: Store) -> float:
    """Return the processor seconds of one check."""
    started = time.process_time()
    for _ in range(PER_ROUND):
        async with store.transaction() as transaction:
            await _use(transaction)
    return (time.process_time() - started) / PER_ROUND


async def _use(transaction: Transaction) -> None:
    key = secrets.token_urlsafe(32)
    used = await transaction.fetch_one(oauth_queries.USE_PROOF, replay_key=key, expires_at=2**40)
    assert used is not None
