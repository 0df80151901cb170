"""Log-ins that are pushed: a real server, a phone's own push service with TLS of the lab CA, keys in SoftHSM."""

import base64
import json
import os
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.bridge.errors import (
    CannotDecryptError,
    MalformedPayloadError,
    ServerRefusedError,
    UserDeclinedError,
)
from fidoloop.bridge.inbox import DispatchedToken
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Account
from fidoloop.bridge.push.listener import PushListener
from fidoloop.bridge.push.queue import PushMessage, PushQueue
from fidoloop.bridge.push.receiver import PushReceiver, PushReplayedError
from fidoloop.bridge.push.service import PATH, PushService
from fidoloop.bridge.push.subscriptions import PushSubscription
from fidoloop.cli.exits import Exit
from fidoloop.protocol import outofband, strictjson, vapid, web_push
from fidoloop.protocol.jose import PublicJwk, public_jwk
from fidoloop.protocol.web_push import Subscription
from fidoloop.server.tls import ensure_lab_tls
from tests.cli.command import COMMAND, environment
from tests.lab import SOFTHSM_PIN, Lab


@dataclass
class Listening:
    """A phone that is pushed to for one account."""

    phone: Phone
    account: Account
    receiver: PushReceiver
    queue: PushQueue
    subscription: PushSubscription
    origin: str
    ca: Path

    def next(self) -> PushMessage:
        message = self.queue.get()
        assert message is not None
        return message

    def post(self, payload: bytes, key: ec.EllipticCurvePrivateKey) -> int:
        """Push as whoever holds `key` would, and return the status."""
        to = Subscription(self.origin, self.subscription.key.public_key(), self.subscription.auth)
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        body = web_push.encrypt(payload, to, ephemeral_key=ephemeral, salt=os.urandom(16))
        headers = {
            "TTL": "60",
            "Content-Encoding": "aes128gcm",
            "Authorization": vapid.authorization(key, vapid.Claims(self.origin, 2_000_000_000)),
        }
        url = f"{self.origin}{PATH}{self.subscription.path}"
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - https
        try:
            with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=self.ca)) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@contextmanager
def listening(lab: Lab, phone: Phone) -> Iterator[Listening]:
    """Have a phone listen with a certificate of the lab CA, and tell its server."""
    (account,) = phone.accounts()
    lab_tls = ensure_lab_tls(lab.server.home / "tls", name="phone")
    receiver, queue = PushReceiver(phone), PushQueue()
    service = PushService(queue)
    with PushListener(service, host="127.0.0.1", port=0, tls=(lab_tls.certificate, lab_tls.key)) as listener:
        origin = f"https://localhost:{listener.port}"
        subscription = receiver.subscribe(account, lambda one: f"{origin}{PATH}{one.path}")
        service.watch([subscription], audience=origin)
        yield Listening(phone, account, receiver, queue, subscription, origin, lab_tls.ca)


