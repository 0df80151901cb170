"""Web Push messages: subscriptions (W3C Push API 7.1) and their encryption (RFC 8291 over RFC 8188, aes128gcm)."""

import re
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Meta

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.facets import origin

CONTENT_ENCODING: Final = "aes128gcm"
MAX_BODY_BYTES: Final = 4096
"""What every push service takes (RFC 8030 section 7.2)."""
POINT_BYTES: Final = 65
AUTH_BYTES: Final = 16
SALT_BYTES: Final = 16
_TAG_BYTES = 16
_HEAD_BYTES = SALT_BYTES + 4 + 1 + POINT_BYTES
_LAST_RECORD = b"\x02"
MAX_PLAINTEXT_BYTES: Final = MAX_BODY_BYTES - _HEAD_BYTES - len(_LAST_RECORD) - _TAG_BYTES
MAX_ENDPOINT_CHARACTERS: Final = 2048
MIN_RECORD_BYTES = len(_LAST_RECORD) + _TAG_BYTES + 1
_PRINTABLE = re.compile(r"[!-~]+")


class PushRefusal(ValueError):
    """A push message is well formed and does not decrypt. Says nothing of the content."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where to push, and to whom: the receiver's public key (uncompressed P-256 point) and the secret it shares."""

    endpoint: str
    public_key: ec.EllipticCurvePublicKey
    auth: bytes

    @property
    def origin(self) -> str:
        """The push service's origin, the audience of VAPID tokens."""
        return str(origin(self.endpoint))


class _Keys(msgspec.Struct, frozen=True):
    p256dh: Annotated[str, Meta(max_length=128)]
    auth: Annotated[str, Meta(max_length=64)]


class _PushSubscription(msgspec.Struct, frozen=True):
    endpoint: Annotated[str, Meta(min_length=1, max_length=MAX_ENDPOINT_CHARACTERS)]
    keys: _Keys


def parse_subscription(text: str, where: str = "$.target") -> Subscription:
    """Return the PushSubscription in the JSON `text`: {endpoint, keys: {p256dh, auth}}; other members are let pass.

    Raises:
        MalformedError: no such object, an endpoint that is no plain http(s) URL, a point off P-256, or no 16 bytes.
    """
    found = strictjson.decode(text, _PushSubscription, where)
    check_endpoint(found.endpoint, f"{where}.endpoint")
    # Browsers write both without padding, some libraries with.
    point = base64url.decode(found.keys.p256dh, f"{where}.keys.p256dh", padding_allowed=True)
    auth = base64url.decode(found.keys.auth, f"{where}.keys.auth", padding_allowed=True)
    if len(auth) != AUTH_BYTES:
        raise MalformedError(f"{where}.keys.auth", f"not {AUTH_BYTES} bytes")
    return Subscription(found.endpoint, public_key_of(point, f"{where}.keys.p256dh"), auth)


def encode_subscription(subscription: Subscription) -> str:
    """Return the JSON text of a PushSubscription."""
    keys = _Keys(base64url.encode(point_of(subscription.public_key)), base64url.encode(subscription.auth))
    return strictjson.encode(_PushSubscription(subscription.endpoint, keys))


def check_endpoint(url: str, where: str = "$") -> None:
    """Refuse what is no plain http(s) URL: another scheme, credentials, a fragment, or what no URL holds.

    Raises:
        MalformedError: it is one of these.
    """
    if not _PRINTABLE.fullmatch(url) or origin(url) is None:
        raise MalformedError(where, "not an http(s) URL")
    parts = urlsplit(url)
    if "@" in parts.netloc or "#" in url:
        raise MalformedError(where, "a URL with credentials or a fragment")


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a key as its uncompressed point, 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def public_key_of(point: bytes, where: str = "$") -> ec.EllipticCurvePublicKey:
    """Return the P-256 key of an uncompressed point. Raises MalformedError."""
    if len(point) != POINT_BYTES:
        raise MalformedError(where, f"not a point of {POINT_BYTES} bytes")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        raise MalformedError(where, "not a point of P-256") from None


def encrypt(
    plaintext: bytes, subscription: Subscription, *, ephemeral_key: ec.EllipticCurvePrivateKey, salt: bytes
) -> bytes:
    """Return the body of a push message: one record, 103 bytes longer than `plaintext` (RFC 8291 section 3, 4).

    `ephemeral_key` (P-256) and `salt` (16 bytes) are random and for this message only.

    Raises:
        ValueError: more than MAX_PLAINTEXT_BYTES.
    """
    if len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise ValueError(f"{len(plaintext)} bytes, at most {MAX_PLAINTEXT_BYTES} fit in a push message")
    sender = point_of(ephemeral_key.public_key())
    secret = ephemeral_key.exchange(ec.ECDH(), subscription.public_key)
    key, nonce = _derive(secret, subscription.auth, point_of(subscription.public_key), sender, salt)
    head = salt + MAX_BODY_BYTES.to_bytes(4) + bytes((POINT_BYTES,)) + sender
    return head + AESGCM(key).encrypt(nonce, plaintext + _LAST_RECORD, None)


def decrypt(body: bytes, private_key: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """Return the plaintext of the body of a push message.

    Raises:
        MalformedError: not one aes128gcm record with its sender's key, or more than 4096 bytes.
        PushRefusal: it does not decrypt, or is padded as no single record is.
    """
    if len(body) > MAX_BODY_BYTES:
        raise MalformedError("$", f"{len(body)} bytes, at most {MAX_BODY_BYTES} allowed")
    if len(body) < _HEAD_BYTES + MIN_RECORD_BYTES - 1 or body[SALT_BYTES + 4] != POINT_BYTES:
        raise MalformedError("$", "no aes128gcm message with a P-256 key as its keyid")
    salt, sender, record = body[:SALT_BYTES], body[_HEAD_BYTES - POINT_BYTES : _HEAD_BYTES], body[_HEAD_BYTES:]
    record_bytes = int.from_bytes(body[SALT_BYTES : SALT_BYTES + 4])
    if record_bytes < MIN_RECORD_BYTES or len(record) > record_bytes:
        raise MalformedError("$", "not a single record (RFC 8291 section 4)")
    secret = private_key.exchange(ec.ECDH(), public_key_of(sender, "$ keyid"))
    key, nonce = _derive(secret, auth, point_of(private_key.public_key()), sender, salt)
    try:
        padded = AESGCM(key).decrypt(nonce, record, None)
    except InvalidTag:
        raise PushRefusal("the push message is not for this subscription, or was changed on its way") from None
    plaintext = padded.rstrip(b"\0")
    if not plaintext.endswith(_LAST_RECORD):
        raise PushRefusal("the push message does not end with its record")
    return plaintext[:-1]


def _derive(secret: bytes, auth: bytes, receiver: bytes, sender: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Return content-encryption key and nonce (RFC 8291 section 3.4)."""
    material = _hkdf(salt=auth, info=b"WebPush: info\0" + receiver + sender, length=32).derive(secret)
    key = _hkdf(salt=salt, info=b"Content-Encoding: aes128gcm\0", length=16).derive(material)
    return key, _hkdf(salt=salt, info=b"Content-Encoding: nonce\0", length=12).derive(material)


def _hkdf(*, salt: bytes, info: bytes, length: int) -> HKDF:
    return HKDF(hashes.SHA256(), length, salt, info)
