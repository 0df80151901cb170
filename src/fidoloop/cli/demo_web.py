"""`fidoloop demo --web`: the pages in a browser, and this terminal as the phone."""

import contextlib
import datetime
import os
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.markup import escape

from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.errors import AsmError
from fidoloop.authenticator.models import token_statements
from fidoloop.authenticator.user_verification import Prompt
from fidoloop.bridge.errors import BridgeError
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.bridge.push.listener import PushListener
from fidoloop.bridge.push.queue import PushMessage, PushQueue
from fidoloop.bridge.push.receiver import PushReceiver
from fidoloop.bridge.push.service import PATH, PushService
from fidoloop.cli.common import Verification, note, print_hanging
from fidoloop.cli.phone_session import at_terminal, print_result, read_token
from fidoloop.demo import TARGET_NAME, USERNAME
from fidoloop.hsm.errors import KeyStoreError
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import parse_key_store_uri
from fidoloop.lab import PUSH_TO_LOOPBACK, LabServer
from fidoloop.server.settings.layers import FILE_NAME
from fidoloop.server.tls import ensure_lab_tls

_INTRODUCTION = (
    f"Give the page the user name {USERNAME}: you are asked here. Or have the page's code scanned: paste the link"
    " beside it, or type screen: or the name of a picture. Ctrl-C ends the demonstration."
)


def run_web_demo(store: KeyStore, directory: Path, uri: str, console: Console) -> None:
    """Run a lab server and a phone of the user alice, who is the person at this terminal, until interrupted.

    Raises:
        BridgeError, KeyStoreError: the phone cannot be enrolled.
    """
    lab = LabServer(directory / "home")
    lab.home.mkdir(parents=True)
    (lab.home / FILE_NAME).write_text(PUSH_TO_LOOPBACK, encoding="utf-8")
    attest_init(store, now=datetime.datetime.now(datetime.UTC))
    lab.add_metadata(token_statements(store, Verification.PROMPT.method))
    lab.add_user(USERNAME)
    with lab, _enrolled(store, lab, directory, uri) as phone, _listening(phone, lab) as (receiver, queue):
        label = escape(store.info().label.strip())
        print_hanging(console, "page   ", f"{lab.url}/")
        print_hanging(console, "       ", f"(its certificate is of the lab CA {escape(str(lab.ca))})")
        print_hanging(console, "phone  ", f"this terminal, of the user {USERNAME}; its keys in {label}")
        console.print()
        print_hanging(console, "", _INTRODUCTION)
        console.print()
        with contextlib.suppress(KeyboardInterrupt):
            _be_the_phone(phone, receiver, queue)


@contextlib.contextmanager
def _enrolled(store: KeyStore, lab: LabServer, directory: Path, uri: str) -> Iterator[Phone]:
    """Give a phone that is enrolled already; nothing of it is left in the token."""
    # A key of this run's own: the token may be a real phone's, whose state bears MACs by the usual one.
    mac_key_id = b"fidoloop:demo-mac:" + os.urandom(8)
    profile = Profile(directory / "phone" / "demo.sqlite")
    keys_uri = parse_key_store_uri(uri).without_pin()
    profile.create(keys_uri=keys_uri, verification=Verification.PROMPT.value, ca=str(lab.ca))
    enrolling = Prompt(lambda _: True)
    try:
        with Phone(profile, store, enrolling, confirm=lambda _: True, mac_key_id=mac_key_id) as phone:
            phone.register(lab.enrol(USERNAME), server=lab.url, target_name=TARGET_NAME)
        with at_terminal(profile, store, mac_key_id=mac_key_id) as phone:
            try:
                yield phone
            finally:
                with contextlib.suppress(BridgeError, AsmError, KeyStoreError):
                    for account in phone.accounts():
                        phone.remove(account)
    finally:
        with contextlib.suppress(KeyStoreError):  # none where the token has no HMAC
            store.delete(mac_key_id)
        profile.close()


@contextlib.contextmanager
def _listening(phone: Phone, lab: LabServer) -> Iterator[tuple[PushReceiver, PushQueue]]:
    """Have the phone be pushed to, with a certificate of the lab CA."""
    tls = ensure_lab_tls(lab.home / "tls", name="phone")
    receiver, queue = PushReceiver(phone), PushQueue()
    service = PushService(queue, refused=note)
    with PushListener(service, host="127.0.0.1", port=0, tls=(tls.certificate, tls.key)) as listener:
        base = f"https://localhost:{listener.port}"
        (account,) = phone.accounts()
        subscription = receiver.subscribe(account, lambda one: f"{base}{PATH}{one.path}")
        service.watch([subscription], audience=base)
        try:
            yield receiver, queue
        finally:
            queue.close()


def _be_the_phone(phone: Phone, receiver: PushReceiver, queue: PushQueue) -> None:
    """Carry out what is pushed and what is typed, one at a time, until there is no more."""
    for given in _given(queue):
        try:
            result = receiver.follow(given) if isinstance(given, PushMessage) else phone.scan(read_token(given))
            print_result(result, as_json=False)
        except (BridgeError, KeyStoreError, AsmError) as error:
            note(f"not followed: {error}")


def _given(queue: PushQueue) -> Iterator[PushMessage | str]:
    """Give pushes and typed lines as they come; the terminal is read only while nobody is asked anything there."""
    pushed: SimpleQueue[PushMessage] = SimpleQueue()
    waking, wake = os.pipe()

    def forward() -> None:
        while (message := queue.get()) is not None:
            pushed.put(message)
            with contextlib.suppress(OSError):  # nobody waits any more
                os.write(wake, b"!")
        os.close(wake)

    threading.Thread(target=forward, daemon=True).start()
    try:
        while True:
            ready, _, _ = select.select([waking, sys.stdin], [], [])
            if waking in ready and os.read(waking, 1):
                yield pushed.get()
            elif sys.stdin in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                if line.strip():
                    yield line.strip()
    finally:
        os.close(waking)
