"""The dispatcher web-push against a push service that answers well, badly, late, or not at all."""

import asyncio
import re
import stat
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fidoloop.protocol import base64url, outofband, vapid, web_push
from fidoloop.server.config import ServerConfig
from fidoloop.server.errors import ConfigError, SettingError
from fidoloop.server.push.addresses import AddressRules
from fidoloop.server.push.vapid_key import ensure_vapid_key
from fidoloop.server.settings.declared import WebPush
from tests.bridge.stub import Asked, Reply, stub
from tests.server.harness import JSON, Bench, running
from tests.server.phone import Phone
from tests.server.subscriber import Subscriber
from tests.server.test_targets import change, make, patch
from tests.server.test_tokens import dispatch

LOOPBACK = ("127.0.0.0/8",)
Check = Callable[[Bench], Awaitable[None]]


def run(home: Path, check: Check, **overrides: Any) -> None:  # noqa: ANN401 - any option
    """Run a check on a server that may push to plain http on the loopback."""
    settings: dict[str, Any] = {"insecure": True, "web_push": WebPush(networks=LOOPBACK)} | overrides

    async def scenario() -> None:
        async with running(home, **settings) as bench:
            await check(bench)

    asyncio.run(scenario())


async def pushed_to(bench: Bench, subscriber: Subscriber, **members: Any) -> tuple[Phone, str]:  # noqa: ANN401
    """Return a registered phone and its dispatch target, which is pushed to."""
    phone = await bench.registered()
    return phone, await make(bench, phone, dispatcher="web-push", target=subscriber.target, **members)


