import json
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion, parse_registration_assertion
from fidoloop.protocol.uaf.dissect import MAX_BYTES, Node, dissect_assertion

from ..builders import AUTHENTICATION, REGISTRATION, SURROGATE_REGISTRATION, Assertion, tlv, vectors
from ..signers import ALGORITHM_AND_FORMAT, keys_of, sign
from ..signers import key_of as key_of_algorithm

EXTENSION = tlv(0x3E12, tlv(0x2E13, b"some.id"), tlv(0x2E14, b"data"))
VECTORS = {
    name: base64url.decode(example["response"][0]["assertions"][0]["assertion"]) for name, example in vectors().items()
}
KINDS = {"full": REGISTRATION, "surrogate": SURROGATE_REGISTRATION, "authentication": AUTHENTICATION}


def unnamed(node: Node) -> Iterator[tuple[int, int]]:
    """Yields every gap or overlap between the children of a node and what they are to fill."""
    if node.children:
        at = node.offset + (4 if node.tag is not None else 0)
        for child in node.children:
            if child.offset != at or child.length < 1:
                yield at, child.offset
            at = child.offset + child.length
            yield from unnamed(child)
        if at != node.offset + node.length:
            yield at, node.offset + node.length


def parses(raw: bytes) -> bool:
    parse = parse_authentication_assertion if raw[:2] == b"\x02\x3e" else parse_registration_assertion
    try:
        parse(raw)
    except MalformedError:
        return False
    return True


def found(raw: bytes, name: str) -> Node:
    return next(node for _, node in dissect_assertion(raw).walk() if node.name == name)


def test_an_authentication_by_name_and_place() -> None:
    raw = AUTHENTICATION.with_(signature=b"r" * 32 + b"s" * 32).encode()
    lines = [(depth, node.offset, node.length, node.name, node.value) for depth, node in dissect_assertion(raw).walk()]
    assert lines[:8] == [
        (0, 0, len(raw), "assertion", None),
        (1, 0, len(raw), "UAFV1_AUTH_ASSERTION", None),
        (2, 4, len(raw) - 72, "UAFV1_SIGNED_DATA", None),
        (3, 8, 13, "AAID", "F10B#0113"),
        (3, 21, 9, "ASSERTION_INFO", None),
        (4, 25, 2, "authenticatorVersion", 1),
        (4, 27, 1, "authenticationMode", "1 USER_VERIFIED"),
        (4, 28, 2, "signatureAlgAndEncoding", "1 SECP256R1_ECDSA_SHA256_RAW"),
    ]
    assert lines[-5:] == [
        (3, len(raw) - 76, 8, "COUNTERS", None),
        (4, len(raw) - 72, 4, "signCounter", 5),
        (2, len(raw) - 68, 68, "SIGNATURE", None),
        (3, len(raw) - 64, 32, "r", (b"r" * 32).hex()),
        (3, len(raw) - 32, 32, "s", (b"s" * 32).hex()),
    ]


def test_a_registration_by_name() -> None:
    raw = REGISTRATION.with_(inside=EXTENSION).encode()
    assert found(raw, "publicKeyAlgAndEncoding").value == "0x100 ECC_X962_RAW"
    assert [part.name for part in found(raw, "PUB_KEY").children] == ["uncompressed", "x", "y"]
    assert found(raw, "registrationCounter").value == 1
    assert found(raw, "ATTESTATION_CERT").value == "CN=leaf"
    assert [child.name for child in found(raw, "ATTESTATION_BASIC_FULL").children] == [
        "SIGNATURE",
        "ATTESTATION_CERT",
        "ATTESTATION_CERT",
    ]
    assert found(raw, "EXTENSION_ID").value == "some.id"


@pytest.mark.parametrize("name", VECTORS)
def test_the_published_examples_have_every_byte_named_and_nothing_wrong(name: str) -> None:
    tree = dissect_assertion(VECTORS[name])
    assert (tree.offset, tree.length, tree.problems, list(unnamed(tree))) == (0, len(VECTORS[name]), [], [])


@pytest.mark.parametrize(("algorithm", "key_format"), ALGORITHM_AND_FORMAT)
def test_keys_and_signatures_of_every_kind_have_every_byte_named(algorithm: int, key_format: int) -> None:
    made = SURROGATE_REGISTRATION.with_(
        algorithm=algorithm, key_format=key_format, public_key=keys_of(algorithm)[key_format]
    )
    raw = made.with_(signature=sign(algorithm, key_of_algorithm(algorithm), made.signed)).encode()
    tree = dissect_assertion(raw)
    assert (tree.problems, list(unnamed(tree))) == ([], [])


