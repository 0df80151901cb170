"""Every kind is recognised, named byte by byte, and refused by one error only."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from fidoloop.bridge import qr_images
from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.inspect.content import MAX_BYTES
from fidoloop.protocol.inspect.kinds import KINDS, UnreadableError, inspect
from fidoloop.protocol.inspect.node import Node

from ..builders import tlv
from ..evidence import builders as evidence
from .examples import DPOP, JWK, KEY, PRIVATE_D, certificates_of, examples, statement_jwt, tokens

CASES = [
    pytest.param(kind, data, id=f"{kind}-{index}")
    for kind, datas in examples().items()
    for index, data in enumerate(datas)
]


def read_image(content: bytes) -> list[str]:
    return qr_images.read_bytes(content, "image")


@pytest.mark.parametrize(("kind", "data"), CASES)
def test_every_kind_is_guessed_and_what_is_right_has_no_problem(kind: str, data: bytes) -> None:
    found = inspect(data, read_image=read_image)
    assert found.kind == kind, found
    assert found.verified is None
    check_places(found.tree)
    assert not [one for one in found.problems if not expected(one)]


def expected(problem: str) -> bool:
    """Tell whether a problem is one that a published example really has."""
    return any(one in problem for one in EXPECTED)


EXPECTED = ("not shown", "2 tries left", "somebody has logged in")


def check_places(node: Node) -> None:
    """Children lie within their parent, one after the other; a coding begins anew at 0."""
    at = 0 if node.coding else node.offset
    for child in node.children:
        assert child.offset >= at, (node.name, child.name)
        assert node.coding or child.offset + child.length <= node.offset + node.length, (node.name, child.name)
        at = child.offset + child.length
        check_places(child)


@pytest.mark.parametrize("end", range(256))
def test_hexadecimal_is_guessed_whatever_it_ends_in(end: int) -> None:
    """As text its last two bytes may be a status word."""
    found = inspect(tlv(0x2E0F, bytes([0, 0, 0, 0, 0, 0, 0, end])).hex().encode())
    assert (found.kind, found.coding) == ("tlv", "hexadecimal")


def test_there_is_an_example_of_every_kind() -> None:
    assert set(examples()) == set(KINDS)


@pytest.mark.parametrize("title", tokens())
def test_every_kind_of_jwt_is_told(title: str) -> None:
    found = inspect(tokens()[title].encode())
    assert found.tree.name == title
    assert not found.problems


@pytest.mark.parametrize(("kind", "data"), CASES)
def test_any_kind_as_any_other_is_read_or_refused(kind: str, data: bytes) -> None:
    for other in KINDS:
        with suppress(UnreadableError):
            assert inspect(data, kind=other, read_image=lambda _: []).kind == other


BYTES = st.binary(max_size=200) | st.sampled_from([data for all_ in examples().values() for data in all_])


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning", "ignore::UserWarning")
@given(data=BYTES, cut=st.integers(0, 400), flip=st.integers(0, 4000), kind=st.sampled_from([None, *KINDS]))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_read_or_refused_by_the_one_error(data: bytes, cut: int, flip: int, kind: str | None) -> None:
    broken = bytearray(data[: max(1, len(data) - cut)] if cut < 200 else data)
    if broken:
        broken[flip % len(broken)] ^= 1 << flip % 8
    with suppress(UnreadableError):
        assert inspect(bytes(broken), kind=kind, key=KEY.public_key(), read_image=lambda _: ["text"]).tree.name


TEXTS = (r"eyJ[\w-]{0,40}(\.[\w-]{0,40}){0,5}", r"[\[{].{0,60}")


@given(text=st.text(max_size=100) | st.sampled_from(TEXTS).flatmap(st.from_regex))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_by_the_one_error(text: str) -> None:
    with suppress(UnreadableError):
        assert inspect(text.encode("utf-8", "surrogatepass")).tree.name


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"x" * (MAX_BYTES + 1), "more than"),
        (b"hello, world", "none of the kinds"),
        (b"{", "none of the kinds"),
        (b"[" * 5000, "none of the kinds"),
        (b"\x89PNG\r\n\x1a\n", "images are not read here"),
    ],
)
def test_what_is_nothing_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(UnreadableError, match=what):
        inspect(data)


def test_things_inside_things_have_an_end() -> None:
    text = '{"a":1}'
    for _ in range(7):
        text = strictjson.encode({"a": text})
    names = [node.name for _, node in inspect(text.encode()).tree.walk()]
    assert 3 < len(names) < 20


def values(node: Node) -> dict[str, Any]:
    return {one.name: one.value for _, one in node.walk()}


def test_private_keys_are_told_and_never_shown() -> None:
    private = {**JWK.members, "d": PRIVATE_D}
    for given_ in (
        json.dumps(private),
        json.dumps({"keys": [private]}),
        json.dumps({"cnf": {"jwk": private}}),
        json.dumps({"text": json.dumps(private)}),
    ):
        found = inspect(given_.encode())
        assert any("private, not shown" in one for one in found.problems)
        assert PRIVATE_D not in repr(found)
    for data in examples()["private-key"]:
        found = inspect(data)
        assert KEY.private_numbers().private_value.to_bytes(32).hex() not in repr(found)
        assert found.problems


def test_the_hardwares_evidence_in_a_token_is_taken_apart() -> None:
    names = [node.name for _, node in inspect(tokens()["device evidence (EAT, RFC 9711)"].encode()).tree.walk()]
    assert {"media type", "tbsCertificate", "PIV attestation: firmware"} <= set(names)


def test_the_certificates_in_a_header_are_taken_apart() -> None:
    x5c = [base64.b64encode(der).decode() for der in certificates_of("packed")]
    found = inspect(jose.sign_compact(b"{}", KEY, {"x5c": x5c}).encode())
    assert "tbsCertificate" in {node.name for _, node in found.tree.walk()}
    assert not found.problems
    broken = inspect(jose.sign_compact(b"{}", KEY, {"x5c": ["!"]}).encode())
    assert any("x5c/[0]" in one and "not base64" in one for one in broken.problems)


def test_several_pem_blocks_are_read_each() -> None:
    chain = (
        evidence.device().public_bytes(Encoding.PEM)
        + examples()["private-key"][0]
        + b"-----BEGIN X-----\n-----END X-----"
    )
    found = inspect(b"Some words before\n" + chain)
    assert [node.name for node in found.tree.children] == ["certificate", "private key", "X"]


def test_only_a_blob_may_be_large() -> None:
    entry = {"aaid": "F10B#0112", "metadataStatement": {"description": "x" * 1000}}
    blob = statement_jwt(None, {"no": 1, "nextUpdate": "2027-01-01", "entries": [entry] * 400})
    found = inspect(blob.encode())
    assert found.tree.name == "a BLOB of the FIDO metadata service"
    assert len(found.problems) == 400
    for large in (statement_jwt(None, {"a": "x" * 300_000}), "eyJ" * 100_000):
        with pytest.raises(UnreadableError):
            inspect(large.encode())
    with pytest.raises(UnreadableError, match="more than"):
        inspect(blob.encode(), kind="cbor")


@pytest.mark.parametrize(
    "data",
    [
        b"-----BEGIN A-----" * 15_000,
        b'{"a":' * 15 + b"[" + b"1," * 60_000 + b"1]" + b"}" * 15,
        b'["' + b"eyJ" * 80_000 + b'"]',
        b"ab " * 80_000,
        b"\x30\x80" * 120_000,
        b"\x81" * 250_000,
        b"a.b" * 80_000,
    ],
    ids=range(7),
)
def test_what_is_large_and_odd_comes_to_an_end(data: bytes) -> None:
    assert len(data) <= MAX_BYTES
    with suppress(UnreadableError):
        assert inspect(data).tree.name


def test_a_pin_in_an_apdu_is_not_shown() -> None:
    found = inspect(bytes.fromhex("0020008008313233343536ffff"))
    assert "313233343536" not in repr(found)


def test_a_proof_says_what_it_says_with_its_places() -> None:
    tree = inspect(DPOP.encode()).tree
    said = values(tree)
    assert (said["htm"], said["htu"], said["alg"]) == ("POST", "https://as.example/token", "ES256")
    header, payload, signature = tree.children
    parts = DPOP.split(".")
    assert [DPOP[node.offset : node.offset + node.length] for node in (header, payload, signature)] == parts
