"""http-uaf-auth: full UAF authentications a second over HTTP (request + response, one worker, SQLite).

The floor, measured beside it turn by turn: two minimal POSTs on the same server plus one bare verification.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.measure import Row, rate, row_of
from bench.minimal_server import MINIMAL_PATH
from bench.software_phone import SoftwarePhone, statement
from fidoloop.lab import LabServer
from fidoloop.protocol import outofband

CONNECTIONS = 6
TURNS = 9
SECONDS = 0.7
UAF = "application/fido+uaf"


class Connection:
    """A keep-alive HTTP/1.1 connection with nothing to spare: the server is what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to the loopback."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, body: bytes, *, media: str = UAF, accept: str = UAF) -> bytes:
        """POST and return the answer's body; any status but 200 is an error."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media};charset=UTF-8\r\nAccept: {accept}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path}: {answer[:40]!r}")
        lower = answer.lower()
        start = lower.index(b"content-length:") + 15
        return await self._reader.readexactly(int(lower[start : lower.index(b"\r\n", start)]))

    def close(self) -> None:
        """Close it."""
        self._writer.close()


async def _authenticate(connection: Connection, phone: SoftwarePhone) -> None:
    answer = json.loads(
        await connection.post("/nevisfido/uaf/1.1/request/authentication", b'{"op":"Auth","context":"{}"}')
    )
    body = phone.answer(answer["uafRequest"], "Auth")
    done = json.loads(await connection.post("/nevisfido/uaf/1.1/authentication", body))
    if done["statusCode"] != 1200:
        raise RuntimeError(f"authentication refused: {done}")


async def _register(connection: Connection, code: str, phone: SoftwarePhone) -> None:
    token = outofband.open_payload(outofband.decode_scanned(code), None).token
    redeem = json.dumps({"token": token}).encode()
    path = "/nevisfido/token/redeem/registration"
    answer = json.loads(await connection.post(path, redeem, media="application/json"))
    body = phone.answer(answer["uafRequest"], "Reg")
    done = json.loads(await connection.post("/nevisfido/uaf/1.1/registration", body))
    if done["statusCode"] != 1200:
        raise RuntimeError(f"registration refused: {done}")


async def _rate(work: list[Callable[[], Awaitable[object]]]) -> float:
    """Return how often a second the workers, one a connection, get round."""
    started = time.perf_counter()
    deadline = started + SECONDS

    async def loop(once: Callable[[], Awaitable[object]]) -> int:
        count = 0
        while time.perf_counter() < deadline:
            await once()
            count += 1
        return count

    counts = await asyncio.gather(*(loop(once) for once in work))
    return sum(counts) / (time.perf_counter() - started)


async def _measure(port: int, codes: list[str]) -> list[tuple[float, float]]:
    connections = [await Connection.open(port) for _ in codes]
    phones = [SoftwarePhone() for _ in codes]
    for connection, code, phone in zip(connections, codes, phones, strict=True):
        await _register(connection, code, phone)
    minimal: list[Callable[[], Awaitable[object]]] = [
        lambda connection=connection: connection.post(MINIMAL_PATH, b"{}")  # type: ignore[misc]
        for connection in connections
    ]
    full: list[Callable[[], Awaitable[object]]] = [
        lambda connection=connection, phone=phone: _authenticate(connection, phone)  # type: ignore[misc]
        for connection, phone in zip(connections, phones, strict=True)
    ]
    key = ec.generate_private_key(ec.SECP256R1())
    data, algorithm = os.urandom(160), ec.ECDSA(hashes.SHA256())
    signature, public_key = key.sign(data, algorithm), key.public_key()
    await _rate(minimal)
    await _rate(full)
    pairs = []
    for _ in range(TURNS):
        full_rate, minimal_rate = await _rate(full), await _rate(minimal)
        verifications = rate(lambda: public_key.verify(signature, data, algorithm), 0.2)
        pairs.append((full_rate, 1 / (2 / minimal_rate + 1 / verifications)))
    for connection in connections:
        connection.close()
    return pairs


def run() -> list[Row]:
    """Measure against a server process of its own."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name:
        lab = LabServer(Path(name))
        lab.add_metadata([statement()])
        command = [sys.executable, "-m", "bench.minimal_server", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline())
                lab.url = f"http://127.0.0.1:{port}"
                codes = []
                for number in range(CONNECTIONS):
                    lab.add_user(f"user-{number}")
                    codes.append(lab.enrol(f"user-{number}"))
                with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
                    pairs = runner.run(_measure(port, codes))
            finally:
                process.terminate()
    return [row_of("http-uaf-auth", pairs, wanted=0.5)]