def test_a_log_in_is_pushed_by_the_targets_default_dispatcher(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    phone, username = enrolled_phone
    laptop = fidoloop_lab.laptop
    with listening(fidoloop_lab, phone) as there:
        (target,) = laptop.targets(username)
        assert target.dispatcher == "web-push"
        dispatched = laptop.dispatch(username=username, target_id=target.id)
        assert (dispatched.dispatcher, dispatched.response) == ("web-push", f"pushed through {there.origin}")
        result = there.receiver.follow(there.next())
        assert (result.operation, result.username, result.status) == ("authentication", username, 1200)
        final = laptop.status(dispatched.session_id)
        assert (final.status, final.userId) == ("succeeded", username)


def test_a_deregistration_is_pushed_too(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    phone, username = enrolled_phone
    with listening(fidoloop_lab, phone) as there:
        (target,) = fidoloop_lab.laptop.targets(username)
        fidoloop_lab.laptop.dispatch(
            operation="Dereg", username=username, target_id=target.id, context={"mode": "username"}
        )
        assert len(there.receiver.follow(there.next()).keys) == 1


def test_a_message_is_followed_once_even_by_a_phone_that_was_started_anew(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    phone, username = enrolled_phone
    laptop = fidoloop_lab.laptop
    with listening(fidoloop_lab, phone) as there:
        (target,) = laptop.targets(username)
        laptop.dispatch(username=username, target_id=target.id)
        message = there.next()
        there.receiver.follow(message)
        with pytest.raises(PushReplayedError):
            there.receiver.follow(message)
    profile = phone._profile
    phone.close()
    with listening(fidoloop_lab, fidoloop_lab.phone(profile=profile)) as again:
        assert again.subscription.path == there.subscription.path
        with pytest.raises(PushReplayedError):
            again.receiver.follow(message)


def test_a_phone_that_listens_elsewhere_later_is_found_there(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    phone, username = enrolled_phone
    laptop = fidoloop_lab.laptop
    with listening(fidoloop_lab, phone) as first:
        (target,) = laptop.targets(username)
    # Nobody is there any more: that is said, and the same token goes out as a QR code.
    with pytest.raises(ServerRefusedError, match="does not answer"):
        laptop.dispatch(username=username, target_id=target.id)
    with listening(fidoloop_lab, phone) as second:
        assert second.origin != first.origin
        laptop.dispatch(username=username, target_id=target.id)
        assert second.receiver.follow(second.next()).status == 1200


def test_a_listener_that_nobody_vouches_for_is_not_pushed_to(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str], tmp_path: Path
) -> None:
    phone, username = enrolled_phone
    other = ensure_lab_tls(tmp_path)
    laptop = fidoloop_lab.laptop
    (account,) = phone.accounts()
    queue, refusals = PushQueue(), SimpleQueue[str]()
    service = PushService(queue, refused=refusals.put)
    with PushListener(service, host="127.0.0.1", port=0, tls=(other.certificate, other.key)) as listener:
        PushReceiver(phone).subscribe(account, lambda one: f"https://localhost:{listener.port}{PATH}{one.path}")
        with pytest.raises(ServerRefusedError, match="does not answer: ConnectError"):
            laptop.dispatch(username=username, target_id=laptop.targets(username)[0].id)
    queue.close()
    assert queue.get() is None
    assert refusals.empty()


def test_nobody_but_the_server_pushes(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    phone, username = enrolled_phone
    laptop = fidoloop_lab.laptop
    with listening(fidoloop_lab, phone) as there:
        link = laptop.dispatch(username=username, dispatcher="link").response
        payload = outofband.decode_scanned(link)
        stranger = ec.generate_private_key(ec.SECP256R1())
        assert there.post(json.dumps({"nma_data": payload.nma_data}).encode(), stranger) == 403
        there.queue.close()
        assert there.queue.get() is None


def message_of(there: Listening, payload: str | bytes) -> PushMessage:
    content = payload.encode() if isinstance(payload, str) else payload
    return PushMessage(there.subscription.path, content, "", 60, secrets.token_bytes(32), 2_000_000_000)


def encryption_key(phone: Phone, account: Account) -> PublicJwk:
    assert account.encryption_key_id is not None
    public = phone._store.key(account.encryption_key_id).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return public_jwk(public)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"\xff\xfe", MalformedPayloadError),
        (b"", MalformedPayloadError),
        (b"{}", MalformedPayloadError),
        (b"[" * 3000, MalformedPayloadError),
        ("plain", MalformedPayloadError),
        ("stranger", CannotDecryptError),
        ("registration", MalformedPayloadError),
    ],
    ids=["bytes", "empty", "object", "deep", "plain", "stranger", "registration"],
)
def test_what_is_pushed_and_no_token_for_the_account_redeems_nothing(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str], payload: bytes | str, error: type[Exception]
) -> None:
    phone, username = enrolled_phone
    laptop = fidoloop_lab.laptop
    with listening(fidoloop_lab, phone) as there:
        dispatched = laptop.dispatch(username=username, dispatcher="link")
        plain = outofband.decode_scanned(dispatched.response)
        assert isinstance(plain.nma_data, dict)
        data = dict(plain.nma_data)
        if payload == "plain":
            payload = outofband.encode_payload(data, None)
        elif payload == "stranger":
            key = ec.generate_private_key(ec.SECP256R1())
            payload = outofband.encode_payload(data, public_jwk(key.public_key()))
        elif payload == "registration":
            data["redeem_url"] = data["redeem_url"].replace("authentication", "registration")
            payload = outofband.encode_payload(data, encryption_key(phone, there.account))
        with pytest.raises(error):
            there.receiver.follow(message_of(there, payload))
        assert laptop.status(dispatched.session_id).status == "tokenCreated"


