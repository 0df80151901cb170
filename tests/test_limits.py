"""Limits on size, depth and number: each is met by what is just within it, and broken by one more. And their page."""

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fidoloop.authenticator.asm_messages import AsmRequest
from fidoloop.bridge.ble.profile import Info
from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.hsm.sim.card import MAX_COMMAND_DATA, Card
from fidoloop.protocol import base64url, jose, strictjson, web_push
from fidoloop.protocol.ctap import canonical_cbor
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence import cmw
from fidoloop.protocol.evidence.values import MAX_VALUE_BYTES, Evidence, EvidenceKind, EvidenceRefusal
from fidoloop.protocol.evidence.verify import describe_evidence
from fidoloop.protocol.inspect import content, der
from fidoloop.protocol.inspect.kinds import inspect
from fidoloop.protocol.outofband import MAX_PAYLOAD_CHARACTERS
from fidoloop.protocol.uaf import extensions, facets, match_criteria, messages, policy
from tests.hsm.sim.test_card import Echo
from tests.protocol.builders import p256

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/limits.md").read_text("utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "`" in line]
EXTENSION = {"id": "x", "data": "", "fail_if_unknown": False}
ACCEPTED = [[{"userVerification": 1}]]


def json_of(type_: Any, make: Callable[[int], object]) -> Callable[[int], object]:  # noqa: ANN401 - any type
    return lambda number: strictjson.decode(json.dumps(make(number)), type_)


def header(number: int) -> dict[str, object]:
    return {"upv": {"major": 1, "minor": 1}, "op": "Dereg", "exts": [EXTENSION] * number}


def deregistration(number: int) -> dict[str, object]:
    return {"header": header(0), "authenticators": [{"aaid": "F10B#0113", "keyID": "AA"}] * number}


def jwk(size: int) -> object:
    return jose.parse_public_jwk(jose.public_jwk(p256().public_key()).to_json().ljust(size))


