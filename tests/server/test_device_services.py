"""Device services: signed by a target, answered to that target alone (HTTP contract 6)."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import jose, outofband, strictjson
from fidoloop.protocol.jose import sign_compact
from fidoloop.server import admin, sessions
from fidoloop.server.settings.declared import Lifetimes
from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import Count
from tests.server.harness import Bench, running
from tests.server.phone import Phone
from tests.server.test_targets import change, make
from tests.server.test_tokens import dispatch

Check = Callable[[Bench], Awaitable[None]]
DEVICE = "device 1"
_numbers = itertools.count()


def run(home: Path, check: Check, **overrides: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with running(home, **overrides) as bench:
            await check(bench)

    asyncio.run(scenario())


async def ask(
    bench: Bench,
    service: str,
    target: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    device: str = DEVICE,
    **changes: Any,  # noqa: ANN401 - members of what is signed
) -> httpx2.Response:
    path = f"/nevisfido/devices/{service}/{device}"
    order = change(bench, target, f"q{next(_numbers)}", method="GET", path=path) | changes
    headers = {"device-signature": sign_compact(json.dumps(order).encode(), key), "accept": "application/jose"}
    return await bench.client.get(path, headers=headers)


def opened(answer: httpx2.Response, phone: Phone) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jose;charset=UTF-8"
    value = strictjson.loads(jose.decrypt_compact(answer.text, phone.encryption_key))
    assert isinstance(value, dict)
    return value


async def waiting(bench: Bench, target: str, phone: Phone) -> list[str]:
    """Return the tokens that wait for a target, each from its payload as the phone reads it."""
    found = opened(await ask(bench, "operations", target, phone.signature_key), phone)["operations"]
    payloads = [outofband.decode_scanned(json.dumps(each["payload"])) for each in found]
    return [outofband.open_payload(payload, phone.encryption_key).token for payload in payloads]


def test_a_device_learns_of_its_target_and_its_users_keys_only(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone, other = await bench.registered(), await bench.registered("mia")
        target = await make(bench, phone, deviceId=DEVICE, dispatcher="link")
        elsewhere = await make(bench, other, username="mia", deviceId=DEVICE)
        answer = opened(await ask(bench, "credentials", target, phone.signature_key), phone)
        assert answer == {
            "username": "jeff",
            "dispatchTarget": {"name": "my phone", "id": target, "dispatcher": "link"},
            "credentials": [
                {"aaid": bench.full.aaid, "keyID": phone.keys[0].text, "creationTimeInEpochMillis": bench.clock()}
            ],
        }
        theirs = opened(await ask(bench, "credentials", elsewhere, other.signature_key), other)
        assert [entry["keyID"] for entry in theirs["credentials"]] == [other.keys[0].text]

    run(tmp_path, check)


def test_what_was_dispatched_to_a_target_waits_for_it_until_it_is_redeemed(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench) -> None:
        phone, other = await bench.registered(), await bench.registered("mia")
        target = await make(bench, phone, deviceId=DEVICE)
        second = await make(bench, phone, "second", deviceId=DEVICE)
        elsewhere = await make(bench, other, username="mia", deviceId=DEVICE)
        assert await waiting(bench, target, phone) == []
        first = await dispatch(bench, dispatcher="link", dispatchTargetId=target)
        later = await dispatch(bench, dispatcher="png-qr-code", dispatchTargetId=target)
        # One session by two dispatchers waits once.
        again = await dispatch(bench, dispatcher="png-qr-code", dispatchTargetId=target, sessionId=first["sessionId"])
        assert again["token"] == first["token"]
        await dispatch(bench, dispatcher="link", dispatchTargetId=elsewhere)
        await dispatch(bench, dispatcher="link", context={"username": "jeff"})
        assert sorted(await waiting(bench, target, phone)) == sorted((first["token"], later["token"]))
        assert await waiting(bench, second, phone) == []
        request = json.loads((await bench.redeem(later["token"]))["uafRequest"])[0]
        assert await waiting(bench, target, phone) == [first["token"]]
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
        bench.clock.advance(120)
        assert await waiting(bench, target, phone) == []

    run(tmp_path, check, database=database)


def test_an_operation_says_what_it_is_and_until_when(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        target = await make(bench, phone, deviceId=DEVICE)
        context = {"username": "jeff", "mode": "username"}
        await dispatch(bench, "deregistration", dispatcher="link", dispatchTargetId=target, context=context)
        (found,) = opened(await ask(bench, "operations", target, phone.signature_key), phone)["operations"]
        assert found["operation"] == "deregistration"
        assert found["expirationTimeInEpochMillis"] == bench.clock() + 120_000
        assert found["payload"]["nma_data_content_type"] == "application/jose"

    run(tmp_path, check)


def test_what_was_not_dispatched_or_withdrawn_does_not_wait(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        target = await make(bench, phone, deviceId=DEVICE)
        too_much = {"data": {"padding": "x" * 4000}}
        failed = await dispatch(bench, dispatcher="png-qr-code", dispatchTargetId=target, dispatchInformation=too_much)
        assert failed["dispatchResult"] == "dispatchError"
        assert await waiting(bench, target, phone) == []
        await dispatch(bench, dispatcher="link", dispatchTargetId=target)
        assert len(await waiting(bench, target, phone)) == 1
        async with bench.store.transaction() as transaction:
            await sessions.fail_open_sessions(transaction, "jeff", now=bench.clock())
        assert await waiting(bench, target, phone) == []

    run(tmp_path, check)


@pytest.mark.parametrize("service", ["credentials", "operations"])
def test_a_signature_fits_one_request_of_one_target_once(tmp_path: Path, service: str) -> None:
    async def check(bench: Bench) -> None:
        phone, other = await bench.registered(), await bench.registered("mia")
        target = await make(bench, phone, deviceId=DEVICE)
        homeless = await make(bench, phone, "without a device")
        elsewhere = await make(bench, other, username="mia", deviceId=DEVICE)
        path = f"/nevisfido/devices/{service}/{DEVICE}"
        beside = f"/nevisfido/devices/{'operations' if service == 'credentials' else 'credentials'}/{DEVICE}"
        drift = 300_001
        key = phone.signature_key
        for code, target_id, signer, changes in (
            (401, target, other.signature_key, {}),
            (401, elsewhere, key, {}),
            (401, target, key, {"method": "DELETE"}),
            (401, target, key, {"path": f"{path}/"}),
            (401, target, key, {"path": beside}),
            (401, target, key, {"creationTimeInEpochMillis": bench.clock() - drift}),
            (401, target, key, {"creationTimeInEpochMillis": bench.clock() + drift}),
            (400, target, key, {"requestId": ""}),
            (400, target, key, {"method": None}),
            (404, "nothing", key, {}),
            (404, homeless, key, {}),
            (404, target, key, {"device": "device 2", "path": path.replace(DEVICE, "device 2")}),
        ):
            answer = await ask(bench, service, target_id, signer, **changes)
            assert answer.status_code == code, (changes, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
        assert (await bench.client.get(path, headers={"accept": "application/jose"})).status_code == 401
        same = {"requestId": "the same"}
        assert (await ask(bench, service, target, key, **same)).status_code == 200
        assert (await ask(bench, service, target, key, **same)).status_code == 401
        # Another target has request ids of its own.
        assert (await ask(bench, service, elsewhere, other.signature_key, **same)).status_code == 200

    run(tmp_path, check)


def test_a_request_id_is_not_used_up_by_whoever_cannot_sign(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        target = await make(bench, phone, deviceId=DEVICE)
        stranger = Phone(bench.full).signature_key
        assert (await ask(bench, "operations", target, stranger, requestId="guessed")).status_code == 401
        assert (await ask(bench, "operations", target, phone.signature_key, requestId="guessed")).status_code == 200

    run(tmp_path, check)


@pytest.mark.parametrize("header", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "é"])
def test_a_header_that_is_no_signature_is_refused(tmp_path: Path, header: str) -> None:
    async def check(bench: Bench) -> None:
        headers = {b"device-signature": header.encode("latin-1")}
        answer = await bench.client.get(f"/nevisfido/devices/operations/{DEVICE}", headers=list(headers.items()))
        assert answer.status_code == 400

    run(tmp_path, check)


def test_racing_copies_of_one_request_are_answered_once(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        target = await make(bench, phone, deviceId=DEVICE)
        calls = (ask(bench, "operations", target, phone.signature_key, requestId="one") for _ in range(5))
        assert sorted(answer.status_code for answer in await asyncio.gather(*calls)) == [200, 401, 401, 401, 401]

    run(tmp_path, check, database=database)


def test_a_disabled_users_device_is_told_nothing(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        target = await make(bench, phone, deviceId=DEVICE)
        await admin.disable_user(bench.store, "jeff", now=bench.clock())
        assert (await ask(bench, "credentials", target, phone.signature_key)).status_code == 403

    run(tmp_path, check)


def test_asking_keeps_a_target_alive(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        target = await make(bench, phone, deviceId=DEVICE)
        bench.clock.advance(9)
        assert await waiting(bench, target, phone) == []
        bench.clock.advance(9)
        answer = await dispatch(bench, dispatcher="link", dispatchTargetId=target)
        assert answer["dispatchResult"] == "dispatched"

    run(tmp_path, check, lifetimes=Lifetimes(target=10))


def test_more_than_fits_is_said_and_comes_when_there_is_room(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        target = await make(bench, phone, deviceId=DEVICE)
        data = {"data": {"padding": "x" * 4000}}
        sent = [
            await dispatch(bench, dispatcher="link", dispatchTargetId=target, dispatchInformation=data)
            for _ in range(6)
        ]
        answer = opened(await ask(bench, "operations", target, phone.signature_key), phone)
        assert answer["more"] is True
        assert 1 < len(answer["operations"]) < 6
        seen: list[str] = []
        while found := await waiting(bench, target, phone):
            seen += found
            for token in found:
                await bench.redeem(token)
        assert sorted(seen) == sorted(each["token"] for each in sent)

    run(tmp_path, check)


def test_what_was_dispatched_goes_with_its_session(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        target = await make(bench, phone, deviceId=DEVICE)
        await dispatch(bench, dispatcher="link", dispatchTargetId=target)
        kept = Query("SELECT COUNT(*) FROM dispatched_payload", Count)
        await sessions.purge(bench.store, now=bench.clock(), keep_millis=1000)
        assert await bench.store.fetch_one(kept) == Count(1)
        await sessions.purge(bench.store, now=bench.clock() + 1001, keep_millis=1000)
        assert await bench.store.fetch_one(kept) == Count(0)

    run(tmp_path, check, database=database)
