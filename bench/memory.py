"""Memory: of a phone that listens for pushes, a laptop that follows a log-in, and a server after 100,000 log-ins.

What is measured is anonymous resident memory. A phone that listens costs its own push service what is measured here,
and the server nothing: to it the phone is a row of the store. A laptop costs the server an open stream.
"""

import asyncio
import gc
import json
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from bench.apart import report
from bench.crowd import Home, make_home, run_quickly
from bench.measure import Row
from bench.processes import Serving, resident_bytes, serving
from fidoloop.bridge.http import JSON_MEDIA_TYPE, UAF_MEDIA_TYPE
from fidoloop.bridge.load.connection import Client, Endpoint
from fidoloop.bridge.load.flows import WHOEVER
from fidoloop.bridge.load.schedule import Limits
from fidoloop.bridge.load.services import request_head
from fidoloop.bridge.profile import Account
from fidoloop.bridge.push.queue import PushQueue
from fidoloop.bridge.push.service import PushService
from fidoloop.bridge.push.subscriptions import PushSubscription

MARKS = (50_000, 75_000, 100_000)
CONNECTIONS = 16
STREAMS = 500
PHONES = 5_000
GROWTH_LIMIT = 20.0
"""Bytes a log-in: what is remembered is bounded, and full by the first mark; the rest is the allocator's."""


def run() -> list[Row]:
    """Measure streams, then log-ins, at servers of their own."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name:
        home = make_home(Path(name), CONNECTIONS)
        with serving(home.directory) as server:
            stream = run_quickly(_streams(home, server))
        with serving(home.directory) as server:
            return [_phones(), stream, *run_quickly(_log_ins(home, server))]


def _phones() -> Row:
    """Have one push service listen for many phones."""
    server_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    listening = [_subscription(number, server_key) for number in range(PHONES // 10)]
    service = PushService(PushQueue())
    service.watch(listening, audience="https://localhost")
    gc.collect()
    before = resident_bytes(os.getpid())
    listening += [_subscription(number, server_key) for number in range(PHONES)]
    service.watch(listening, audience="https://localhost")
    gc.collect()
    return Row("idle-phone: its push service", (resident_bytes(os.getpid()) - before) // PHONES, "bytes a phone")


def _subscription(number: int, server_key: ec.EllipticCurvePublicKey) -> PushSubscription:
    key = ec.generate_private_key(ec.SECP256R1())
    account = Account("https://localhost", f"user-{number}", os.urandom(16).hex())
    return PushSubscription(account, account.username, key, os.urandom(16), server_key)


async def _streams(home: Home, server: Serving) -> Row:
    """Open many status streams, beside a few that have all made that the first one needs."""
    client = Client(Endpoint.loopback(server.port))
    fields = f"Authorization: Bearer {home.api_key}\r\n"
    head = request_head(
        "/token/create/authentication", "127.0.0.1", media=UAF_MEDIA_TYPE, accept=JSON_MEDIA_TYPE, fields=fields
    )
    sessions = [json.loads(await client.post(head, WHOEVER))["sessionId"] for _ in range(STREAMS)]
    writers = [await _followed(server, session) for session in sessions[: STREAMS // 10]]
    before = resident_bytes(server.pid)
    writers += [await _followed(server, session) for session in sessions]
    grown = resident_bytes(server.pid) - before
    for writer in writers:
        writer.close()
    client.close()
    return Row("idle-stream: server", grown // STREAMS, "bytes a stream")


async def _followed(server: Serving, session_id: str) -> asyncio.StreamWriter:
    """Follow a session and return the connection once its first event is there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = request_head("/status/stream", "127.0.0.1", media=JSON_MEDIA_TYPE, accept="text/event-stream")
    body = json.dumps({"sessionId": session_id}).encode()
    writer.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
    await reader.readuntil(b"data:")
    return writer


async def _log_ins(home: Home, server: Serving) -> list[Row]:
    load = await home.enrolled(server.port)
    resident, done = [], 0
    for mark in MARKS:
        tally = await load.run(Limits(seconds=None, count=mark - done), connections=CONNECTIONS)
        if tally.errors:
            raise RuntimeError(str(tally.details))
        done = mark
        resident.append(resident_bytes(server.pid))
    grown = (resident[-1] - resident[0]) / (MARKS[-1] - MARKS[0])
    return [
        *(
            Row(f"log-ins-{mark // 1000}k: resident", round(found / 2**20, 2), "MiB")
            for mark, found in zip(MARKS, resident, strict=True)
        ),
        Row("log-ins-100k: growth since 50k", round(grown, 2), "bytes a log-in", limit=GROWTH_LIMIT),
    ]


if __name__ == "__main__":
    report(run())
