"""The rules of UAF protocol 3.4.6.5 and 3.5.7.5, their hardening and what the conformance tool tests, through HTTP.

Digest 3.2, 3.3, 3.5 and 3.7, numbers those of the tool's threads: each broken rule with its exact status code. One
server takes all of a table: a request of its own for each row.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf import tlv
from fidoloop.protocol.uaf.registry import Tag
from fidoloop.protocol.uaf.tlv import Element
from tests.server.harness import Bench, running
from tests.server.phone import HONEST, Phone, Twist, twisted

Body = list[Element]
Response = dict[str, Any]
Case = tuple[Twist, Callable[[Response], None], int]
SINGLETONS = {
    "Reg": ("AAID", "ASSERTION_INFO", "FINAL_CHALLENGE_HASH", "KEYID", "COUNTERS", "PUB_KEY"),
    "Auth": (
        "AAID", "ASSERTION_INFO", "AUTHENTICATOR_NONCE", "FINAL_CHALLENGE_HASH", "TRANSACTION_CONTENT_HASH", "KEYID",
        "COUNTERS",
    ),
}  # fmt: skip
UNKNOWN, UNKNOWN_CRITICAL = 0x0F00, 0x2F00


def unchanged(response: Response) -> None:
    """Leaves the response as it is."""


def signed(change: Callable[[Body], Body], code: int) -> Case:
    """A response whose signed elements are others, honestly signed."""

    def reshape(data: bytes) -> bytes:
        (element,) = tlv.parse(data)
        assert isinstance(element.value, tuple)
        return tlv.encode((Element(element.tag, tuple(change(list(element.value)))),))

    return twisted(signed=reshape), unchanged, code


def sent(change: Callable[[Response], None], code: int) -> Case:
    """A response that was changed when it was made already."""
    return HONEST, change, code


def member(value: object, code: int, *path: str) -> Case:
    """A response in which the member at `path` is `value`; a number in it stands for the index."""

    def change(response: Any) -> None:  # noqa: ANN401 - JSON
        at = response
        for name in path[:-1]:
            at = at[int(name)] if name.isdigit() else at[name]
        if value is ...:
            del at[path[-1]]
        else:
            at[path[-1]] = value

    return sent(change, code)


def assertion(change: Callable[[bytes], bytes], code: int) -> Case:
    """A response whose assertion's bytes are others."""

    def apply(response: Response) -> None:
        wrapper = response["assertions"][0]
        wrapper["assertion"] = base64url.encode(change(base64url.decode(wrapper["assertion"])))

    return sent(apply, code)


def params(value: object, code: int, *names: str) -> Case:
    """A response that hashed and signed other final challenge params: `names` of them are `value`, or all is."""

    def reshape(found: dict[str, Any]) -> object:
        if not names:
            return value
        changed = {**found, **dict.fromkeys(names, value)}
        return {name: each for name, each in changed.items() if each is not ...}

    return twisted(params=reshape), unchanged, code


def value_of(tag: Tag, value: bytes) -> Callable[[Body], Body]:
    return lambda body: [Element(each.tag, value) if each.tag == tag else each for each in body]


def extension(tag: Tag, name: bytes = b"unheard.of") -> Element:
    return Element(tag, (Element(Tag.EXTENSION_ID, name), Element(Tag.EXTENSION_DATA, b"")))


def unheard_of(*, required: bool) -> list[dict[str, object]]:
    return [{"id": "unheard.of", "data": "", "fail_if_unknown": required}]


def two_assertions(response: Response) -> None:
    response["assertions"] = response["assertions"] * 2


def signature_altered(response: Response) -> None:
    """The last byte of the signature is another, wherever it stands."""
    wrapper = response["assertions"][0]
    (whole,) = tlv.parse(base64url.decode(wrapper["assertion"]))

    def altered(element: Element) -> Element:
        if isinstance(element.value, tuple):
            return Element(element.tag, tuple(altered(each) for each in element.value))
        if element.tag == Tag.SIGNATURE:
            return Element(element.tag, element.value[:-1] + bytes([element.value[-1] ^ 1]))
        return element

    wrapper["assertion"] = base64url.encode(tlv.encode((altered(whole),)))


