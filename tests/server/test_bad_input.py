"""Bad input: every row of HTTP contract 11a, through HTTP, and what it must leave alone."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import base64url
from fidoloop.server import admin
from fidoloop.server.http.body import MAX_BODY_BYTES
from tests.server.harness import JSON, REDEEM, UAF, Bench, running, session_id_of, write_metadata
from tests.server.phone import SURROGATE_AAID, Phone, Twist, full_model, twisted

Check = Callable[[Bench], Awaitable[None]]


def run(home: Path, check: Check) -> None:
    async def scenario() -> None:
        async with running(home) as bench:
            await check(bench)

    asyncio.run(scenario())


OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
STRAY = bytes.fromhex("0b2e0900") + b"F1D0#0001"  # AAID beside the signed data

TWISTS: dict[str, tuple[Twist, int]] = {
    "facet": (twisted(facet="android:apk-key-hash:AAAAAAAAAAAAAAAAAAAAAAAAAAA"), 1498),
    "appID in fcParams": (twisted(app_id="https://evil.example/facets"), 1498),
    "appID in header": (twisted(header_app_id="https://evil.example/facets"), 1498),
    "FCHash": (twisted(fc_hash=bytes(32)), 1498),
    "fcParams that are no JSON": (twisted(after_fc_params="AAAA"), 1498),
    "truncated TLV": (twisted(cut=3), 1498),
    "bytes after the TLV": (twisted(tail=b"\x00"), 1498),
    "signature by another key": (twisted(signer=OTHER_KEY), 1498),
    "challenge": (twisted(challenge=base64url.encode(bytes(64))), 1491),
    "version": (twisted(version=(1, 0)), 1491),
    "op in header": (twisted(op="Dereg"), 1498),
    "AAID without metadata": (twisted(aaid="ABCD#1234"), 1480),
}
AUTHENTICATION_TWISTS = TWISTS | {
    "counter going back": (twisted(counter=1), 1498),
    "transaction mode without transaction": (twisted(mode=2, tc_hash=bytes(32)), 1498),
    "no verification": (twisted(mode=0), 1498),
    "TCHash without transaction": (twisted(tc_hash=bytes(32)), 1498),
    "unsigned tag beside the signed ones": (twisted(beside=STRAY), 1498),
    "unknown KeyID": (twisted(key_id=bytes(32)), 1481),
    "algorithm": (twisted(algorithm=2), 1495),
}
REGISTRATION_TWISTS = TWISTS | {
    "KeyID too short": (twisted(key_id=bytes(31)), 1498),
}


@pytest.mark.parametrize("name", AUTHENTICATION_TWISTS)
def test_a_wrong_authentication_is_refused_and_changes_nothing(tmp_path: Path, name: str) -> None:
    twist, code = AUTHENTICATION_TWISTS[name]

    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        first = await bench.respond("Auth", phone.authenticate(await bench.uaf_request("Auth", {}, api=False)))
        assert first["statusCode"] == 1200
        before = await bench.state()
        request = await bench.uaf_request("Auth", {}, api=False)
        answer = await bench.respond("Auth", phone.authenticate(request, twist))
        assert answer["statusCode"] == code, answer
        assert await bench.state() == before
        status = await bench.status(session_id_of(request))
        assert (status["status"], status["uafStatusCode"]) == ("failed", code)
        # The challenge is spent: an honest answer comes too late.
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1491

    run(tmp_path, check)


@pytest.mark.parametrize("name", REGISTRATION_TWISTS)
def test_a_wrong_registration_is_refused_and_stores_nothing(tmp_path: Path, name: str) -> None:
    twist, code = REGISTRATION_TWISTS[name]

    async def check(bench: Bench) -> None:
        phone = Phone(bench.full)
        request = await bench.uaf_request("Reg", {"username": "jeff"})
        before = await bench.state()
        answer = await bench.respond("Reg", phone.register(request, twist), {"dispatchTarget": phone.target()})
        assert answer["statusCode"] == code, answer
        assert await bench.state() == before
        assert (await bench.status(session_id_of(request)))["uafStatusCode"] == code

    run(tmp_path, check)


def test_serverdata_that_names_no_open_request_changes_nothing(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        before = await bench.state()
        unknown = await bench.uaf_request("Auth", {}, api=False)
        forged = phone.authenticate(unknown, twisted(server_data=base64url.encode(bytes(64))))
        assert (await bench.respond("Auth", forged))["statusCode"] == 1491
        assert (await bench.status(session_id_of(unknown)))["status"] == "clientAuthenticating"
        # Of the other operation.
        assert (await bench.respond("Reg", phone.authenticate(unknown)))["statusCode"] == 1491
        # Expired, to the millisecond.
        bench.clock.advance(120)
        assert (await bench.respond("Auth", phone.authenticate(unknown)))["statusCode"] == 1491
        status = await bench.status(session_id_of(unknown))
        assert (status["status"], status["uafStatusCode"]) == ("failed", 1408)
        assert await bench.state() == before

    run(tmp_path, check)


def test_a_used_challenge_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        request = await bench.uaf_request("Auth", {}, api=False)
        response = phone.authenticate(request)
        assert (await bench.respond("Auth", response))["statusCode"] == 1200
        before = await bench.state()
        assert (await bench.respond("Auth", response))["statusCode"] == 1491
        assert await bench.state() == before
        assert (await bench.status(session_id_of(request)))["status"] == "succeeded"

    run(tmp_path, check)


def test_another_users_assertion_does_not_answer_a_step_up(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await bench.registered("jeff")
        hers = await bench.registered("mia")
        before = await bench.state()
        request = await bench.uaf_request("Auth", {"username": "jeff"})
        assert (await bench.respond("Auth", hers.authenticate(request)))["statusCode"] == 1498
        assert await bench.state() == before

    run(tmp_path, check)


def test_a_changed_transaction_text_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        before = await bench.state()
        content = base64url.encode(b"Pay 10 to Ann")
        context = {"username": "jeff", "transaction": [{"contentType": "text/plain", "content": content}]}
        request = await bench.uaf_request("Auth", context)
        request["transaction"][0]["content"] = base64url.encode(b"Pay 99 to Ann")
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1498
        # A plain log-in does not confirm a transaction either.
        request = await bench.uaf_request("Auth", context)
        assert (await bench.respond("Auth", phone.authenticate(request, twisted(mode=1, tc_hash=b""))))[
            "statusCode"
        ] == 1498
        assert await bench.state() == before

    run(tmp_path, check)


def test_metadata_decides_over_models(tmp_path: Path) -> None:
    """1492 policy, 1493 revoked status, 1496 attestation by a foreign root or of another type."""

    async def refused(bench: Bench, phone: Phone, policy: str | None = None) -> int:
        bench.clock.advance(2)
        context = {"username": "jeff"} | ({"policy": policy} if policy else {})
        before = await bench.state()
        answer = await bench.respond("Reg", phone.register(await bench.uaf_request("Reg", context)))
        assert await bench.state() == before
        return int(answer["statusCode"])

    async def check(bench: Bench) -> None:
        assert await refused(bench, Phone(bench.full), "biometrics_only") == 1492
        assert await refused(bench, Phone(full_model())) == 1496
        surrogate = Phone(bench.surrogate)
        surrogate.model = type(bench.surrogate)(bench.full.aaid, None, None, None, None)
        assert await refused(bench, surrogate) == 1496
        file = tmp_path / "metadata" / "F1D0-0001.json"
        entry = {"metadataStatement": bench.full.metadata(), "statusReports": [{"status": "REVOKED"}]}
        file.write_text(json.dumps(entry))
        assert await refused(bench, Phone(bench.full)) == 1493
        file.write_text("{")  # broken: what was known stays
        assert await refused(bench, Phone(bench.full)) == 1493
        file.unlink()
        assert await refused(bench, Phone(bench.full)) == 1480

    run(tmp_path, check)


def test_a_key_of_another_format_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        statement = bench.surrogate.metadata(publicKeyAlgAndEncoding=0x101)
        (tmp_path / "metadata" / "F1D0-0002.json").write_text(json.dumps(statement))
        bench.clock.advance(2)
        request = await bench.uaf_request("Reg", {"username": "jeff"})
        answer = await bench.respond("Reg", Phone(bench.surrogate).register(request))
        assert answer["statusCode"] == 1494

    run(tmp_path, check)


def test_a_key_registered_before_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered("jeff")
        before = await bench.state()
        for user in ("jeff", "mia"):
            request = await bench.uaf_request("Reg", {"username": user})
            again = phone.register(request, twisted(key_id=phone.keys[0].key_id))
            assert (await bench.respond("Reg", again))["statusCode"] == (1492 if user == "jeff" else 1498)
        assert await bench.state() == before

    run(tmp_path, check)


UAF_BODIES: dict[str, bytes] = {
    "no JSON": b"{",
    "no UTF-8": b'{"op":"Auth","context":"\xff"}',
    "an array": b"[]",
    "op missing": b"{}",
    "wrong op": b'{"op":"Reg","context":"{}"}',
    "op of another type": b'{"op":1,"context":"{}"}',
    "context an object": b'{"op":"Auth","context":{}}',
    "context no JSON": b'{"op":"Auth","context":"{"}',
    "duplicate members": b'{"op":"Auth","op":"Auth","context":"{}"}',
    "duplicate members in context": b'{"op":"Auth","context":"{\\"policy\\":\\"a\\",\\"policy\\":\\"default\\"}"}',
    "deep nesting": b'{"op":"Auth","context":"' + b"[" * 100 + b"]" * 100 + b'"}',
    "unknown policy": b'{"op":"Auth","context":"{\\"policy\\":\\"nope\\"}"}',
    "policy that is a path": b'{"op":"Auth","context":"{\\"policy\\":\\"../default\\"}"}',
    "unknown user": b'{"op":"Auth","context":"{\\"username\\":\\"nobody\\"}"}',
    "transaction too long": b'{"op":"Auth","context":"{\\"transaction\\":[{\\"contentType\\":\\"text/plain\\",'
    b'\\"content\\":\\"' + b"QUFB" * 100 + b'\\"}]}"}',
}


@pytest.mark.parametrize("name", UAF_BODIES)
def test_a_uaf_request_service_answers_1400_under_200(tmp_path: Path, name: str) -> None:
    async def check(bench: Bench) -> None:
        before = await bench.state()
        answer = await bench.post("/uaf/1.1/request/authentication", UAF_BODIES[name], UAF, api=True)
        assert (answer.status_code, answer.json()) == (200, {"statusCode": 1400})
        assert await bench.state() == before

    run(tmp_path, check)


RESPONSE_BODIES: dict[str, bytes] = {
    "no JSON": b"{",
    "uafResponse missing": b"{}",
    "uafResponse no JSON": b'{"uafResponse":"["}',
    "uafResponse empty": b'{"uafResponse":"[]"}',
    "uafResponse of two": b'{"uafResponse":"[{},{}]"}',
    "uafResponse an object": b'{"uafResponse":{}}',
}


@pytest.mark.parametrize("name", RESPONSE_BODIES)
@pytest.mark.parametrize("service", ["registration", "authentication"])
def test_a_uaf_response_service_answers_1400_under_200(tmp_path: Path, name: str, service: str) -> None:
    async def check(bench: Bench) -> None:
        answer = await bench.post(f"/uaf/1.1/{service}", RESPONSE_BODIES[name], UAF)
        assert answer.status_code == 200
        assert answer.json()["statusCode"] == 1400
        assert json.loads(answer.json()["description"])["message"]

    run(tmp_path, check)


def test_a_response_context_is_read_strictly_before_anything_is_consumed(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        request = await bench.uaf_request("Auth", {}, api=False)
        body = {"uafResponse": json.dumps([phone.authenticate(request)]), "context": '{"asmStatusCode":"0"}'}
        answer = await bench.post("/uaf/1.1/authentication", body, UAF)
        assert answer.json()["statusCode"] == 1400
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200

    run(tmp_path, check)


JSON_SERVICES: dict[str, dict[str, Any]] = {
    "/status": {"sessionId": 1},
    "/status/stream": {},
    "/token/redeem/authentication": {"token": None},
    "/token/dispatch/authentication": {"dispatcher": "link"},
    "/token/create/authentication": {"op": "Reg"},
    "/token/dispatch/targets": {"username": "jeff", "name": "x"},
}


@pytest.mark.parametrize("path", JSON_SERVICES)
def test_a_json_service_answers_400_with_a_problem(tmp_path: Path, path: str) -> None:
    async def check(bench: Bench) -> None:
        before = await bench.state()
        headers = {"content-type": UAF["content-type"]} if "create" in path else {"content-type": "application/json"}
        for body in (JSON_SERVICES[path], b"{", b'{"a":1,"a":2}', b"[" * 40):
            answer = await bench.post(path, body, headers, api=True)
            assert answer.status_code == 400, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"]
        assert await bench.state() == before

    run(tmp_path, check)


ALL_SERVICES = {
    **dict.fromkeys(
        [
            "/uaf/1.1/request/registration",
            "/uaf/1.1/request/authentication",
            "/uaf/1.1/request/deregistration",
            "/uaf/1.1/registration",
            "/uaf/1.1/authentication",
        ],
        UAF,
    ),
    **dict.fromkeys([f"/token/redeem/{name}" for name in ("registration", "authentication", "deregistration")], REDEEM),
    **dict.fromkeys([f"/token/dispatch/{name}" for name in ("registration", "targets", "deregistration")], JSON),
    "/token/create/authentication": {"content-type": UAF["content-type"], "accept": "application/json"},
    "/status": JSON,
}


@pytest.mark.parametrize("path", ALL_SERVICES)
def test_method_headers_and_size_are_checked_on_every_service(tmp_path: Path, path: str) -> None:
    headers = ALL_SERVICES[path]

    async def chunks() -> Any:  # noqa: ANN401 - an async iterator of bytes
        for _ in range(3):
            yield b" " * (MAX_BODY_BYTES // 2)

    async def check(bench: Bench) -> None:
        before = await bench.state()
        client, url, api = bench.client, f"/nevisfido{path}", bench.api
        wrong = await client.put(url, content=b"{}", headers=headers | api)
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST" if "targets" in path else "POST")
        for content_type in (
            "text/plain",
            "application/xml",
            headers["content-type"].split(";")[0] + ";charset=latin1",
        ):
            answer = await client.post(url, content=b"{}", headers=headers | api | {"content-type": content_type})
            assert answer.status_code == 415, content_type
        answer = await client.post(url, content=b"{}", headers={"accept": headers["accept"]} | api)
        assert answer.status_code == 415
        for accept in ("text/html", f"{headers['accept']};q=0"):
            answer = await client.post(url, content=b"{}", headers=headers | api | {"accept": accept})
            assert answer.status_code == 406, accept
        wild = await client.post(url, content=b"{}", headers=headers | api | {"accept": "*/*"})
        assert (wild.status_code == 406) == (headers is UAF)
        for content in (b" " * (MAX_BODY_BYTES + 1), chunks()):
            answer = await client.post(url, content=content, headers=headers | api)
            assert answer.status_code == 413
            assert answer.headers["content-type"] == "application/problem+json"
        # The slash at the end makes no difference.
        assert (await client.put(f"{url}/", content=b"{}")).status_code == 405
        assert await bench.state() == before

    run(tmp_path, check)


PROTECTED = [
    ("POST", "/uaf/1.1/request/registration", UAF, {"op": "Reg", "context": '{"username":"jeff"}'}),
    ("POST", "/uaf/1.1/request/authentication", UAF, {"op": "Auth", "context": '{"username":"jeff"}'}),
    ("POST", "/uaf/1.1/request/deregistration", UAF, {"op": "Dereg", "context": "{}"}),
    ("POST", "/token/create/authentication", {"content-type": "application/fido+uaf"}, {"op": "Auth"}),
    ("POST", "/token/dispatch/authentication", JSON, {}),
    ("POST", "/token/dispatch/targets", JSON, {}),
    ("GET", "/token/dispatch/targets?username=jeff", JSON, None),
]


@pytest.mark.parametrize(("method", "path", "headers", "body"), PROTECTED)
def test_an_api_credential_is_needed(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], body: dict[str, Any] | None
) -> None:
    async def check(bench: Bench) -> None:
        async def call(authorization: str | None) -> int:
            more = {"authorization": authorization} if authorization else {}
            content = b"" if body is None else json.dumps(body).encode()
            answer = await bench.client.request(method, f"/nevisfido{path}", content=content, headers=headers | more)
            if answer.status_code == 401:
                assert answer.headers["www-authenticate"] == "Bearer"
            return answer.status_code

        key_id, _, secret = bench.bearer.partition(".")
        for wrong in (
            None,
            "Bearer ",
            f"Basic {bench.bearer}",
            f"Bearer {key_id}",
            f"Bearer {key_id}.{secret}x",
            "Bearer x.y",
        ):
            assert await call(wrong) == 401, wrong
        assert await call(f"Bearer {bench.bearer}") != 401
        await admin.revoke_api_key(bench.store, key_id, now=bench.clock())
        assert await call(f"Bearer {bench.bearer}") == 401

    run(tmp_path, check)


def test_unknown_paths_are_not_found(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        for path in (
            "/nothing",
            "/nevisfido",
            "/nevisfido/uaf/1.1",
            "/nevisfido/token/dispatch/targets/a/b",
            "/nevisfido/status//",
        ):
            answer = await bench.client.post(path, content=b"{}")
            assert answer.status_code == 404, path

    run(tmp_path, check)


def test_a_model_whose_metadata_is_added_later_can_register(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        late = full_model("F1D0#0099")
        phone = Phone(late)
        request = await bench.uaf_request("Reg", {"username": "jeff"})
        assert (await bench.respond("Reg", phone.register(request)))["statusCode"] == 1480
        write_metadata(tmp_path, late)
        bench.clock.advance(2)
        request = await bench.uaf_request("Reg", {"username": "jeff"})
        assert (await bench.respond("Reg", phone.register(request)))["statusCode"] == 1200

    run(tmp_path, check)


def test_a_surrogate_registers_only_where_its_metadata_lists_no_root(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert bench.surrogate.aaid == SURROGATE_AAID
        await bench.registered(model=bench.surrogate)

    run(tmp_path, check)
