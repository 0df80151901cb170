"""Messages changed in many ways, sent to the server that asked for them: never accepted, never an internal error.

The protocol's own tests change every byte and element of every message; here goes a sample, and what travels around it.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import tlv
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion, parse_registration_assertion
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server.http.body import MAX_BODY_BYTES
from tests.protocol.builders import recorded, vectors
from tests.protocol.uaf.test_mutated_messages import rebuilt
from tests.server.harness import UAF, Bench, running
from tests.server.phone import Phone

REFUSALS = {int(code) for code in StatusCode} - {StatusCode.OK, StatusCode.ACCEPTED, StatusCode.INTERNAL_SERVER_ERROR}
SERVICES = {"Reg": "registration", "Auth": "authentication"}
REPLACEMENTS: tuple[object, ...] = (None, True, -1, 2**70, 1.5, "", "\x00", "é" * 40, "A" * 40_000, [], {}, [[]], ...)


Change = Callable[[dict[str, Any]], object]


def with_assertion(response: dict[str, Any], raw: bytes) -> dict[str, Any]:
    return {**response, "assertions": [{**response["assertions"][0], "assertion": base64url.encode(raw)}]}


def raw_assertion(response: dict[str, Any]) -> bytes:
    return base64url.decode(response["assertions"][0]["assertion"])


def changed_bytes(response: dict[str, Any]) -> Iterator[Change]:
    """Every seventh byte another, left out, and the end."""
    for at in range(0, len(raw_assertion(response)), 7):
        yield lambda made, at=at: with_assertion(made, flipped(raw_assertion(made), at))  # type: ignore[misc]
        yield lambda made, at=at: with_assertion(made, raw_assertion(made)[:at] + raw_assertion(made)[at + 1 :])  # type: ignore[misc]
        yield lambda made, at=at: with_assertion(made, raw_assertion(made)[:at])  # type: ignore[misc]


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 0x80]) + raw[at + 1 :]


def changed_elements(response: dict[str, Any]) -> Iterator[Change]:
    """Every element left out, doubled, emptied, moved to the end, or under another tag."""
    for number, tree in enumerate(rebuilt(tlv.parse(raw_assertion(response)))):
        if says_the_same(tlv.encode(tree), raw_assertion(response)):
            continue

        def change(made: dict[str, Any], number: int = number) -> object:
            tree = next(islice(rebuilt(tlv.parse(raw_assertion(made))), number, None))
            return with_assertion(made, tlv.encode(tree))

        yield change


def says_the_same(changed: bytes, raw: bytes) -> bool:
    """Tell whether only the order of what is not signed is another."""
    parse = parse_registration_assertion if raw.startswith(b"\x01\x3e") else parse_authentication_assertion
    try:
        return bool(structs.replace(parse(changed), raw=raw) == parse(raw))
    except MalformedError:
        return False


def paths(value: object, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in inner:
        # What the response says there is not held against anything: the final challenge params decide.
        if (*path, name) not in {("header", "exts"), ("header", "appID")}:
            yield (*path, name)
            yield from paths(member, *path, name)


def changed_members(response: dict[str, Any]) -> Iterator[Change]:
    """Every member, however deep, left out and replaced by each of REPLACEMENTS."""
    for path in paths(response):
        for other in REPLACEMENTS:

            def change(made: dict[str, Any], path: tuple[str | int, ...] = path, other: object = other) -> object:
                copy = json.loads(json.dumps(made))
                at = copy
                for name in path[:-1]:
                    at = at[name]
                if other is ...:
                    del at[path[-1]]
                else:
                    at[path[-1]] = other
                return copy

            yield change


def from_elsewhere(_: dict[str, Any]) -> Iterator[Change]:
    """Each published and recorded message, as it is, and its parts in an honest one."""
    for example in {**vectors(), **recorded()}.values():
        (other,) = example["response"]
        yield lambda made, other=other: other  # type: ignore[misc]
        yield lambda made, other=other: {**other, "header": made["header"]}  # type: ignore[misc]
        yield lambda made, other=other: {**made, "fcParams": other["fcParams"]}  # type: ignore[misc]
        yield lambda made, other=other: {**made, "assertions": other["assertions"]}  # type: ignore[misc]


async def honest(bench: Bench, phone: Phone, operation: str) -> dict[str, Any]:
    request = await bench.uaf_request(operation, {"username": "mia" if operation == "Reg" else "jeff"})
    return phone.register(request) if operation == "Reg" else phone.authenticate(request)


async def refused(bench: Bench, operation: str, response: object) -> int:
    """Return the status code of a response that is not to be accepted, after looking that it was a refusal."""
    content = json.dumps({"uafResponse": json.dumps([response])})
    answer = await bench.post(f"/uaf/1.1/{SERVICES[operation]}", content, UAF)
    if len(content) > MAX_BODY_BYTES:
        assert answer.status_code == 413
        return StatusCode.BAD_REQUEST
    assert answer.status_code == 200, content
    found = answer.json()
    assert found["statusCode"] in REFUSALS, content
    assert json.loads(found["description"])["message"]
    return int(found["statusCode"])


@pytest.mark.parametrize("changes", [changed_bytes, changed_elements, changed_members, from_elsewhere])
@pytest.mark.parametrize("operation", SERVICES)
def test_no_changed_message_is_accepted_or_an_internal_error(
    tmp_path: Path, operation: str, changes: Callable[[dict[str, Any]], Iterator[Change]]
) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as bench:
            phone = await bench.registered()
            made = Phone(bench.full) if operation == "Reg" else phone
            before = await bench.state()
            response = await honest(bench, made, operation)
            tried = 0
            for change in changes(response):
                changed = change(response)
                tried += 1
                # Neither 1400 nor 1491 consumes the request.
                if changed != response and await refused(bench, operation, changed) not in (1400, 1491):
                    response = await honest(bench, made, operation)
            assert tried > 40
            assert await bench.state() == before
            assert (await bench.respond(operation, await honest(bench, made, operation)))["statusCode"] == 1200

    asyncio.run(scenario())


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_no_bytes_are_an_internal_error(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Noise, and an honest body with noise in it."""
    home = tmp_path_factory.mktemp("noise")

    async def scenario() -> None:
        async with running(home) as bench:
            phone = await bench.registered()
            content = json.dumps({"uafResponse": json.dumps([await honest(bench, phone, "Auth")])}).encode()
            at = data.draw(st.integers(0, len(content)))
            noise = data.draw(st.binary(min_size=1, max_size=40))
            for sent in (noise, content[:at] + noise + content[at:], content[:at], content[:at] + noise):
                answer = await bench.post("/uaf/1.1/authentication", sent, UAF)
                assert answer.status_code == 200, sent
                assert answer.json()["statusCode"] in REFUSALS | {StatusCode.OK}, sent

    asyncio.run(scenario())
