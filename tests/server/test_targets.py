"""Dispatch targets: create, query, modify, delete, and with a registration (HTTP contract 3 and 6)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol.jose import sign_compact
from fidoloop.server import admin
from tests.server.harness import JSON, Bench, running, session_id_of
from tests.server.phone import Phone

Check = Callable[[Bench], Awaitable[None]]
JOSE = {"content-type": "application/jose;charset=UTF-8"}


def run(home: Path, check: Check) -> None:
    async def scenario() -> None:
        async with running(home) as bench:
            await check(bench)

    asyncio.run(scenario())


async def make(bench: Bench, phone: Phone, name: str = "my phone", **more: Any) -> str:  # noqa: ANN401
    body = phone.target(name, **({"username": "jeff"} | more))
    answer = await bench.post("/token/dispatch/targets", body, JSON, api=True)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def change(bench: Bench, target_id: str, request_id: str = "r1", /, **members: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "dispatchTargetId": target_id,
        "requestId": request_id,
        "creationTimeInEpochMillis": bench.clock(),
    } | members


async def patch(bench: Bench, target: str, payload: dict[str, Any], key: ec.EllipticCurvePrivateKey) -> int:
    body = sign_compact(json.dumps(payload).encode(), key)
    answer = await bench.client.patch(f"/nevisfido/token/dispatch/targets/{target}", content=body, headers=JOSE)
    return answer.status_code


def test_created_targets_are_found_by_their_user(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = Phone(bench.full)
        first = await make(bench, phone, dispatcher="link", deviceId="d1", target="")
        second = await make(bench, phone, "second")
        url = "/nevisfido/token/dispatch/targets"
        answer = await bench.client.get(url, params={"username": "jeff"}, headers=bench.api)
        assert answer.json() == {
            "dispatchTargets": [
                {"name": "my phone", "id": first, "dispatcher": "link"},
                {"name": "second", "id": second},
            ]
        }
        for query, code in (
            ("", 400),
            ("?username=jeff&username=mia", 400),
            ("?username=jeff" + "&a=b" * 8, 400),
            ("?username=nobody", 403),
            ("?username=mia", 404),
        ):
            assert (await bench.client.get(url + query, headers=bench.api)).status_code == code

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("change_", "code"),
    [
        ({"name": ""}, 400),
        ({"name": 5}, 400),
        ({"signatureKey": {"kty": "oct", "k": "AAAA"}}, 400),
        ({"encryptionKey": "{"}, 400),
        ({"username": "nobody"}, 403),
        ({"dispatcher": "carrier-pigeon"}, 422),
        ({}, 422),  # the name is taken
    ],
)
def test_a_target_that_cannot_be_made_is_refused(tmp_path: Path, change_: dict[str, Any], code: int) -> None:
    async def check(bench: Bench) -> None:
        phone = Phone(bench.full)
        await make(bench, phone)
        before = await bench.state()
        body = phone.target(**({"username": "jeff"} | change_))
        answer = await bench.post("/token/dispatch/targets", body, JSON, api=True)
        assert answer.status_code == code
        assert await bench.state() == before

    run(tmp_path, check)


def test_a_private_key_is_not_taken(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = Phone(bench.full)
        body = phone.target(username="jeff")
        body["signatureKey"] = body["signatureKey"] | {"d": "AAAA"}
        assert (await bench.post("/token/dispatch/targets", body, JSON, api=True)).status_code == 400

    run(tmp_path, check)


def test_a_registration_makes_its_target_or_nothing(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = Phone(bench.full)
        for bad in (phone.target(dispatcher="carrier-pigeon"), phone.target() | {"signatureKey": {}}, {"name": "x"}):
            before = await bench.state()
            request = await bench.uaf_request("Reg", {"username": "jeff"})
            answer = await bench.respond("Reg", phone.register(request), {"dispatchTarget": bad})
            assert answer["statusCode"] == 1498
            assert await bench.state() == before
            assert (await bench.status(session_id_of(request)))["status"] == "failed"
        request = await bench.uaf_request("Reg", {"username": "jeff"})
        answer = await bench.respond("Reg", phone.register(request), {"dispatchTarget": phone.target()})
        description = json.loads(answer["description"])
        (target,) = await admin.list_targets(bench.store)
        assert description == {"message": "OK. Operation completed.", "dispatchTargetId": target.id}
        # The name is taken now.
        before = await bench.state()
        request = await bench.uaf_request("Reg", {"username": "jeff"})
        answer = await bench.respond("Reg", phone.register(request), {"dispatchTarget": phone.target()})
        assert answer["statusCode"] == 1498
        assert await bench.state() == before

    run(tmp_path, check)


def test_a_target_is_modified_by_its_own_key_only_and_once(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone, stranger = Phone(bench.full), Phone(bench.full)
        target = await make(bench, phone)
        other = await make(bench, phone, "second")
        good = change(bench, target, name="renamed", dispatcher="link")
        drift = bench.clock() - 300_001
        refused = [
            (401, target, good, stranger.signature_key),
            (401, target, change(bench, other, name="renamed"), phone.signature_key),
            (401, target, good | {"creationTimeInEpochMillis": drift}, phone.signature_key),
            (400, target, good | {"requestId": "x" * 65}, phone.signature_key),
            (400, target, change(bench, target), phone.signature_key),
            (404, "nothing", good, phone.signature_key),
        ]
        before = await bench.state()
        for code, path, payload, key in refused:
            assert await patch(bench, path, payload, key) == code, payload
        assert await bench.state() == before
        assert await patch(bench, target, good, phone.signature_key) == 204
        assert await patch(bench, target, good, phone.signature_key) == 401  # replay
        names = [(entry.name, entry.dispatcher) for entry in await admin.list_targets(bench.store)]
        assert sorted(names, key=str) == [("renamed", "link"), ("second", None)]
        # A refused change has used its requestId up all the same.
        before = await bench.state()
        for code in (422, 401):
            assert await patch(bench, target, change(bench, target, "r2", name="second"), phone.signature_key) == code
        assert await patch(bench, target, change(bench, target, "r3", dispatcher="x"), phone.signature_key) == 422
        assert await bench.state() == before

    run(tmp_path, check)


@pytest.mark.parametrize("body", [b"", b"a.b", b"\xff", b"eyJhbGciOiJub25lIn0.e30."])
def test_a_modification_that_is_no_jws_is_refused(tmp_path: Path, body: bytes) -> None:
    async def check(bench: Bench) -> None:
        target = await make(bench, Phone(bench.full))
        url = f"/nevisfido/token/dispatch/targets/{target}"
        assert (await bench.client.patch(url, content=body, headers=JOSE)).status_code in (400, 401)
        assert (await bench.client.patch(url, content=body, headers=JSON)).status_code == 415
        answer = await bench.client.post(url, content=body, headers=JOSE)
        assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, PATCH")

    run(tmp_path, check)


def test_a_target_is_deleted_by_a_signature_for_that_request(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = Phone(bench.full)
        target = await make(bench, phone)
        path = f"/nevisfido/token/dispatch/targets/{target}"

        async def delete(payload: dict[str, Any] | None, key: ec.EllipticCurvePrivateKey | None = None) -> int:
            headers = {}
            if payload is not None:
                headers["device-signature"] = sign_compact(json.dumps(payload).encode(), key or phone.signature_key)
            return (await bench.client.delete(path, headers=headers)).status_code

        good = change(bench, target, method="DELETE", path=path)
        before = await bench.state()
        assert await delete(None) == 401
        assert await delete(good, Phone(bench.full).signature_key) == 401
        assert await delete(good | {"method": "PATCH"}) == 401
        assert await delete(good | {"path": f"{path}/"}) == 401
        assert await bench.state() == before
        assert await delete(good) == 204
        assert await delete(good) == 404
        assert (await bench.state())["dispatch_target"] == []

    run(tmp_path, check)