def jws(size: int) -> object:
    public = jose.public_jwk(p256().public_key())
    empty = jose.sign_compact(b"", p256())
    payload = b"x" * ((size - len(empty)) * 3 // 4)
    return jose.verify_compact(jose.sign_compact(payload, p256()).ljust(size, "A"), public)


def nested_cbor(depth: int) -> object:
    return canonical_cbor.decode(b"\x81" * depth + b"\x00")


def nested_der(depth: int) -> object:
    value = b"\x05\x00"
    for _ in range(depth):
        value = b"\x30" + (bytes((len(value),)) if len(value) < 128 else b"\x81" + bytes((len(value),))) + value
    found = inspect(value, kind="der")
    if found.problems:
        raise MalformedError("$", found.problems[0])
    return found


def inspected(size: int) -> object:
    return inspect(b'{"statusCode":1200}'.ljust(size))


def evidence_value(size: int) -> object:
    return describe_evidence(Evidence(EvidenceKind.PIV, b"[]".ljust(size)))


def chained(size: int) -> bytes:
    """Send `size` bytes to a card by chained commands, and return what the last one answers."""
    card = Card([Echo(bytes.fromhex("a000000001"))], b"\x3b\x00")
    answer = b""
    for at in range(0, size, 255):
        part = bytes(min(255, size - at))
        cla = 0x90 if at + 255 < size else 0x80
        answer = card.transmit(bytes((cla, 0x01, 0, 0, len(part))) + part)
    if answer[-2:] == b"\x6a\x84":
        raise MalformedError("$", "not enough memory")
    return answer


def subscription(size: int) -> object:
    start = "https://push.example/"
    point = base64url.encode(web_push.point_of(p256().public_key()))
    keys = {"p256dh": point, "auth": base64url.encode(bytes(16))}
    return web_push.parse_subscription(json.dumps({"endpoint": start + "a" * (size - len(start)), "keys": keys}))


# What reads `number` bytes, levels or items; and how many are allowed.
LIMITS: dict[str, tuple[Callable[[int], object], int]] = {
    "extensions of a header": (json_of(messages.OperationHeader, header), extensions.MAX_EXTENSIONS),
    "extensions of an ASM request": (
        json_of(AsmRequest, lambda number: {"requestType": "GetInfo", "exts": [EXTENSION] * number}),
        extensions.MAX_EXTENSIONS,
    ),
    "keys to forget": (json_of(messages.DeregistrationRequest, deregistration), messages.MAX_DEREGISTERED),
    "alternatives of a policy": (
        json_of(policy.Policy, lambda number: {"accepted": ACCEPTED * number}),
        policy.MAX_ALTERNATIVES,
    ),
    "disallowed criteria": (
        json_of(policy.Policy, lambda number: {"accepted": ACCEPTED, "disallowed": ACCEPTED[0] * number}),
        policy.MAX_DISALLOWED,
    ),
    "key IDs of a criteria": (
        json_of(match_criteria.MatchCriteria, lambda number: {"keyIDs": ["AA"] * number}),
        match_criteria.MAX_VALUES,
    ),
    "algorithms of a criteria": (
        json_of(match_criteria.MatchCriteria, lambda number: {"authenticationAlgorithms": [1] * number}),
        match_criteria.MAX_VALUES,
    ),
    "facets of a list": (
        json_of(
            facets.TrustedFacetList,
            lambda number: {"trustedFacets": [{"version": {"major": 1, "minor": 1}, "ids": ["a"] * number}]},
        ),
        facets.MAX_FACETS,
    ),
    "characters of a JWK": (jwk, jose.MAX_JWK_CHARACTERS),
    "characters of a JWS": (jws, jose.MAX_JOSE_CHARACTERS),
    "levels of canonical CBOR": (nested_cbor, canonical_cbor.MAX_DEPTH),
    "levels of DER that is inspected": (nested_der, der.MAX_DEPTH),
    "bytes that are inspected": (inspected, content.MAX_BYTES),
    "characters of a push subscription's endpoint": (subscription, web_push.MAX_ENDPOINT_CHARACTERS),
    "bytes of a chain of APDUs": (chained, MAX_COMMAND_DATA),
    "bytes announced by Bluetooth": (lambda size: Info.of(bytes(size)), MAX_PAYLOAD_CHARACTERS),
    "bytes of a file of evidence": (
        lambda size: cmw.decode(cmw.encode(Evidence(EvidenceKind.PIV, b"[]")).encode().ljust(size)),
        cmw.MAX_FILE_BYTES,
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_one_more_than_the_limit_is_refused(name: str) -> None:
    read, most = LIMITS[name]
    read(most)
    with pytest.raises((MalformedError, canonical_cbor.CborError, MalformedPayloadError)):
        read(most + 1)


def test_a_value_of_evidence_is_measured_before_it_is_read() -> None:
    for size, told in ((MAX_VALUE_BYTES, "0 certificates"), (MAX_VALUE_BYTES + 1, "more than")):
        with pytest.raises((MalformedError, EvidenceRefusal), match=told):
            evidence_value(size)


@pytest.mark.parametrize("claimed", [b"\x9a\xff\xff\xff\xff", b"\xba\xff\xff\xff\xff", b"\x5a\xff\xff\xff\xff"])
def test_a_number_of_items_that_cannot_be_there_is_refused_at_once(claimed: bytes) -> None:
    with pytest.raises(canonical_cbor.CborError, match="ends too early"):
        canonical_cbor.decode(claimed + bytes(100))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_page_of_limits_says_what_the_code_has(row: list[str]) -> None:
    _, cap, place, test = row
    file, _, name = place.strip("`").partition(":")
    module = importlib.import_module("fidoloop." + file.removesuffix(".py").replace("/", "."))
    assert str(getattr(module, name)) == re.sub(r"[^0-9]", "", cap), f"{place} is another number"
    path, _, function = test.strip("`").partition("::")
    assert f"def {function}(" in (ROOT / path).read_text("utf-8")
