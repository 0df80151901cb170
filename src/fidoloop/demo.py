"""The demonstration: the whole out-of-band flow of thirteen steps between a laptop, a server and a phone.

Registration, a log-in, a transaction confirmation and a deregistration, each through the public doors.
"""

import base64
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from fidoloop.authenticator.errors import AsmError
from fidoloop.authenticator.user_verification import TokenPin
from fidoloop.bridge.errors import BridgeError, ServerRefusedError
from fidoloop.bridge.http import Exchange, Recorder, Server
from fidoloop.bridge.laptop import Dispatched, Laptop
from fidoloop.bridge.phone import Phone, Result
from fidoloop.bridge.profile import Profile
from fidoloop.bridge.scan import scan_image
from fidoloop.hsm.errors import KeyStoreError
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import parse_key_store_uri
from fidoloop.lab import LabServer
from fidoloop.protocol.outofband import DispatchTargetEntry, StatusResponse
from fidoloop.traffic import Party, SentMessage, Traffic, both
from fidoloop.watched_store import WatchedStore

USERNAME = "alice"
TARGET_NAME = "alice's phone"
TRANSACTION = "Pay 100.00 CHF to Bob"
FOLLOW_SECONDS = 60.0

# Seed 000, "Out of Band Concept Flow".
STEPS = (
    "The mobile client registers itself as a dispatch target",
    "The laptop client queries dispatch targets",
    "The laptop client chooses a desired dispatch target",
    "The laptop client requests a dispatch to the chosen dispatch target",
    "The server generates a token",
    "The server encrypts the token",
    "The server dispatches the token to the chosen dispatch target",
    "The mobile client receives the dispatched token",
    "The mobile client decrypts the token",
    "The mobile client redeems the token",
    "The server triggers a FIDO operation based on the token",
    "The mobile client proceeds to complete the FIDO operation",
    "The laptop client monitors the status of the operation",
)
_PHONE_STEPS = {"received": 8, "decrypted": 9, "redeemed": 10, "requested": 11, "answered": 12}


class Step(msgspec.Struct, frozen=True):
    """One of the thirteen steps: how long it took in milliseconds, and what travelled."""

    n: int
    name: str
    ms: float
    detail: str


class Flow(msgspec.Struct, frozen=True):
    """One operation and the status that the server gave it."""

    name: str
    status: str
    detail: str
    ms: float


class Report(msgspec.Struct, frozen=True):
    """What happened. `succeeded` is true only where the server said so of every operation."""

    steps: tuple[Step, ...]
    flows: tuple[Flow, ...]
    exchanges: tuple[Exchange, ...]

    @property
    def succeeded(self) -> bool:
        """Whether all thirteen steps and all operations went through."""
        done = [step.n for step in self.steps] == list(range(1, len(STEPS) + 1))
        return done and all(flow.status == "succeeded" for flow in self.flows)


