"""KeyDescription made by hand, and certificates that carry one."""

import base64
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol.uaf.key_description import KEY_DESCRIPTION

from ..builders import MIDDLE_KEY, USER_KEY, certificate, fc_hash, fc_params, middle, p256, to_der


def der(tag: bytes, *values: bytes) -> bytes:
    value = b"".join(values)
    if len(value) < 128:
        return tag + bytes([len(value)]) + value
    return tag + (b"\x81" + bytes([len(value)]) if len(value) < 256 else b"\x82" + len(value).to_bytes(2)) + value


def integer(number: int, tag: bytes = b"\x02") -> bytes:
    return der(tag, number.to_bytes(number.bit_length() // 8 + 1))


def explicit(number: int, value: bytes) -> bytes:
    if number < 31:
        return der(bytes([0xA0 | number]), value)
    return der(bytes([0xBF, 0x80 | number >> 7, number & 0x7F]), value)


def integers(*numbers: int) -> bytes:
    return der(b"\x31", *(integer(number) for number in numbers))


NULL = b"\x05\x00"
# What a key for UAF is authorized for, by the numbers of the schema; 10 (ecCurve) is one that nobody here looks at.
AUTHORIZED: dict[int, bytes] = {
    1: integers(2),
    2: integer(3),
    3: integer(256),
    5: integers(4),
    10: integer(1),
    504: integer(2),
    702: integer(0),
    704: der(b"\x30", der(b"\x04", b"boot key"), b"\x01\x01\xff"),
}


def authorizations(changes: dict[int, bytes | None]) -> bytes:
    found = {**AUTHORIZED, **changes}
    return der(b"\x30", *(explicit(number, value) for number, value in sorted(found.items()) if value is not None))


def description(
    *,
    challenge: bytes | None = None,
    levels: tuple[int, int] = (1, 1),
    tee: dict[int, bytes | None] | None = None,
    software: dict[int, bytes | None] | None = None,
) -> bytes:
    """Returns a KeyDescription; the list that is not given holds nothing but a creation time."""
    creation = {**dict.fromkeys(AUTHORIZED), 701: integer(1)}
    return der(
        b"\x30",
        integer(4),
        integer(levels[0], b"\x0a"),
        integer(41),
        integer(levels[1], b"\x0a"),
        der(b"\x04", fc_hash(fc_params()) if challenge is None else challenge),
        der(b"\x04"),
        authorizations(creation if software is None else software),
        authorizations(creation if tee is None else tee),
    )


def attested(value: bytes | None, key: Any = None) -> x509.Certificate:  # noqa: ANN401 - any private key
    extension = None if value is None else (x509.UnrecognizedExtension(KEY_DESCRIPTION, value), False)
    return certificate(
        "Android Keystore Key", key or p256(USER_KEY), "middle", p256(MIDDLE_KEY), ca=None, extension=extension
    )


def as_data(*chain: x509.Certificate) -> str:
    return json.dumps([base64.b64encode(to_der(one)).decode() for one in chain])


def key_attestation(*, key: ec.EllipticCurvePrivateKey | None = None, **changes: Any) -> str:  # noqa: ANN401
    """Returns the extension's data for a key in a TEE, and with changes to its description."""
    return as_data(attested(description(**{"tee": {}, **changes}), key), middle())