def answering(*replies: Reply) -> Callable[[Asked], Reply]:
    """Answer with each reply once, and with the last one ever after."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


CREATED = Reply(201, {"Location": "/message/1", "Content-Length": "0"})


def test_a_push_message_is_as_its_rfcs_have_it(tmp_path: Path) -> None:
    with stub(answering(CREATED)) as service:
        subscriber = Subscriber(f"{service.url}/push/abc")

        async def check(bench: Bench) -> None:
            phone, target = await pushed_to(bench, subscriber)
            answer = await dispatch(bench, dispatchTargetId=target, dispatchInformation={"data": {"a": "b"}})
            assert answer["dispatchResult"] == "dispatched"
            assert answer["dispatcherInformation"] == {"name": "web-push", "response": f"pushed through {service.url}"}
            (asked,) = service.asked
            assert (asked.method, asked.path) == ("POST", "/push/abc")
            payload = outofband.decode_payload(subscriber.read(asked.body))
            assert payload.nma_data_content_type == "application/jose"
            content = outofband.open_payload(payload, phone.encryption_key)
            assert (content.token, content.members["a"]) == (answer["token"], "b")
            assert asked.headers["content-encoding"] == "aes128gcm"
            assert asked.headers["urgency"] == "high"
            assert asked.headers["ttl"] == "120"
            assert re.fullmatch(r"[A-Za-z0-9_-]{32}", asked.headers["topic"])
            assert answer["sessionId"] not in str(asked.headers)
            key = (await bench.client.get("/nevisfido/web-push/key")).json()["applicationServerKey"]
            claims = vapid.verify_authorization(
                asked.headers["authorization"],
                expected_key=web_push.public_key_of(base64url.decode(key)),
                expected_audience=service.url,
                now=time.time(),
            )
            assert claims.sub == "https://localhost:8443"
            await dispatch(bench, dispatchTargetId=target, dispatcher="web-push")
            assert service.asked[1].headers["topic"] != asked.headers["topic"]

        run(tmp_path, check)


def test_a_token_that_goes_out_again_replaces_its_push(tmp_path: Path) -> None:
    with stub(answering(CREATED)) as service:

        async def check(bench: Bench) -> None:
            _, target = await pushed_to(bench, Subscriber(service.url))
            first = await dispatch(bench, dispatchTargetId=target)
            again = await dispatch(bench, dispatchTargetId=target, sessionId=first["sessionId"])
            assert again["token"] == first["token"]
            assert service.asked[0].headers["topic"] == service.asked[1].headers["topic"]

        run(tmp_path, check)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_success_is_one(tmp_path: Path, status: int) -> None:
    with stub(answering(Reply(status, {"Content-Length": "0"}))) as service:

        async def check(bench: Bench) -> None:
            _, target = await pushed_to(bench, Subscriber(service.url))
            assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatched"

        run(tmp_path, check)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (301, "redirects"),
        (302, "redirects"),
        (307, "redirects"),
        (308, "redirects"),
        (400, "refused the push (400)"),
        (401, "refused the push (401)"),
        (403, "refused the push (403)"),
        (409, "refused the push (409)"),
        (413, "put less into dispatchInformation.data"),
    ],
)
def test_a_refusal_is_not_repeated_and_a_redirect_not_followed(tmp_path: Path, status: int, words: str) -> None:
    with stub(answering(CREATED)) as other:
        reply = Reply(status, {"Location": f"{other.url}/elsewhere", "Content-Length": "0"})
        with stub(answering(reply)) as service:

            async def check(bench: Bench) -> None:
                _, target = await pushed_to(bench, Subscriber(f"{service.url}/secret"))
                answer = await dispatch(bench, dispatchTargetId=target)
                assert answer["dispatchResult"] == "dispatchError"
                response = answer["dispatcherInformation"]["response"]
                assert words in response
                assert "secret" not in response
                assert (len(service.asked), other.asked) == (1, [])
                # The token is there all the same, for another dispatcher.
                link = await dispatch(bench, dispatchTargetId=target, dispatcher="link", sessionId=answer["sessionId"])
                assert (link["dispatchResult"], link["token"]) == ("dispatched", answer["token"])

            run(tmp_path, check)


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_is_gone_expires_its_target_until_the_phone_names_another(
    tmp_path: Path, status: int
) -> None:
    with stub(answering(Reply(status, {"Content-Length": "0"}), CREATED)) as service:

        async def check(bench: Bench) -> None:
            phone, target = await pushed_to(bench, Subscriber(f"{service.url}/old"))
            first = await dispatch(bench, dispatchTargetId=target)
            assert first["dispatchResult"] == "dispatchTargetExpired"
            later = await dispatch(bench, dispatchTargetId=target)
            assert later == {"dispatchResult": "dispatchTargetExpired"}
            assert len(service.asked) == 1
            # What needs no address reaches the phone as before.
            shown = await dispatch(bench, dispatchTargetId=target, dispatcher="link")
            assert shown["dispatchResult"] == "dispatched"
            # Another name is no other address.
            assert await patch(bench, target, change(bench, target, "r1", name="new"), phone.signature_key) == 204
            assert await dispatch(bench, dispatchTargetId=target) == later
            fresh = change(bench, target, "r2", target=Subscriber(f"{service.url}/new").target)
            assert await patch(bench, target, fresh, phone.signature_key) == 204
            assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatched"
            assert service.asked[-1].path == "/new"

        run(tmp_path, check)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(tmp_path: Path, status: int) -> None:
    busy = Reply(status, {"Retry-After": "0", "Content-Length": "0"})
    with stub(answering(busy, Reply(status, {"Content-Length": "0"}), CREATED)) as service:

        async def check(bench: Bench) -> None:
            _, target = await pushed_to(bench, Subscriber(service.url))
            assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatched"
            assert len(service.asked) == 3
            assert len({(asked.body, asked.headers["topic"]) for asked in service.asked}) == 1

        run(tmp_path, check)


def test_a_message_that_an_attempt_before_delivered_is_delivered(tmp_path: Path) -> None:
    lost, known = (Reply(status, {"Content-Length": "0"}) for status in (503, 409))
    with stub(answering(lost, known)) as service:

        async def check(bench: Bench) -> None:
            _, target = await pushed_to(bench, Subscriber(service.url))
            assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatched"
            assert len(service.asked) == 2

        run(tmp_path, check)


def test_nobody_waits_for_a_push_service_that_asks_for_an_hour(tmp_path: Path) -> None:
    with stub(answering(Reply(429, {"Retry-After": "3600", "Content-Length": "0"}))) as service:

        async def check(bench: Bench) -> None:
            _, target = await pushed_to(bench, Subscriber(service.url))
            answer = await dispatch(bench, dispatchTargetId=target)
            assert answer["dispatchResult"] == "dispatchError"
            assert "answers 429" in answer["dispatcherInformation"]["response"]
            assert len(service.asked) == 1
            status = await bench.status(answer["sessionId"])
            assert status["tokenInformation"]["dispatcherInformation"] == answer["dispatcherInformation"]

        run(tmp_path, check)


def test_a_push_service_that_stalls_is_given_up(tmp_path: Path) -> None:
    leave = threading.Event()

    def stall(_: Asked) -> Reply:
        leave.wait()
        return CREATED

    with stub(stall) as service:

        async def check(bench: Bench) -> None:
            _, target = await pushed_to(bench, Subscriber(service.url))
            answer = await dispatch(bench, dispatchTargetId=target)
            assert answer["dispatchResult"] == "dispatchError"
            assert "does not answer" in answer["dispatcherInformation"]["response"]
            assert len(service.asked) >= 1

        try:
            run(tmp_path, check, push_seconds=1)
        finally:
            leave.set()


def test_a_flood_of_an_answer_is_not_read(tmp_path: Path) -> None:
    flood = Reply(201, {"Content-Length": str(1 << 40)}, b"x" * (1 << 20))
    with stub(answering(flood)) as service:

        async def check(bench: Bench) -> None:
            _, target = await pushed_to(bench, Subscriber(service.url))
            assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatched"

        run(tmp_path, check)


@pytest.mark.parametrize("reply", [Reply(201, {"X-Long": "x" * 200_000}), Reply(99)], ids=["header", "status"])
def test_what_is_no_http_is_no_success(tmp_path: Path, reply: Reply) -> None:
    with stub(answering(reply)) as service:

        async def check(bench: Bench) -> None:
            _, target = await pushed_to(bench, Subscriber(service.url))
            assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatchError"

        run(tmp_path, check, push_seconds=1)


def test_a_push_service_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with stub(answering(CREATED)) as service:
        gone = Subscriber(service.url)

    async def check(bench: Bench) -> None:
        _, target = await pushed_to(bench, gone)
        answer = await dispatch(bench, dispatchTargetId=target)
        assert answer["dispatchResult"] == "dispatchError"
        assert answer["dispatcherInformation"]["response"] == f"{gone.endpoint} does not answer: ConnectError"

    run(tmp_path, check, push_seconds=1)


def test_a_payload_that_does_not_fit_is_not_sent(tmp_path: Path) -> None:
    with stub(answering(CREATED)) as service:

        async def check(bench: Bench) -> None:
            _, target = await pushed_to(bench, Subscriber(service.url))
            information = {"data": {"much": "x" * 4000}}
            answer = await dispatch(bench, dispatchTargetId=target, dispatchInformation=information)
            assert answer["dispatchResult"] == "dispatchError"
            assert "a push message takes 3993" in answer["dispatcherInformation"]["response"]
            assert service.asked == []

        run(tmp_path, check)


def test_a_registration_is_not_pushed(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        body = {"getUafRequest": {"op": "Reg", "context": '{"username":"jeff"}'}, "dispatcher": "web-push"}
        answer = await bench.post("/token/dispatch/registration", body, JSON, api=True)
        assert answer.status_code == 400
        assert "no address" in answer.json()["detail"]

    run(tmp_path, check)


def test_without_a_target_nobody_is_pushed_to(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert await dispatch(bench, dispatcher="web-push") == {"dispatchResult": "dispatchTargetNotFound"}
        # A target that has no address, since its default is another dispatcher.
        target = await make(bench, await bench.registered(), dispatcher="link")
        answer = await dispatch(bench, dispatcher="web-push", dispatchTargetId=target)
        assert answer["dispatchResult"] == "dispatchError"

    run(tmp_path, check)


PUBLIC = "https://93.184.216.34/x"
CASES: list[tuple[WebPush, str, int]] = [
    (WebPush(), PUBLIC, 201),
    (WebPush(), "https://push.example/x", 201),
    (WebPush(), "https://[2606:2800:220:1::1]/x", 201),
    (WebPush(), "http://push.example/x", 422),
    (WebPush(), "https://127.0.0.1/x", 422),
    (WebPush(), "https://127.1/x", 422),
    (WebPush(), "https://2130706433/x", 422),
    (WebPush(), "https://0x7f000001/x", 422),
    (WebPush(), "https://localhost/x", 422),
    (WebPush(), "https://LOCALHOST./x", 422),
    (WebPush(), "https://push.localhost/x", 422),
    (WebPush(), "https://10.1.2.3/x", 422),
    (WebPush(), "https://192.168.1.1/x", 422),
    (WebPush(), "https://169.254.169.254/latest/meta-data", 422),
    (WebPush(), "https://100.64.0.1/x", 422),
    (WebPush(), "https://0.0.0.0/x", 422),
    (WebPush(), "https://224.0.0.1/x", 422),
    (WebPush(), "https://[::1]/x", 422),
    (WebPush(), "https://[::ffff:127.0.0.1]/x", 422),
    (WebPush(), "https://[64:ff9b::7f00:1]/x", 422),
    (WebPush(), "https://[2002:7f00:1::]/x", 422),
    (WebPush(), "https://[fe80::1]/x", 422),
    (WebPush(), "https://[fd00::1]/x", 422),
    (WebPush(networks=LOOPBACK), "https://127.0.0.1/x", 201),
    (WebPush(networks=LOOPBACK), "https://localhost/x", 201),
    (WebPush(networks=LOOPBACK), "https://[::ffff:127.0.0.1]/x", 201),
    (WebPush(networks=LOOPBACK), "https://10.1.2.3/x", 422),
    (WebPush(networks=LOOPBACK), "http://127.0.0.1/x", 422),
    (WebPush(hosts=("push.example",)), "https://PUSH.example/x", 201),
    (WebPush(hosts=("push.example",)), "https://a.push.example/x", 422),
    (WebPush(hosts=("*.push.example",)), "https://a.push.example/x", 201),
    (WebPush(hosts=("*.push.example",)), "https://push.example/x", 422),
    (WebPush(hosts=("*.push.example",)), "https://evilpush.example/x", 422),
    (WebPush(hosts=("push.example",)), PUBLIC, 422),
]


@pytest.mark.parametrize(("settings", "endpoint", "code"), CASES)
def test_an_endpoint_that_is_not_allowed_is_refused_at_once(
    tmp_path: Path, settings: WebPush, endpoint: str, code: int
) -> None:
    async def check(bench: Bench) -> None:
        phone = Phone(bench.full)
        body = phone.target(username="jeff", dispatcher="web-push", target=Subscriber(endpoint).target)
        before = await bench.state()
        answer = await bench.post("/token/dispatch/targets", body, JSON, api=True)
        assert answer.status_code == code, answer.text
        if code != 201:
            assert await bench.state() == before
            # Neither by a change: of the address, nor of the dispatcher.
            target = await make(bench, phone, dispatcher="link", target=body["target"])
            for number, members in enumerate(({"dispatcher": "web-push"}, {"dispatcher": "web-push", "target": "{}"})):
                changed = change(bench, target, str(number), **members)
                assert await patch(bench, target, changed, phone.signature_key) == (422, 400)[number]

    run(tmp_path, check, insecure=False, web_push=settings)


def test_a_target_to_push_to_needs_its_address(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = Phone(bench.full)
        for members, code in (({}, 422), ({"target": ""}, 422), ({"target": "{}"}, 400), ({"target": "[["}, 400)):
            body = phone.target(username="jeff", dispatcher="web-push") | members
            assert (await bench.post("/token/dispatch/targets", body, JSON, api=True)).status_code == code
            request = await bench.uaf_request("Reg", {"username": "jeff"})
            context = {"dispatchTarget": phone.target(dispatcher="web-push") | members}
            assert (await bench.respond("Reg", phone.register(request), context))["statusCode"] == 1498

    run(tmp_path, check)


def test_an_endpoint_is_held_against_the_rules_again_when_it_is_pushed_to(tmp_path: Path) -> None:
    with stub(answering(CREATED)) as service:
        targets: list[str] = []

        async def before(bench: Bench) -> None:
            targets.append((await pushed_to(bench, Subscriber(service.url)))[1])

        async def after(bench: Bench) -> None:
            answer = await dispatch(bench, dispatchTargetId=targets[0])
            assert answer["dispatchResult"] == "dispatchError"
            assert "not at a public address" in answer["dispatcherInformation"]["response"]

        database = f"sqlite:///{tmp_path / 'one.sqlite'}"
        run(tmp_path, before, database=database)
        run_again(tmp_path, after, database)
        assert service.asked == []


def run_again(home: Path, check: Check, database: str) -> None:
    """Run a check on a server whose users are there already."""

    async def scenario() -> None:
        async with running(home, database=database, users=(), insecure=True) as bench:
            await check(bench)

    asyncio.run(scenario())


def test_the_vapid_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "tls" / "vapid.key"
    keys: list[bytes] = []

    def start() -> None:
        keys.append(web_push.point_of(ensure_vapid_key(path).public_key()))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    start()
    assert (len(keys), len(set(keys))) == (9, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_server_that_does_not_push_has_no_key(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert (await bench.client.get("/nevisfido/web-push/key")).status_code == 404
        assert not (tmp_path / "tls").exists()
        body = Phone(bench.full).target(username="jeff", dispatcher="web-push", target=Subscriber(PUBLIC).target)
        assert (await bench.post("/token/dispatch/targets", body, JSON, api=True)).status_code == 422

    run(tmp_path, check, dispatchers=("link",))


def test_rules_are_networks() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        AddressRules.of(("localhost",))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (WebPush(networks=("10.0.0.1/8",)), "web_push.networks"),
        (WebPush(networks=("localhost",)), "web_push.networks"),
        (WebPush(ca="/no/such/file"), "web_push.ca"),
        (WebPush(ca=__file__), "web_push.ca"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, settings: WebPush, name: str) -> None:
    with pytest.raises(SettingError) as refused:
        ServerConfig(home=tmp_path, base_url="https://localhost", web_push=settings)
    assert refused.value.name == name


def test_a_key_file_that_holds_no_such_key_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "vapid.key"
    other = ec.generate_private_key(ec.SECP384R1())
    for content in (b"none", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"vapid\.key"):
            ensure_vapid_key(path)
    assert path.read_bytes() == content
