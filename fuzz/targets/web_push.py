"""Web Push messages and subscriptions."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import strictjson, web_push
from fidoloop.protocol.errors import MalformedError
from fuzz.properties import accepted, text
from fuzz.targets.jws import key

MAX_BYTES = 4200
_AUTH, _SALT = b"a" * web_push.AUTH_BYTES, b"s" * web_push.SALT_BYTES
DICTIONARY = (b'"endpoint"', b'"keys"', b'"p256dh"', b'"auth"', b"https://", b"\x00\x00\x10\x00\x41\x04", b"@", b"#")


def check(data: bytes) -> None:
    """A body, a plaintext and a subscription: what is encrypted is decrypted, by this key and secret only."""
    refusals = (MalformedError, web_push.PushRefusal)
    accepted(lambda: web_push.decrypt(data, key(), _AUTH), *refusals)
    if len(data) <= web_push.MAX_PLAINTEXT_BYTES:
        ours = web_push.Subscription("https://push.example/1", key().public_key(), _AUTH)
        body = web_push.encrypt(
            data, ours, ephemeral_key=ec.derive_private_key(3, ec.SECP256R1()), salt=(data + _SALT)[: len(_SALT)]
        )
        assert len(body) <= web_push.MAX_BODY_BYTES
        assert web_push.decrypt(body, key(), _AUTH) == data
        assert accepted(lambda: web_push.decrypt(body, key(), _AUTH[::-1][1:] + b"b"), *refusals) is None
    found = accepted(lambda: web_push.parse_subscription(text(data)), MalformedError)
    if found is not None:
        assert web_push.parse_subscription(web_push.encode_subscription(found)) == found
        assert found.origin.startswith(("http://", "https://"))
        assert "@" not in found.origin


def seeds() -> Iterator[bytes]:
    """Yield messages and subscriptions."""
    subscription = web_push.Subscription("https://push.example/1?x=y", key().public_key(), _AUTH)
    yield web_push.encode_subscription(subscription).encode()
    yield strictjson.encode({"endpoint": "http://[::1]:8080/a", "keys": {"p256dh": "", "auth": ""}}).encode()
    for plaintext in (b"", b'{"nma_data":"x"}', bytes(100)):
        ephemeral = ec.derive_private_key(5, ec.SECP256R1())
        yield web_push.encrypt(plaintext, subscription, ephemeral_key=ephemeral, salt=_SALT)