class Demo:
    """One run over an open key store. `say_step` and `say_flow` are told of everything as it happens."""

    def __init__(
        self,
        store: KeyStore,
        lab: LabServer,
        *,
        keys_uri: str,
        pin: str,
        say_step: Callable[[Step], None],
        say_flow: Callable[[Flow], None],
        say_message: Callable[[SentMessage], None] = lambda _message: None,
    ) -> None:
        """Take a running lab server that knows the token's metadata, and the token's PIN, which the user types."""
        self._traffic = Traffic(say_message)
        store = WatchedStore(store, self._traffic)
        self._store = store
        self._lab = lab
        self._say_step = say_step
        self._say_flow = say_flow
        self._steps: list[Step] = []
        self._flows: list[Flow] = []
        self._exchanges: list[Exchange] = []
        self._counted = False
        self._mark = time.perf_counter()
        self._directory = tempfile.TemporaryDirectory(prefix="fidoloop-demo-")
        profile = Profile(Path(self._directory.name) / "phone" / "demo.sqlite")
        profile.create(keys_uri=parse_key_store_uri(keys_uri).without_pin(), verification="pin", ca=str(lab.ca))
        self._profile = profile
        # A key of this run's own: the token may be a real phone's, whose state bears MACs by the usual one.
        self._mac_key_id = b"fidoloop:demo-mac:" + os.urandom(8)
        self._phone = Phone(
            profile,
            store,
            TokenPin(store, lambda _request, _tries: pin),
            confirm=lambda _token: True,
            observer=self._phone_step,
            recorder=self._recorder(Party.PHONE),
            mac_key_id=self._mac_key_id,
        )
        self._api_key = lab.add_api_key("demo")
        self._connection = self._connect()
        self._laptop = Laptop(self._connection)

    def run(self) -> Report:
        """Run all four operations and return what happened.

        Raises:
            BridgeError, KeyStoreError: an operation did not go through.
        """
        try:
            self._lab.add_user(USERNAME)
            self._register()
            target = self._choose_target()
            self._operation("log-in", target)
            self._counted = False
            self._operation("transaction confirmation", target, transaction=TRANSACTION)
            self._deregister(target)
            return Report(tuple(self._steps), tuple(self._flows), tuple(self._exchanges))
        finally:
            self._leave_nothing()

    def _leave_nothing(self) -> None:
        """Close everything, and delete from the token what a run made there, however it ended."""
        with contextlib.suppress(BridgeError, AsmError, KeyStoreError):
            for account in self._phone.accounts():
                self._phone.remove(account)
        with contextlib.suppress(KeyStoreError):  # none where the token has no HMAC
            self._store.delete(self._mac_key_id)
        self._connection.close()
        self._phone.close()
        self._profile.close()
        self._directory.cleanup()

    def _register(self) -> None:
        code = self._lab.enrol(USERNAME)
        started = self._mark = time.perf_counter()
        result = self._phone.register(code, server=self._lab.url, target_name=TARGET_NAME)
        (aaid, key_id) = result.keys[0]
        self._counted = True
        self._step(1, f"UAF registration {aaid} {key_id[:12]}…, with the target's two public keys in its context")
        self._flow("registration", "succeeded", f"{USERNAME}: {aaid}", started)

    def _choose_target(self) -> DispatchTargetEntry:
        self._mark = time.perf_counter()
        targets = self._laptop.targets(USERNAME)
        self._step(2, f"{len(targets)} dispatch target(s) of {USERNAME}")
        target = next(entry for entry in targets if entry.name == TARGET_NAME)
        self._step(3, f"{target.name}, {target.id}")
        return target

    def _operation(self, name: str, target: DispatchTargetEntry, *, transaction: str | None = None) -> None:
        """Dispatch, let the phone follow the QR code, and watch the status from the laptop meanwhile."""
        started = self._mark = time.perf_counter()
        dispatched = self._laptop.dispatch(
            username=USERNAME, target_id=target.id, dispatcher="png-qr-code", transaction=transaction
        )
        self._server_steps(dispatched)
        seen: list[StatusResponse] = []
        # A daemon: when the phone fails, nobody waits for the watcher's time to run out.
        watcher = threading.Thread(target=self._watch, args=(dispatched.session_id, seen), daemon=True)
        watcher.start()
        text = self._read_qr(dispatched)
        result = self._phone.confirm(text) if transaction else self._phone.scan(text)
        watcher.join()
        final = seen[-1] if seen else self._laptop.status(dispatched.session_id)
        states = " → ".join(dict.fromkeys(status.status for status in seen))
        self._step(13, states)
        self._flow(name, final.status, _keys_of(result), started)
        if final.status != "succeeded":
            raise ServerRefusedError(int(final.uafStatusCode or 0), f"the session ended as {final.status}")

    def _watch(self, session_id: str, seen: list[StatusResponse]) -> None:
        # On a connection of its own, since it may outlive a run that breaks off; that its server then goes is no news.
        with contextlib.suppress(BridgeError), self._connect() as connection:
            Laptop(connection).follow(session_id, timeout=FOLLOW_SECONDS, on_change=seen.append)

    def _connect(self) -> Server:
        return Server(self._lab.url, ca=self._lab.ca, api_key=self._api_key, recorder=self._recorder(Party.LAPTOP))

    def _recorder(self, party: Party) -> Recorder:
        return both(self._exchanges.append, self._traffic.recorder(party))

    def _read_qr(self, dispatched: Dispatched) -> str:
        """Return what the phone's camera reads from the laptop's screen: the PNG, decoded."""
        path = Path(self._directory.name) / "screen.png"
        picture = base64.b64decode(dispatched.response)
        path.write_bytes(picture)
        text = scan_image(path)
        self._traffic.tell(Party.LAPTOP, Party.PHONE, "QR code, read from the screen", len(text))
        return text

    def _deregister(self, target: DispatchTargetEntry) -> None:
        started = time.perf_counter()
        dispatched = self._laptop.dispatch(
            operation="Dereg",
            username=USERNAME,
            target_id=target.id,
            dispatcher="png-qr-code",
            context={"mode": "username"},
        )
        result = self._phone.deregister(self._read_qr(dispatched))
        status = self._laptop.status(dispatched.session_id).status
        for account in self._phone.accounts():
            self._phone.remove(account)
        self._flow("deregistration", status, result.message, started)

    def _server_steps(self, dispatched: Dispatched) -> None:
        """Report what the server did inside the dispatch request, by the durations it gave in Server-Timing."""
        self._step(4, f"context, target and dispatcher; session {dispatched.session_id}")
        spent = dispatched.timings
        self._step(5, "a token, never shown to the laptop's user", spent.get("token"))
        self._step(6, "a JWE to the target's encryption key", spent.get("encrypt"))
        self._step(7, f"{dispatched.dispatcher}: {len(dispatched.response)} characters of PNG", spent.get("dispatch"))

    def _phone_step(self, name: str, detail: str) -> None:
        number = _PHONE_STEPS.get(name)
        if number is not None and self._counted:
            self._step(number, detail)

    def _step(self, number: int, detail: str, ms: float | None = None) -> None:
        """Record a step of the log-in; its time is what passed since the one before, unless measured elsewhere."""
        now = time.perf_counter()
        if ms is None:
            ms = (now - self._mark) * 1000
            self._mark = now
        if self._counted:
            step = Step(number, STEPS[number - 1], round(ms, 2), detail)
            self._steps.append(step)
            self._say_step(step)

    def _flow(self, name: str, status: str, detail: str, started: float) -> None:
        flow = Flow(name, status, detail, round((time.perf_counter() - started) * 1000, 1))
        self._flows.append(flow)
        self._say_flow(flow)


def _keys_of(result: Result) -> str:
    return ", ".join(f"{aaid} {key_id[:12]}…" for aaid, key_id in result.keys)
