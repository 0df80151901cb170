"""The loop run for its messages: registration, log-in by QR code and by push, payment, deregistration, OAuth."""

import datetime
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.models import token_statements
from fidoloop.authenticator.user_verification import TokenPin
from fidoloop.bridge.http import Server
from fidoloop.bridge.laptop import Laptop
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.bridge.push.listener import PushListener
from fidoloop.bridge.push.queue import PushQueue
from fidoloop.bridge.push.receiver import PushReceiver
from fidoloop.bridge.push.service import PATH, PushService
from fidoloop.demo import USERNAME, Demo, Flow
from fidoloop.demo_oauth import OAuthDemo, OAuthStep, demo_policy
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.lab import PUSH_TO_LOOPBACK, LabServer
from fidoloop.protocol.uaf.registry import UserVerification
from fidoloop.server.tls import ensure_lab_tls
from fidoloop.softhsm import make_softhsm_token
from fidoloop.traffic import Party, SentMessage, Traffic
from fidoloop.watched_store import WatchedStore


class Part(msgspec.Struct, frozen=True):
    """What was sent in one part of a recording; `caption` is empty where it has but one."""

    caption: str
    messages: tuple[SentMessage, ...]


class Recording(msgspec.Struct, frozen=True):
    """One run. Times are milliseconds since it began."""

    title: str
    parts: tuple[Part, ...]


class _Listener:
    """Collects messages, and gives them out from time to time."""

    def __init__(self) -> None:
        self._heard: list[SentMessage] = []

    def hear(self, message: SentMessage) -> None:
        self._heard.append(message)

    def taken(self) -> tuple[SentMessage, ...]:
        heard, self._heard = self._heard, []
        return tuple(heard)


class Token(NamedTuple):
    """The key device that everything runs on."""

    store: KeyStore
    uri: str
    pin: str


@contextmanager
def new_token() -> Iterator[Token]:
    """Give a SoftHSM token of its own: one in a process, since SoftHSM has one directory of tokens."""
    pin = "12345678"
    with tempfile.TemporaryDirectory(prefix="fidoloop-") as directory:
        uri = make_softhsm_token(Path(directory), "fidoloop demo", pin, secrets.token_hex(8))
        with open_key_store(uri, pin=pin) as store:
            yield Token(store, uri, pin)


def record_all(token: Token) -> dict[str, Recording]:
    """Run everything on a token, with a server each, and return the recordings by their names."""
    return {**_uaf(token), "push": _push(token), "oauth": _oauth(token)}


def _uaf(token: Token) -> dict[str, Recording]:
    listener, found = _Listener(), dict[str, Recording]()

    def ended(flow: Flow) -> None:
        name = flow.name.replace(" ", "-")
        found[name] = _recording(flow.name[:1].upper() + flow.name[1:], [Part("", listener.taken())])

    with _running(token) as lab:
        Demo(
            token.store,
            lab,
            keys_uri=token.uri,
            pin=token.pin,
            say_step=lambda _step: None,
            say_flow=ended,
            say_message=listener.hear,
        ).run()
    return found


def _oauth(token: Token) -> Recording:
    listener, parts = _Listener(), list[Part]()

    def ended(step: OAuthStep) -> None:
        messages = listener.taken()
        if messages:
            parts.append(Part(f"{step.n}. {step.name}", messages))
        else:  # said together with the one before, after the messages of both
            before = parts.pop()
            number, _, name = before.caption.partition(". ")
            parts.append(Part(f"{number}, {step.n}. {name}", before.messages))

    with _running(token) as lab:
        OAuthDemo(token.store, lab, keys_uri=token.uri, pin=token.pin, say=ended, say_message=listener.hear).run()
    return _recording("An OAuth client with its keys in hardware", parts)


def _push(token: Token) -> Recording:
    listener = _Listener()
    traffic = Traffic(listener.hear)
    with _running(token) as lab, tempfile.TemporaryDirectory() as directory:
        lab.add_user(USERNAME)
        watched = WatchedStore(token.store, traffic)
        profile = Profile(Path(directory) / "phone" / "demo.sqlite")
        profile.create(keys_uri=token.uri, verification="pin", ca=str(lab.ca))
        mac_key_id = b"fidoloop:demo-mac:" + os.urandom(8)
        verifier = TokenPin(watched, lambda _request, _tries: token.pin)
        with (
            Phone(
                profile,
                watched,
                verifier,
                confirm=lambda _token: True,
                recorder=traffic.recorder(Party.PHONE),
                mac_key_id=mac_key_id,
            ) as phone,
            Server(
                lab.url, ca=lab.ca, api_key=lab.add_api_key("demo"), recorder=traffic.recorder(Party.LAPTOP)
            ) as server,
        ):
            phone.register(lab.enrol(USERNAME), server=lab.url)
            with _pushed_to(phone, lab) as (receiver, queue):
                laptop = Laptop(server)
                (target,) = laptop.targets(USERNAME)
                listener.taken()
                dispatched = laptop.dispatch(username=USERNAME, target_id=target.id)
                message = queue.get()
                assert message is not None
                traffic.tell(Party.SERVER, Party.PHONE, "POST Web Push (RFC 8030), encrypted", len(message.plaintext))
                receiver.follow(message)
                laptop.status(dispatched.session_id)
            heard = listener.taken()
            for account in phone.accounts():
                phone.remove(account)
        token.store.delete(mac_key_id)
        profile.close()
    return _recording("Log-in by push", [Part("", heard)])


@contextmanager
def _pushed_to(phone: Phone, lab: LabServer) -> Iterator[tuple[PushReceiver, PushQueue]]:
    tls = ensure_lab_tls(lab.home / "tls", name="phone")
    receiver, queue = PushReceiver(phone), PushQueue()
    service = PushService(queue)
    with PushListener(service, host="127.0.0.1", port=0, tls=(tls.certificate, tls.key)) as listener:
        base = f"https://localhost:{listener.port}"
        (account,) = phone.accounts()
        subscription = receiver.subscribe(account, lambda one: f"{base}{PATH}{one.path}")
        service.watch([subscription], audience=base)
        yield receiver, queue


@contextmanager
def _running(token: Token) -> Iterator[LabServer]:
    """Give a running server that knows the token's metadata, lets its apps in, and may push to this machine."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-") as directory:
        lab = LabServer(Path(directory))
        attest_init(token.store, now=datetime.datetime.now(datetime.UTC))
        lab.add_metadata(token_statements(token.store, UserVerification.PASSCODE))
        (lab.home / "fidoloop.toml").write_text(PUSH_TO_LOOPBACK, encoding="utf-8")
        lab.write_device_policy(demo_policy())
        with lab:
            yield lab


def _recording(title: str, parts: list[Part]) -> Recording:
    """Return the parts, their messages in the order in which these were sent, timed from the first one."""
    began = min(message.at for part in parts for message in part.messages)
    timed = [
        Part(
            part.caption,
            tuple(
                msgspec.structs.replace(message, at=round(message.at - began, 1), took=round(message.took, 1))
                for message in sorted(part.messages, key=lambda message: message.at)
            ),
        )
        for part in parts
    ]
    return Recording(title, tuple(timed))