def swapped(data: bytes) -> bytes:
    (whole,) = tlv.parse(data)
    assert isinstance(whole.value, tuple)
    return tlv.encode((Element(whole.tag, whole.value[::-1]),))


BOTH: dict[str, Case] = {
    "honest": sent(unchanged, 1200),
    # 3.2, 1 to 4; 3.3, 1 to 4
    "1: a version not offered": member({"major": 1, "minor": 0}, 1491, "header", "upv"),
    "1: a version that is none": member({"major": 1}, 1400, "header", "upv"),
    "1: no header": member(..., 1400, "header"),
    "1: no assertions": member([], 1498, "assertions"),
    "1: assertions no array": member({}, 1400, "assertions"),
    "1: null instead of absent": member(None, 1400, "assertions", "0", "exts"),
    "1: op of the other operation": member("Dereg", 1498, "header", "op"),
    "1: op of no operation": member("Other", 1400, "header", "op"),
    "1: appID of another": member("https://other.example", 1498, "header", "appID"),
    "2: no serverData": member(..., 1491, "header", "serverData"),
    "2: serverData of nobody": member("AAAA", 1491, "header", "serverData"),
    "2: serverData empty": member("", 1400, "header", "serverData"),
    "3: fcParams no base64url": member("*", 1498, "fcParams"),
    "3: fcParams missing": member(..., 1400, "fcParams"),
    "8: fcParams no object": params([], 1498),
    "8: fcParams empty object": params({}, 1498),
    "8: appID of another": params("https://other.example", 1498, "appID"),
    "8: appID empty": params("", 1498, "appID"),
    "8: appID missing": params(..., 1498, "appID"),
    "8: appID null": params(None, 1498, "appID"),
    "8: appID too long": params("x" * 513, 1498, "appID"),
    "8: facetID of another": params("https://other.example", 1498, "facetID"),
    "8: facetID missing": params(..., 1498, "facetID"),
    "8: challenge of another": params(base64url.encode(bytes(64)), 1491, "challenge"),
    "8: challenge empty": params("", 1498, "challenge"),
    "8: challenge missing": params(..., 1498, "challenge"),
    "8: channelBinding missing": params(..., 1498, "channelBinding"),
    "8: channelBinding no object": params([], 1498, "channelBinding"),
    "5: FCHash of what was not sent": member(base64url.encode(b'{"appID":"x"}'), 1498, "fcParams"),
    # 3.2, 5 and 3.3, 5
    "39: an empty assertion": member("", 1498, "assertions", "0", "assertion"),
    "46: no base64url": member("*", 1498, "assertions", "0", "assertion"),
    "46: padded base64": member("QQ==", 1498, "assertions", "0", "assertion"),
    "46: a number": member(1, 1400, "assertions", "0", "assertion"),
    "5: too long": member("A" * 5465, 1400, "assertions", "0", "assertion"),
    "5: of another scheme": member("WAV1CBOR", 1498, "assertions", "0", "assertionScheme"),
    "5: without a scheme": member(..., 1400, "assertions", "0", "assertionScheme"),
    "5: an AAID without metadata": signed(value_of(Tag.AAID, b"ABCD#1234"), 1480),
    "5: an AAID in lower case": signed(value_of(Tag.AAID, b"f1d0#0001"), 1200),
    "5: an AAID that is none": signed(value_of(Tag.AAID, b"ABCD-1234"), 1498),
    "5: FCHash of another": signed(value_of(Tag.FINAL_CHALLENGE_HASH, bytes(32)), 1498),
    "48: signature altered": sent(signature_altered, 1498),
    # Extensions
    "unknown, must be understood: in the header": member(unheard_of(required=True), 1498, "header", "exts"),
    "unknown, may be ignored: in the header": member(unheard_of(required=False), 1200, "header", "exts"),
    "unknown, must be understood: beside": member(unheard_of(required=True), 1498, "assertions", "0", "exts"),
    "unknown, may be ignored: beside": member(unheard_of(required=False), 1200, "assertions", "0", "exts"),
    "unknown, must be understood: signed": signed(lambda body: [*body, extension(Tag.EXTENSION)], 1498),
    "unknown, may be ignored: signed": signed(lambda body: [*body, extension(Tag.EXTENSION_NON_CRITICAL)], 1200),
    # 3.5
    "an unknown critical tag": signed(lambda body: [*body, Element(UNKNOWN_CRITICAL, b"x")], 1498),
    "an unknown tag": signed(lambda body: [*body, Element(UNKNOWN, b"x")], 1200),
    "another order inside": signed(lambda body: body[::-1], 1200),
    "bytes at the end": assertion(lambda data: data + b"\x00", 1498),
    "a byte missing": assertion(lambda data: data[:-1], 1498),
    "a length that overruns": assertion(lambda data: data[:2] + b"\xff\xff" + data[4:], 1498),
    "an assertion of the other operation": assertion(lambda data: bytes([data[0] ^ 3]) + data[1:], 1498),
    "what is signed is not first": assertion(swapped, 1498),
    "nothing but a header": assertion(lambda data: data[:2] + b"\x00\x00", 1498),
    "one assertion twice, of which one is needed": sent(two_assertions, 1200),
}