def test_what_is_pushed_to_one_account_logs_in_no_other(fidoloop_lab: Lab) -> None:
    phone, first = fidoloop_lab.enrolled()
    second = fidoloop_lab.new_user()
    laptop = fidoloop_lab.laptop
    phone.register(fidoloop_lab.server.enrol(second), target_name="second")
    accounts = {account.username: account for account in phone.accounts()}
    receiver = PushReceiver(phone)
    subscription = receiver.subscribe(accounts[first], lambda one: f"https://localhost:9{PATH}{one.path}")
    (target,) = laptop.targets(second)
    dispatched = laptop.dispatch(username=second, target_id=target.id, dispatcher="link")
    payload = outofband.decode_scanned(dispatched.response)
    text = strictjson.encode(payload)
    message = PushMessage(subscription.path, text.encode(), "", 60, b"digest", 2_000_000_000)
    with pytest.raises(MalformedPayloadError, match="the account it was pushed to"):
        receiver.follow(message)
    assert laptop.status(dispatched.session_id).status == "tokenCreated"


def test_the_user_is_asked_and_may_say_no(fidoloop_lab: Lab) -> None:
    phone, username = fidoloop_lab.enrolled()
    profile = phone._profile
    phone.close()
    asked: list[DispatchedToken] = []

    def decline(token: DispatchedToken) -> bool:
        asked.append(token)
        return False

    with listening(fidoloop_lab, fidoloop_lab.phone(profile=profile, confirm=decline)) as there:
        dispatched = fidoloop_lab.laptop.dispatch(
            username=username, target_id=fidoloop_lab.laptop.targets(username)[0].id
        )
        with pytest.raises(UserDeclinedError):
            there.receiver.follow(there.next())
        assert fidoloop_lab.laptop.status(dispatched.session_id).status == "failed"
        assert [token.account.username for token in asked if token.account] == [username]


Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Started]:
    """Start a command whose standard output is read line by line; it is ended where the test does not."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(FIDOLOOP_PIN=SOFTHSM_PIN),
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@dataclass
class Enrolled:
    """A phone of the command line whose home is the server's: they have one lab CA."""

    lab: Lab
    name: str
    username: str

    def listen(self, start: Started, *more: str) -> "subprocess.Popen[str]":
        options = ("--home", str(self.lab.server.home), "--name", self.name, "--yes", "--json")
        return start("phone", "listen", *options, *more)

    def dispatch(self) -> str:
        (target,) = self.lab.laptop.targets(self.username)
        return self.lab.laptop.dispatch(username=self.username, target_id=target.id).session_id


@pytest.fixture
def enrolled(fidoloop_lab: Lab, fidoloop_token: str, start: Started) -> Enrolled:
    username = fidoloop_lab.new_user()
    server = fidoloop_lab.server
    where = ("--home", str(server.home), "--name", username, "--yes", "--ca", str(server.ca), "--server", server.url)
    process = start("phone", "register", server.enrol(username), "--keys", fidoloop_token, *where)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return Enrolled(fidoloop_lab, username, username)


def line(process: "subprocess.Popen[str]") -> dict[str, object]:
    assert process.stdout is not None
    text = process.stdout.readline()
    assert text, process.communicate()[1]
    return dict(json.loads(text))


def test_the_command_listens_until_it_is_stopped(enrolled: Enrolled, start: Started) -> None:
    process = enrolled.listen(start)
    assert line(process)["accounts"] == [{"server": enrolled.lab.server.url, "username": enrolled.username}]
    for _ in range(2):
        session = enrolled.dispatch()
        assert line(process)["statusCode"] == 1200
        assert enrolled.lab.laptop.status(session).status == "succeeded"
    process.terminate()
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (Exit.OK, "")
    assert "not listening any more" in errors


def test_a_phone_is_registered_and_pushed_to_in_one_go(fidoloop_lab: Lab, fidoloop_token: str, start: Started) -> None:
    username, server = fidoloop_lab.new_user(), fidoloop_lab.server
    where = ("--home", str(server.home), "--name", username, "--ca", str(server.ca), "--server", server.url)
    new = ("--keys", fidoloop_token, "--yes", "--push", "--json", "--target-name", f"{username}'s phone")
    process = start("phone", "register", server.enrol(username), *where, *new)
    assert line(process)["statusCode"] == 1200
    assert line(process)["accounts"] == [{"server": server.url, "username": username}]
    session = Enrolled(fidoloop_lab, username, username).dispatch()
    assert line(process)["statusCode"] == 1200
    assert fidoloop_lab.laptop.status(session).status == "succeeded"
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == Exit.OK