PARTS = {
    (0x01, 0x100): (["uncompressed", "x", "y"], ["r", "s"]),
    (0x02, 0x101): ([], ["SEQUENCE", "INTEGER", "r", "INTEGER", "s"]),
    (0x04, 0x102): (["n", "e"], ["OCTET STRING", "signature"]),
    (0x03, 0x103): ([], []),
    (0x11, 0x100): (["uncompressed", "x", "y"], ["r", "s"]),
    (0x12, 0x104): ([], []),
}


@pytest.mark.parametrize("kind", PARTS)
def test_keys_and_signatures_are_taken_apart_as_their_formats_say(kind: tuple[int, int]) -> None:
    algorithm, key_format = kind
    made = SURROGATE_REGISTRATION.with_(
        algorithm=algorithm, key_format=key_format, public_key=keys_of(algorithm)[key_format]
    )
    raw = made.with_(signature=sign(algorithm, key_of_algorithm(algorithm), made.signed)).encode()
    names = [[part.name for part in found(raw, name).children] for name in ("PUB_KEY", "SIGNATURE")]
    assert tuple(names) == PARTS[kind]


WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0: assertion: starts with neither"),
    "other start": (tlv(0x3E03), "0: assertion: starts with neither"),
    "too long": (AUTHENTICATION.with_(beside=tlv(0x0999, bytes(4000))).encode(), "0: assertion: 4"),
    "after": (AUTHENTICATION.encode() + tlv(0x0999, b"x"), "0x0999: stands after the assertion"),
    "rest": (AUTHENTICATION.encode() + b"\x00\x01", "rest: 2 bytes are no tag and length"),
    "overrun": (AUTHENTICATION.encode()[:-1], "0: UAFV1_AUTH_ASSERTION: its length 198 runs 1 bytes past the end"),
    "missing": (tlv(0x3E02, tlv(0x3E04), tlv(0x2E06, b"s")), "4: UAFV1_SIGNED_DATA: lacks KEYID, "),
    "no signed data": (tlv(0x3E02, tlv(0x2E06, b"s")), "lacks UAFV1_SIGNED_DATA as its first element"),
    "no attestation": (tlv(0x3E01, REGISTRATION.signed), "0: UAFV1_REG_ASSERTION: lacks attestation"),
    "signed data later": (
        tlv(0x3E02, tlv(0x2E06, b"s"), AUTHENTICATION.signed),
        "9: UAFV1_SIGNED_DATA: does not belong here",
    ),
    "twice": (AUTHENTICATION.with_(inside=tlv(0x2E0A, b"h")).encode(), "FINAL_CHALLENGE_HASH: stands twice"),
    "two attestations": (REGISTRATION.with_(beside=tlv(0x3E08)).encode(), "ATTESTATION_BASIC_SURROGATE: "),
    "beside": (AUTHENTICATION.with_(beside=tlv(0x2E09, b"k" * 32)).encode(), "KEYID: does not belong here"),
    "critical": (AUTHENTICATION.with_(inside=tlv(0x2EFF, b"")).encode(), "0x2EFF: is critical and unknown"),
    "AAID": (AUTHENTICATION.with_(aaid=b"F10B0113#").encode(), "8: AAID: not of the form"),
    "nonce": (AUTHENTICATION.with_(nonce=b"n" * 7).encode(), "30: AUTHENTICATOR_NONCE: 7 bytes, at least 8"),
    "KeyID": (REGISTRATION.with_(key_id=b"k" * 31).encode(), "KEYID: 31 bytes, 32 to 2048 allowed"),
    "no KeyID": (AUTHENTICATION.with_(key_id=b"").encode(), "KEYID: empty"),
    "certificate": (REGISTRATION.with_(chain=(b"x",)).encode(), "ATTESTATION_CERT: not an X.509 certificate"),
    "extension id": (AUTHENTICATION.with_(beside=tlv(0x3E12, tlv(0x2E13, b"\xff"))).encode(), "not UTF-8"),
    "long extension id": (
        AUTHENTICATION.with_(beside=tlv(0x3E12, tlv(0x2E13, b"x" * 33), tlv(0x2E14))).encode(),
        "EXTENSION_ID: 33 characters",
    ),
    "index": (AUTHENTICATION.with_(inside=tlv(0x0104, bytes(33))).encode(), "USER_VERIFICATION_INDEX: 33 bytes"),
    "info": (AUTHENTICATION.encode().replace(b"\x0e\x2e\x05\x00", b"\x0e\x2e\x04\x00"), "ASSERTION_INFO: 4 bytes, 5"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_where_it_is(case: str) -> None:
    raw, problem = WRONG[case]
    tree = dissect_assertion(raw)
    assert any(problem in each for each in tree.problems), tree.problems
    assert not list(unnamed(tree))


def test_nesting_is_bounded() -> None:
    raw = b""
    for _ in range(1000):
        raw = tlv(0x3E01, raw)
    assert "nested deeper than 8" in " ".join(dissect_assertion(raw).problems)


def test_what_is_unknown_and_not_critical_is_named_by_its_number_and_not_held_against_it() -> None:
    raw = AUTHENTICATION.with_(inside=tlv(0x0999, b"x") + tlv(0x0104, b"u"), beside=tlv(0x1999, tlv(0x0001))).encode()
    tree = dissect_assertion(raw)
    assert tree.problems == []
    names = [node.name for _, node in tree.walk()]
    assert {"0x0999", "USER_VERIFICATION_INDEX", "0x1999", "0x0001"} <= set(names)


@given(st.binary(max_size=120), st.sampled_from([b"", b"\x01\x3e", b"\x02\x3e\x20\x00\x04\x3e\x10\x00"]))
def test_arbitrary_bytes_have_every_byte_named_and_something_wrong(data: bytes, start: bytes) -> None:
    tree = dissect_assertion(start + data)
    assert tree.length == len(start + data)
    assert not list(unnamed(tree))
    assert tree.problems


def known(node: Node) -> Iterator[Node]:
    """Yields the nodes but those inside of nameless elements, which are passed over when an assertion is parsed."""
    yield node
    if not node.name.startswith("0x"):
        for child in node.children:
            yield from known(child)


OF_STRUCTURE = ("stands", "belong", "critical", "lacks", "runs", "no tag and length", "starts")


@given(st.data(), st.sampled_from([*KINDS]))
def test_what_is_altered_has_something_wrong_where_it_does_not_parse_and_parses_where_nothing_is(
    data: st.DataObject, kind: str
) -> None:
    raw = bytearray(KINDS[kind].with_(signature=b"s" * 64, inside=EXTENSION, beside=EXTENSION).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    tree = dissect_assertion(bytes(raw))
    assert not list(unnamed(tree))
    if parses(bytes(raw)):
        problems = [node.problem for node in known(tree)]
        assert not [problem for problem in problems if any(word in problem for word in OF_STRUCTURE)]
    else:
        assert tree.problems


def test_what_is_inside_of_an_unknown_composite_is_wrong_to_the_reader_only() -> None:
    inside = tlv(0x1005, b"\x01\x02\x03")
    raw = KINDS["full"].with_(signature=b"s" * 64, beside=inside).encode()
    assert parses(raw)
    assert any("no tag and length" in problem for problem in dissect_assertion(raw).problems)


@pytest.mark.parametrize("kind", KINDS)
def test_every_header_byte_changed_is_wrong_to_both_or_to_neither(kind: str) -> None:
    raw = KINDS[kind].with_(signature=b"s" * 64, beside=EXTENSION).encode()
    for offset in range(len(raw)):
        for value in (0, 1, 0xFF, raw[offset] ^ 1, raw[offset] ^ 0x80):
            altered = raw[:offset] + bytes([value]) + raw[offset + 1 :]
            assert parses(altered) or dissect_assertion(altered).problems, offset


def test_more_than_could_be_an_assertion_is_refused() -> None:
    assert dissect_assertion(bytes(MAX_BYTES)).problems
    with pytest.raises(MalformedError):
        dissect_assertion(bytes(MAX_BYTES + 1))


def test_a_tree_is_json_for_an_inspector() -> None:
    tree = dissect_assertion(Assertion().encode())
    assert msgspec.json.decode(msgspec.json.encode(tree), type=Node) == tree
    assert json.loads(msgspec.json.encode(tree))["children"][0]["name"] == "UAFV1_REG_ASSERTION"


def test_how_the_user_was_verified_is_taken_apart() -> None:
    data = bytes.fromhex("0200000006000200" + "0400000001000100")
    uvm = tlv(0x3E12, tlv(0x2E13, b"fido.uaf.uvm"), tlv(0x2E14, data))
    tree = dissect_assertion(AUTHENTICATION.with_(inside=uvm).encode())
    assert not tree.problems
    assert not list(unnamed(tree))
    parts = next(node for _, node in tree.walk() if node.name == "EXTENSION_DATA").children
    assert [(part.name, part.value) for part in parts[:3]] == [
        ("userVerificationMethod", 2),
        ("keyProtection", 6),
        ("matcherProtection", 2),
    ]
    assert len(parts) == 6
    for wrong in (b"", bytes(7), bytes(32)):
        bad = tlv(0x3E12, tlv(0x2E13, b"fido.uaf.uvm"), tlv(0x2E14, wrong))
        tree = dissect_assertion(AUTHENTICATION.with_(inside=bad).encode())
        assert not list(unnamed(tree))
        assert tree.problems
