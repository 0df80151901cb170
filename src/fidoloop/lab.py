"""A lab: a server process over a home of its own, and what an operator does to it. For the demo and the tests."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from fidoloop.protocol import outofband, strictjson
from fidoloop.protocol.uaf.metadata import MetadataStatement
from fidoloop.protocol.uaf.policy import Policy
from fidoloop.server import admin
from fidoloop.server.config import ServerConfig, load_config
from fidoloop.server.store.base import Store
from fidoloop.server.store.open import open_store

T = TypeVar("T")
STOP_SECONDS = 30
PUSH_TO_LOOPBACK = '[server.web_push]\nnetworks = ["127.0.0.0/8"]\n'
"""Settings of a lab whose phones listen on this machine."""


class LabError(RuntimeError):
    """The lab's server did not start."""


class LabServer:
    """A fidoloop server in a process of its own, on a free port of the loopback, with lab TLS; a context manager.

    `url` is its base URL, `port` the one it listens on, `ca` the PEM file of the lab CA to trust, an empty path where
    there is no TLS; `console` opens its lab console, once; empty where that is off.
    """

    def __init__(self, home: Path, *, tls: bool = True) -> None:
        """Take the directory of its state; nothing runs before `start`. Without `tls` it is plain http."""
        self.home = home
        self._transport = "--tls-dev" if tls else "--insecure"
        self._options: dict[str, object] = {} if tls else {"insecure": True}
        self.url = ""
        self.port = 0
        self.ca = Path()
        self.console = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start the process and wait until it listens.

        Raises:
            LabError: it ended instead; its log says why.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        log = self.home / "server.log"
        command = [sys.executable, "-m", "fidoloop", "server", "run", "--home", str(self.home), self._transport]
        with log.open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [*command, "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise LabError(f"the server did not start: {log.read_text(encoding='utf-8')[-2000:]}")
        announced = json.loads(line)
        self.url, self.port, self.ca = announced["url"], announced["port"], Path(announced["ca"] or "")
        self.console = announced.get("lab", "")
        return self

    def stop(self) -> None:
        """Stop the process; no error where it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def add_user(self, *usernames: str) -> None:
        """Add a user, or several, as `server user add`."""
        self._administer(lambda _, store: admin.add_user(store, *usernames, now=_now()))

    def set_password(self, username: str, password: str) -> None:
        """Set a user's password, which enrols FIDO keys over OAuth."""
        self._administer(lambda _, store: admin.set_password(store, username, password, now=_now()))

    def write_device_policy(self, rules: Sequence[Mapping[str, object]]) -> None:
        """Put a device policy in place of the one before; a running server takes it up within a second."""
        path = self.home / "oauth" / "device-policy.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(".new")
        staged.write_text(json.dumps({"rules": list(rules)}), encoding="utf-8")
        staged.replace(path)

    def add_api_key(self, name: str = "lab") -> str:
        """Make an API credential and return its bearer, as `server apikey add`."""
        return self._administer(lambda _, store: admin.add_api_key(store, name, now=_now())).bearer

    def enrol(self, username: str) -> str:
        """Make a registration token and return its code, as `server enrol --code`."""
        made = self._administer(lambda config, store: admin.enrol(config, store, username, now=_now()))
        return outofband.qr_text(made.payload)

    def add_metadata(self, statements: Sequence[MetadataStatement]) -> None:
        """Put metadata statements where the server loads them from."""
        directory = self.home / "metadata"
        directory.mkdir(parents=True, exist_ok=True)
        for statement in statements:
            path = directory / f"{statement.aaid.replace('#', '-')}.json"
            path.write_text(strictjson.encode(statement), encoding="utf-8")

    def add_policy(self, name: str, policy: Policy) -> None:
        """Put a named policy where the server loads it from."""
        directory = self.home / "policies"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.json").write_text(strictjson.encode(policy), encoding="utf-8")

    def audit(self) -> list[tuple[str, str]]:
        """Return (event, user) of the audit trail, newest first."""
        entries = self._administer(lambda _, store: admin.audit_entries(store))
        return [(entry.event, entry.username or "") for entry in entries]

    def _administer(self, work: Callable[[ServerConfig, Store], Awaitable[T]]) -> T:
        async def run() -> T:
            config = load_config(
                self.home, self._options | {"base_url": self.url or None}, fallback_base_url="https://localhost"
            )
            store = await open_store(config.database, migrate=config.migrate)
            try:
                return await work(config, store)
            finally:
                await store.close()

        return asyncio.run(run())


def _now() -> int:
    return int(time.time() * 1000)