def beside(data: bytes) -> bytes:
    """An AAID beside what is signed."""
    (whole,) = tlv.parse(data)
    assert isinstance(whole.value, tuple)
    return tlv.encode((Element(whole.tag, (*whole.value, Element(Tag.AAID, b"F1D0#0001"))),))


def with_certificates(*certificates: bytes) -> Callable[[bytes], bytes]:
    """A full attestation with these certificates."""

    def change(data: bytes) -> bytes:
        (whole,) = tlv.parse(data)
        assert isinstance(whole.value, tuple)
        krd, attestation = whole.value
        assert isinstance(attestation.value, tuple)
        chain = tuple(Element(Tag.ATTESTATION_CERT, each) for each in certificates)
        return tlv.encode((Element(whole.tag, (krd, Element(attestation.tag, (attestation.value[0], *chain)))),))

    return change


def attested_as(tag: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        (whole,) = tlv.parse(data)
        assert isinstance(whole.value, tuple)
        krd, attestation = whole.value
        return tlv.encode((Element(whole.tag, (krd, Element(tag, attestation.value))),))

    return change


def registration_info(mode: int = 1, algorithm: int = 1, key_format: int = 0x100, version: int = 1) -> bytes:
    return b"".join(
        number.to_bytes(size, "little") for number, size in ((version, 2), (mode, 1), (algorithm, 2), (key_format, 2))
    )


def authentication_info(mode: int = 1, algorithm: int = 1, version: int = 1) -> bytes:
    return version.to_bytes(2, "little") + bytes([mode]) + algorithm.to_bytes(2, "little")


REGISTRATION: dict[str, Case] = {
    "ASSERTION_INFO of an authentication": signed(value_of(Tag.ASSERTION_INFO, authentication_info()), 1498),
    "mode 2": signed(value_of(Tag.ASSERTION_INFO, registration_info(mode=2)), 1498),
    "mode 0": signed(value_of(Tag.ASSERTION_INFO, registration_info(mode=0)), 1498),
    "a version below the metadata's": signed(value_of(Tag.ASSERTION_INFO, registration_info(version=0)), 1492),
    "a key format not the model's": signed(value_of(Tag.ASSERTION_INFO, registration_info(key_format=0x101)), 1494),
    "a key of no format": signed(value_of(Tag.PUB_KEY, b"\x04" + bytes(63)), 1494),
    "a key that is no point": signed(value_of(Tag.PUB_KEY, b"\x04" + b"\x01" * 64), 1494),
    "an absurd registration counter": signed(value_of(Tag.COUNTERS, bytes(4) + b"\xff" * 4), 1498),
    "counters of 4 bytes": signed(value_of(Tag.COUNTERS, bytes(4)), 1498),
    "a KeyID too short": signed(value_of(Tag.KEYID, bytes(31)), 1498),
    "a KeyID too long": signed(value_of(Tag.KEYID, bytes(2049)), 1498),
    "642: an empty certificate": assertion(with_certificates(b""), 1496),
    "642: a certificate that is no X.509": assertion(with_certificates(b"\x30\x00"), 1496),
    "a full attestation without certificates": assertion(with_certificates(), 1496),
    "ECDAA": assertion(attested_as(0x3E09), 1496),
    "an attestation of no type": assertion(attested_as(0x3E0F), 1498),
    "a field beside what is signed": assertion(beside, 1498),
}
AUTHENTICATION: dict[str, Case] = {
    "ASSERTION_INFO of a registration": signed(value_of(Tag.ASSERTION_INFO, registration_info()), 1498),
    "655: mode 0": signed(value_of(Tag.ASSERTION_INFO, authentication_info(mode=0)), 1498),
    "655: mode 2 without a transaction": signed(value_of(Tag.ASSERTION_INFO, authentication_info(mode=2)), 1498),
    "mode 1 with a TCHash": signed(value_of(Tag.TRANSACTION_CONTENT_HASH, bytes(32)), 1498),
    "653: INFO of another algorithm": signed(value_of(Tag.ASSERTION_INFO, authentication_info(algorithm=2)), 1495),
    "a nonce of 7 bytes": signed(value_of(Tag.AUTHENTICATOR_NONCE, bytes(7)), 1498),
    "a counter that stays": signed(value_of(Tag.COUNTERS, bytes([1, 0, 0, 0])), 1498),
    "a counter that goes back to 0": signed(value_of(Tag.COUNTERS, bytes(4)), 1498),
    "counters of 8 bytes": signed(value_of(Tag.COUNTERS, bytes(8)), 1498),
    "a KeyID of nobody": signed(value_of(Tag.KEYID, bytes(32)), 1481),
    "a key under another model": signed(value_of(Tag.AAID, b"F1D0#0002"), 1481),
    "a field beside what is signed": assertion(beside, 1498),
}


def singletons(operation: str) -> dict[str, Case]:
    """Each element that must stand once: left out, and twice."""
    found = {}
    for name in SINGLETONS[operation]:
        tag = Tag[name]

        def left_out(body: Body, tag: Tag = tag) -> Body:
            return [each for each in body if each.tag != tag]

        def twice(body: Body, tag: Tag = tag) -> Body:
            return [*body, *(each for each in body if each.tag == tag)]

        found[f"without {name}"] = signed(left_out, 1498)
        found[f"{name} twice"] = signed(twice, 1498)
    return found


def run(home: Path, check: Callable[[Bench], Awaitable[None]], **config: Any) -> None:  # noqa: ANN401
    async def scenario() -> None:
        async with running(home, **config) as bench:
            await check(bench)

    asyncio.run(scenario())


async def answers(bench: Bench, operation: str, cases: dict[str, Case]) -> dict[str, int]:
    """Return the status of each case; what is refused must have changed nothing."""
    found = {}
    phone = await bench.registered()
    for name, (twist, change, _) in cases.items():
        request = await bench.uaf_request(operation, {"username": "mia" if operation == "Reg" else "jeff"})
        made = phone if operation == "Auth" else Phone(bench.full)
        response = made.authenticate(request, twist) if operation == "Auth" else made.register(request, twist)
        change(response)
        before = await bench.state()
        answer = await bench.respond(operation, response)
        found[name] = int(answer["statusCode"])
        assert answer["statusCode"] == 1200 or await bench.state() == before, name
        assert json.loads(answer["description"])["message"], name
    return found


@pytest.mark.parametrize("operation", ["Reg", "Auth"])
def test_each_broken_rule_has_its_status_code(tmp_path: Path, operation: str) -> None:
    own = REGISTRATION if operation == "Reg" else AUTHENTICATION
    cases = BOTH | own | singletons(operation)

    async def check(bench: Bench) -> None:
        expected = {name: code for name, (_, _, code) in cases.items()}
        assert await answers(bench, operation, cases) == expected

    run(tmp_path, check)
