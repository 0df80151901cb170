"""Compact JWE: what an encrypted payload is in."""

from collections.abc import Iterator
from functools import cache

from joserfc import jwe
from joserfc.errors import JoseError

from fidoloop.protocol import base64url, jose
from fidoloop.protocol.errors import MalformedError
from fuzz.properties import accepted, json_or, split, text
from fuzz.targets.jws import key

MAX_BYTES = 1 << 13
DICTIONARY = (
    b'"alg"', b'"enc"', b'"ECDH-ES+A256KW"', b'"ECDH-ES"', b'"RSA-OAEP-256"', b'"A256GCM"', b'"A128GCM"', b'"zip"',
    b'"DEF"', b'"epk"', b'"kid"', b'"apu"', b'"apv"', b'"crit"', b'"kty"', b'"EC"', b'"OKP"', b'"X25519"', b'"crv"',
    b'"P-256"', b'"P-521"', b'"x"', b'"y"', b'"p2c"', b'"dir"', b'"A256KW"', b'"PBES2-HS256+A128KW"', b"\n\n",
)  # fmt: skip


def check(data: bytes) -> None:
    """A token as it is; and a header and plaintext, an empty line between, encrypted as the header has it.

    Only what the allow-list has is decrypted, and to what was encrypted.
    """
    refusals = (MalformedError, jose.JoseRefusal)
    token = text(data)
    accepted(lambda: jose.key_id(token), *refusals)
    accepted(lambda: jose.decrypt_compact(token, key()), *refusals)
    header, plaintext = split(data, 2)
    # The rest of a good token behind a header that is anything.
    good, _, rest = _token().partition(".")
    forged = accepted(lambda: jose.decrypt_compact(f"{base64url.encode(header)}.{rest}", key()), *refusals)
    assert forged is None or base64url.encode(header) == good
    members = json_or(header, None)
    if isinstance(members, dict):
        _encrypted(members, plaintext)


def _encrypted(header: dict[str, object], plaintext: bytes) -> None:
    jose_key = jose._jose_public_key(jose.public_jwk(key().public_key()))
    try:
        token = jwe.encrypt_compact(header, plaintext, jose_key, _ANY)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return  # no header to encrypt with
    found = accepted(lambda: jose.decrypt_compact(token, key()), MalformedError, jose.JoseRefusal)
    if found is not None:
        assert found == plaintext
        assert header["alg"] in jose.DECRYPTION_ALGORITHMS
        assert header["enc"] in jose.DECRYPTION_ENCODINGS
        assert "zip" not in header


_ANY = ["ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW", "A128GCM", "A256GCM", "A128CBC-HS256", "DEF"]


@cache
def _token() -> str:
    return jose.encrypt_compact(b"{}", jose.public_jwk(key().public_key()))


def seeds() -> Iterator[bytes]:
    """Yield tokens of both algorithms, headers and plaintexts."""
    recipient = jose.public_jwk(key().public_key())
    for plaintext in (b"{}", b'{"token":"t","redeem_url":"https://a.example"}'):
        yield jose.encrypt_compact(plaintext, recipient).encode()
    yield b'{"alg":"ECDH-ES","enc":"A128GCM"}\n\n{}'
    yield b'{"alg":"ECDH-ES+A256KW","enc":"A256GCM","apu":"QQ","apv":"Qg"}\n\n{}'
    yield b'{"alg":"ECDH-ES","enc":"A256GCM","zip":"DEF"}\n\n' + bytes(200)
    header = base64url.decode(_token().partition(".")[0])
    yield header + b"\n\n{}"
