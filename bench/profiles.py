"""`python -m bench.profiles`: where the time of the hot paths goes, by cProfile, into build/profiles.json.

A log-in over HTTP and a token request in the server's process, a signature in SoftHSM in this one. What Python
functions take is told too high, since the profiler is in each of their calls; what C does is told about right.
"""

import cProfile
import json
import os
import pstats
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.crowd import make_home, run_quickly
from bench.measure import rate_of
from bench.oauth_http import DEVICE_POLICY, opened_sessions
from bench.report import PROFILES
from bench.uaf_sign import FEW, SigningPhone
from fidoloop.bridge.load.schedule import Limits
from fidoloop.lab import LabServer

SECONDS = 4.0
CONNECTIONS = 16
Function = tuple[str, int, str]
Shares = dict[str, float]

# What a function is for, by the first of these that its file or, of what is written in C, its name contains.
_KINDS = (
    ("signatures (OpenSSL)", ("ECPublicKey", "ECPrivateKey", "RSAPublicKey", "hazmat/")),
    ("the token (python-pkcs11, SoftHSM)", ("pkcs11",)),
    ("store (SQLite)", ("sqlite3", "server/store", "server/shared_changes")),
    ("JSON (msgspec)", ("msgspec", "protocol/strictjson", "json/")),
    ("HTTP (uvicorn, httptools, starlette)", ("uvicorn", "httptools", "starlette", "UVStream")),
    (
        "dispatch: media types, body, limits, metrics",
        ("server/http", "server/rate_limits", "server/metrics", "server/app"),
    ),
    ("OAuth: JOSE, DPoP, attestation, tokens", ("joserfc", "protocol/jose", "protocol/oauth", "server/oauth")),
    ("UAF: TLV, challenge, policy, rules", ("protocol/", "authenticator/")),
    ("services and sessions", ("server/",)),
    ("event loop and kernel", ("asyncio/", "uvloop", "selectors")),
)


def main() -> int:
    """Profile all three."""
    profiles = {"a log-in over HTTP": _log_in(), "a token request": _token(), "a signature in SoftHSM": _signature()}
    PROFILES.parent.mkdir(exist_ok=True)
    PROFILES.write_text(json.dumps(profiles, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(profiles, indent=1) + "\n")
    return 0


def _log_in() -> Shares:
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name:
        home = make_home(Path(name), CONNECTIONS)

        async def work(profiled: "_Profiled") -> None:
            load = await home.enrolled(profiled.port)
            await load.run(Limits(seconds=1.0), connections=CONNECTIONS)
            with profiled.counting():
                await load.run(Limits(seconds=SECONDS), connections=CONNECTIONS)

        return _of_server(Path(name), work)


def _token() -> Shares:
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name:
        lab = LabServer(Path(name))
        lab.write_device_policy(DEVICE_POLICY)
        lab.add_user("alice")

        async def work(profiled: "_Profiled") -> None:
            sessions = await opened_sessions(Path(name), profiled.port)
            await rate_of([session.refresh for session in sessions], 1.0)
            with profiled.counting():
                await rate_of([session.refresh for session in sessions], SECONDS)

        return _of_server(Path(name), work)


def _signature() -> Shares:
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name, ExitStack() as opened:
        phone = SigningPhone(Path(name), FEW, opened)
        phone.sign()
        profile = cProfile.Profile(time.process_time)
        deadline = time.monotonic() + SECONDS
        with profile:
            while time.monotonic() < deadline:
                phone.sign()
    return shares(pstats.Stats(profile))


class _Profiled:
    """A server process that profiles itself."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self._process, self._said = process, process.stdout
        self.port = int(self._said.readline())

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Profile what the server does inside."""
        self._process.send_signal(signal.SIGUSR1)
        yield
        self._process.send_signal(signal.SIGUSR2)
        self._said.readline()


def _of_server(home: Path, work: Callable[[_Profiled], Awaitable[None]]) -> Shares:
    path = home / "profile"
    command = [sys.executable, "-m", "bench.minimal_server", str(home), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            profiled = _Profiled(process)

            async def run() -> None:
                await work(profiled)

            run_quickly(run())
        finally:
            process.terminate()
    return shares(pstats.Stats(str(path)))


def shares(stats: pstats.Stats) -> Shares:
    """Return the share of the time by what it went for, in per cent, the largest first.

    What is built in and of no kind of its own, as `len`, counts for whoever called it.
    """
    spent: Counter[str] = Counter()
    entries: dict[Function, Any] = stats.stats  # type: ignore[attr-defined]  # documented, and not in its types
    for function, (_, _, own, _, callers) in entries.items():
        kind = _kind(function)
        if kind is not None or not callers:
            spent[kind or "else"] += own
            continue
        for caller, (_, _, share, _) in callers.items():
            spent[_kind(caller) or "else"] += share
    total = spent.total()
    return {kind: round(100 * seconds / total, 1) for kind, seconds in spent.most_common() if seconds > 0.002 * total}


def _kind(function: Function) -> str | None:
    file, _, name = function
    text = name if file == "~" else file.rpartition("site-packages/")[2].removeprefix(os.getcwd())
    return next((kind for kind, parts in _KINDS if any(part in text for part in parts)), None)


if __name__ == "__main__":
    sys.exit(main())