def test_once_ends_with_its_outcome(enrolled: Enrolled, start: Started) -> None:
    process = enrolled.listen(start, "--once", "--deny")
    line(process)
    enrolled.dispatch()
    process.communicate(timeout=60)
    assert process.returncode == Exit.USER


def test_what_was_missed_is_carried_out_before_anything_is_pushed(enrolled: Enrolled, start: Started) -> None:
    """A push that got lost, or came while the phone was off: the server has kept it for the dispatch target."""
    (target,) = enrolled.lab.laptop.targets(enrolled.username)
    missed = enrolled.lab.laptop.dispatch(username=enrolled.username, target_id=target.id, dispatcher="link")
    process = enrolled.listen(start, "--once")
    out, errors = process.communicate(timeout=60)
    assert process.returncode == Exit.OK, errors
    assert '"statusCode": 1200' in out
    assert enrolled.lab.laptop.status(missed.session_id).status == "succeeded"


def test_a_distributors_messages_come_by_standard_input(
    enrolled: Enrolled, start: Started, fidoloop_lab: Lab, tmp_path: Path
) -> None:
    """Somebody else's push service, here another process's listener, hands on what it was posted."""
    lab_tls = ensure_lab_tls(fidoloop_lab.server.home / "tls", name="phone")
    posted: SimpleQueue[bytes] = SimpleQueue()

    async def distributor(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        message = await receive()
        assert not message["more_body"]
        posted.put(message["body"])
        await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    tls = (lab_tls.certificate, lab_tls.key)
    with PushListener(distributor, host="127.0.0.1", port=0, tls=tls) as listener:  # type: ignore[arg-type]
        endpoint = f"https://localhost:{listener.port}/up?token=x"
        process = enrolled.listen(start, "--endpoint", endpoint)
        assert line(process)["listening"] == endpoint
        assert process.stdin is not None
        for number in range(2):
            session = enrolled.dispatch()
            body = posted.get()
            good = (base64.b64encode if number else base64.urlsafe_b64encode)(body).decode().rstrip("=")
            process.stdin.write(f"\nnonsense!\n{'A' * 300}\n{'A' * 20000}\n{good}\n{good}\n")
            process.stdin.flush()
            assert line(process)["statusCode"] == 1200
            assert fidoloop_lab.laptop.status(session).status == "succeeded"
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (Exit.OK, "")
    assert errors.count("push refused") >= 6
    assert errors.count("has come before") == 2


@pytest.mark.parametrize(
    "options",
    [
        ("--public-url", "https://["),
        ("--public-url", "push.example"),
        ("--public-url", "ftp://push.example"),
        ("--tls-cert", __file__),
        ("--tls-key", __file__),
        ("--insecure", "--host", "192.0.2.1"),
        ("--port", "65536"),
    ],
    ids=range(7),
)
def test_options_that_cannot_be_are_refused_before_anything_is_told(
    enrolled: Enrolled, start: Started, options: tuple[str, ...]
) -> None:
    process = enrolled.listen(start, *options)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (Exit.USAGE, ""), errors
    (target,) = enrolled.lab.laptop.targets(enrolled.username)
    assert not target.dispatcher


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--endpoint", "http://127.0.0.1:9/up"), "not https"),
        (("--endpoint", "https://10.0.0.1/up"), "not at a public address"),
        (("--public-url", "https://push.example@evil.example"), "a URL with credentials"),
        (("--insecure",), "not https"),
    ],
    ids=["http", "private", "credentials", "insecure"],
)
def test_an_endpoint_that_the_server_does_not_take_ends_the_command(
    enrolled: Enrolled, start: Started, options: tuple[str, ...], words: str
) -> None:
    process = enrolled.listen(start, *options)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == Exit.REFUSED, errors
    assert words in out + errors
    (target,) = enrolled.lab.laptop.targets(enrolled.username)
    assert not target.dispatcher
