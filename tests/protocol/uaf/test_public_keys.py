import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fidoloop.protocol.uaf.public_keys import encode_public_key, load_public_key
from fidoloop.protocol.uaf.registry import PublicKeyFormat
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

from ..builders import numbered, p256, point, rsa2048, spki

RAW, DER = PublicKeyFormat.ECC_X962_RAW, PublicKeyFormat.ECC_X962_DER
K1 = ec.derive_private_key(77, ec.SECP256K1())


def key_with_leading_zero(coordinate: int) -> ec.EllipticCurvePrivateKey:
    number = 0
    while point(p256(number))[1 + 32 * coordinate] != 0:
        number += 1
    return p256(number)


@pytest.mark.parametrize("key", [p256(), key_with_leading_zero(0), key_with_leading_zero(1)], ids=["any", "x", "y"])
def test_a_key_reads_back_in_both_formats_leading_zeros_included(key: ec.EllipticCurvePrivateKey) -> None:
    for key_format, data in ((RAW, point(key)), (DER, spki(key))):
        assert load_public_key(key_format, data) == key.public_key()
        assert encode_public_key(key_format, key.public_key()) == data


@pytest.mark.parametrize(
    ("key_format", "data"),
    numbered(
        (RAW, b""),
        (RAW, point(p256())[:-1]),
        (RAW, point(p256()) + b"\x00"),
        (RAW, point(p256())[1:]),
        (RAW, p256().public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)),
        (RAW, b"\x06" + point(p256())[1:]),
        (RAW, b"\x04" + bytes(64)),
        (RAW, b"\x04" + b"\xff" * 64),
        (RAW, point(p256())[:-1] + bytes([point(p256())[-1] ^ 1])),
        (RAW, point(K1)),
        (RAW, spki(p256())),
        (DER, b""),
        (DER, point(p256())),
        (DER, spki(p256())[:-1]),
        (DER, spki(p256()) + b"\x00"),
        (DER, spki(K1)),
        (DER, spki(ec.derive_private_key(77, ec.SECP384R1()))),
        (DER, spki(rsa2048())),
        (DER, spki(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))),
        (0x102, bytes(259)),
        (0x103, spki(rsa2048())),
        (0x104, b"\xa0"),
        (0, point(p256())),
        (0x103, spki(p256())),
    ),
)
def test_what_is_no_key_of_its_format_is_refused(key_format: int, data: bytes) -> None:
    with pytest.raises(UafRefusal) as caught:
        load_public_key(key_format, data)
    assert caught.value.status is StatusCode.UNACCEPTABLE_KEY


def test_a_format_of_rsa_keys_holds_no_ec_key() -> None:
    with pytest.raises(ValueError, match="does not hold"):
        encode_public_key(PublicKeyFormat.RSA_2048_RAW, p256().public_key())
