"""What carries a dispatched token: payload, link, QR content, and what is encrypted in it."""

from collections.abc import Iterator
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.bridge.qr_content import foreign_kind, our_token
from fidoloop.protocol import jose, outofband, strictjson
from fidoloop.protocol.errors import MalformedError
from fuzz.properties import accepted, outcome, text

MAX_BYTES = 1 << 13
DICTIONARY = (
    b'"nma_data"', b'"nma_data_content_type"', b'"application/json"', b'"application/jose"', b'"nma_data_version"',
    b'"token"', b'"redeem_url"', b"dispatchTokenResponse=", b"https://", b"://", b"eyJ", b"wifi:", b"%00",
)  # fmt: skip
_ENCRYPTED = 0x00


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0x5EED, ec.SECP256R1())


def check(data: bytes) -> None:
    """A payload is the same by QR, link and text; after a zero byte the rest is what is encrypted to a known key."""
    if data[:1] == bytes((_ENCRYPTED,)):
        _encrypted(data[1:])
        return
    scanned = text(data)
    assert foreign_kind(scanned).isprintable()
    payload = accepted(lambda: outofband.decode_scanned(scanned), MalformedError)
    chosen = outcome(lambda: our_token([scanned, "https://else.example"], "the image"), MalformedPayloadError)
    assert (payload is None) == isinstance(chosen, MalformedPayloadError)
    if payload is None:
        return
    written = strictjson.encode(payload)
    if len(written) <= outofband.MAX_PAYLOAD_CHARACTERS // 2:
        for form in (written, outofband.qr_text(written), outofband.link("https://a.example/x?y=1", written)):
            assert outofband.decode_scanned(form) == payload
    accepted(lambda: outofband.open_payload(payload, _key()), MalformedError, jose.JoseRefusal)


def _encrypted(plaintext: bytes) -> None:
    recipient = jose.public_jwk(_key().public_key())
    payload = outofband.Payload(jose.encrypt_compact(plaintext, recipient), outofband.ENCRYPTED)
    found = accepted(lambda: outofband.open_payload(payload, _key()), MalformedError, jose.JoseRefusal)
    if found is not None:
        assert found.members == strictjson.loads(plaintext)
        assert found.members["token"] == found.token


def seeds() -> Iterator[bytes]:
    """Yield payloads in every form, and other things that QR codes hold."""
    data = {"token": "t0ken", "redeem_url": "https://a.example/nevisfido/token/redeem/authentication"}
    for recipient in (None, jose.public_jwk(_key().public_key())):
        payload = outofband.encode_payload(data, recipient)
        yield payload.encode()
        yield outofband.qr_text(payload).encode()
        yield outofband.link("https://a.example/open?x=1", payload).encode()
    yield b"\0" + strictjson.encode(data).encode()
    yield b"WIFI:S:lab;T:WPA;P:secret;;"
    yield b"https://user:pw@else.example/path"
    yield b"FIDO:/0123456789"
