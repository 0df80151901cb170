import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.uaf.algorithms import ALGORITHMS
from fidoloop.protocol.uaf.public_keys import encode_public_key, holds, load_public_key
from fidoloop.protocol.uaf.registry import PublicKeyFormat
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

from ..builders import numbered, p256, point, rsa2048, spki
from ..signers import (
    ALGORITHM_AND_FORMAT,
    ALL,
    COSE_ALGORITHMS,
    ED448,
    ED25519,
    cbor_bytes,
    cbor_int,
    cbor_map,
    cose,
    key_of,
    keys_of,
    other_rsa,
    pkcs1,
    rsa_raw,
)

RAW, DER = PublicKeyFormat.ECC_X962_RAW, PublicKeyFormat.ECC_X962_DER
RSA_RAW, RSA_DER, COSE = PublicKeyFormat.RSA_2048_RAW, PublicKeyFormat.RSA_2048_DER, PublicKeyFormat.COSE
ES256, PS256, EDDSA = 0x01, 0x03, 0x12
K1 = ec.derive_private_key(77, ec.SECP256K1())
P384 = ec.derive_private_key(77, ec.SECP384R1())


def refusal(algorithm: int, key_format: int, data: bytes) -> StatusCode:
    with pytest.raises(UafRefusal) as caught:
        load_public_key(algorithm, key_format, data)
    return caught.value.status


@pytest.mark.parametrize(("algorithm", "key_format"), ALGORITHM_AND_FORMAT)
def test_a_key_of_every_algorithm_is_read_and_written_in_every_format_that_holds_it(
    algorithm: int, key_format: int
) -> None:
    data, key = keys_of(algorithm)[key_format], key_of(algorithm).public_key()
    assert load_public_key(algorithm, key_format, data) == key
    assert encode_public_key(PublicKeyFormat(key_format), key, algorithm) == data


def test_every_algorithm_on_the_list_has_a_format() -> None:
    assert {algorithm for algorithm, _ in ALGORITHM_AND_FORMAT} == set(ALGORITHMS)
    for algorithm in ALL:
        for key_format in PublicKeyFormat:
            assert holds(key_format, ALGORITHMS[algorithm]) is ((algorithm, key_format) in ALGORITHM_AND_FORMAT)


def key_with_leading_zero(coordinate: int) -> ec.EllipticCurvePrivateKey:
    number = 0
    while point(p256(number))[1 + 32 * coordinate] != 0:
        number += 1
    return p256(number)


@pytest.mark.parametrize("key", [key_with_leading_zero(0), key_with_leading_zero(1)], ids=["x", "y"])
def test_a_coordinate_with_a_leading_zero_is_read_and_written_whole(key: ec.EllipticCurvePrivateKey) -> None:
    for key_format, data in ((RAW, point(key)), (DER, spki(key)), (COSE, cose(ES256, key))):
        assert load_public_key(ES256, key_format, data) == key.public_key()
        assert encode_public_key(key_format, key.public_key(), ES256) == data


def test_a_subject_public_key_info_is_read_where_the_format_says_der_rsa_key() -> None:
    assert load_public_key(PS256, RSA_DER, spki(rsa2048())) == rsa2048().public_key()


def test_the_newer_names_of_a_cose_algorithm_are_read() -> None:
    assert load_public_key(ES256, COSE, cose(ES256, p256(), -9)) == p256().public_key()
    for algorithm, name in ((0x10, -51), (0x11, -52), (ED25519, -19), (ED448, -53)):
        key = key_of(algorithm)
        assert load_public_key(algorithm, COSE, cose(algorithm, key, name)) == key.public_key()


def test_a_cose_key_may_be_an_rsa_key_of_up_to_4096_bits() -> None:
    key = other_rsa(3072).public_key()
    assert load_public_key(PS256, COSE, encode_public_key(COSE, key, PS256)) == key


N, E = rsa_raw(rsa2048())[:256], rsa_raw(rsa2048())[256:]
X, Y = point(p256())[1:33], point(p256())[33:]
KTY2, ALG7, CRV1 = (1, cbor_int(2)), (3, cbor_int(-7)), (-1, cbor_int(1))
OKP_REST = ((3, cbor_int(-8)), (-1, cbor_int(6)), (-2, cbor_bytes(key_of(EDDSA).public_key().public_bytes_raw())))
X_, Y_ = (-2, cbor_bytes(X)), (-3, cbor_bytes(Y))


@pytest.mark.parametrize(
    ("algorithm", "key_format", "data"),
    numbered(
        (ES256, RAW, b""),
        (ES256, RAW, point(p256())[:-1]),
        (ES256, RAW, point(p256()) + b"\x00"),
        (ES256, RAW, point(p256())[1:]),
        (ES256, RAW, p256().public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)),
        (ES256, RAW, b"\x06" + point(p256())[1:]),
        (ES256, RAW, b"\x04" + bytes(64)),
        (ES256, RAW, b"\x04" + b"\xff" * 64),
        (ES256, RAW, point(p256())[:-1] + bytes([point(p256())[-1] ^ 1])),
        (ES256, RAW, point(K1)),
        (0x05, RAW, point(p256())),
        (0x10, RAW, point(p256())),
        (ES256, RAW, point(P384)),
        (ES256, RAW, spki(p256())),
        (ES256, DER, b""),
        (ES256, DER, point(p256())),
        (ES256, DER, spki(p256())[:-1]),
        (ES256, DER, spki(p256()) + b"\x00"),
        (ES256, DER, spki(K1)),
        (0x06, DER, spki(p256())),
        (ES256, DER, spki(P384)),
        (ES256, DER, spki(rsa2048())),
        (ES256, DER, spki(key_of(EDDSA))),
        (EDDSA, DER, spki(key_of(EDDSA))),
        (EDDSA, RAW, key_of(EDDSA).public_key().public_bytes_raw()),
        (PS256, DER, spki(rsa2048())),
        (PS256, RAW, point(p256())),
        (ES256, RSA_RAW, rsa_raw(rsa2048())),
        (ES256, RSA_DER, spki(p256())),
        (ES256, RSA_DER, pkcs1(rsa2048())),
        (PS256, RSA_RAW, b""),
        (PS256, RSA_RAW, N),
        (PS256, RSA_RAW, bytes(256) + E),
        (PS256, RSA_RAW, b"\x00" + N + E),
        (PS256, RSA_RAW, N + b"\x00"),
        (PS256, RSA_RAW, N + b"\x01"),
        (PS256, RSA_RAW, N + b"\x02"),
        (PS256, RSA_RAW, N + b"\x01" + bytes(3) + b"\x01"),
        (PS256, RSA_RAW, N + b"\xff" * 9),
        (PS256, RSA_RAW, pkcs1(rsa2048())),
        (PS256, RSA_DER, b""),
        (PS256, RSA_DER, rsa_raw(rsa2048())),
        (PS256, RSA_DER, pkcs1(rsa2048())[:-1]),
        (PS256, RSA_DER, pkcs1(rsa2048()) + b"\x00"),
        (PS256, RSA_DER, spki(p256())),
        (PS256, RSA_DER, pkcs1(other_rsa(1024))),
        (PS256, RSA_DER, spki(other_rsa(3072))),
        (ES256, COSE, b""),
        (ES256, COSE, b"\xa0"),
        (ES256, COSE, b"\x80"),
        (ES256, COSE, b"\x81" * 2000),
        (ES256, COSE, b"\xff"),
        (ES256, COSE, b"\xa1\x80\x01"),
        (ES256, COSE, cose(ES256, p256())[:-1]),
        (ES256, COSE, cose(ES256, p256()) + b"\x00"),
        (ES256, COSE, cose(ES256, p256(), -35)),
        (ES256, COSE, cose(0x05, K1)),
        (ES256, COSE, cose(0x05, K1, -7)),
        (0x05, COSE, cose(ES256, p256())),
        (0x10, COSE, cose(ES256, p256(), -35)),
        (ED25519, COSE, cose(ED448, key_of(ED448))),
        (ED448, COSE, cose(ED25519, key_of(ED25519))),
        (PS256, COSE, cose(0x08, rsa2048())),
        (PS256, COSE, encode_public_key(COSE, other_rsa(2048).public_key(), 0x08)),
        (ES256, COSE, cbor_map(KTY2, CRV1, X_, Y_)),
        (ES256, COSE, cbor_map(KTY2, ALG7, X_, Y_)),
        (ES256, COSE, cbor_map(KTY2, ALG7, CRV1, X_)),
        (ES256, COSE, cbor_map(KTY2, ALG7, CRV1, Y_, X_)),
        (ES256, COSE, cbor_map(KTY2, ALG7, CRV1, X_, Y_, Y_)),
        (ES256, COSE, cbor_map(KTY2, ALG7, CRV1, X_, Y_, (-4, cbor_bytes(bytes(32))))),
        (ES256, COSE, cbor_map(KTY2, (2, cbor_bytes(b"kid")), ALG7, CRV1, X_, Y_)),
        (ES256, COSE, cbor_map(KTY2, ALG7, CRV1, X_, (-3, b"\xf5"))),
        (ES256, COSE, cbor_map(KTY2, ALG7, CRV1, (-2, cbor_bytes(X[:31])), Y_)),
        (ES256, COSE, cbor_map(KTY2, ALG7, CRV1, (-2, cbor_bytes(b"\x00" + X)), Y_)),
        (ES256, COSE, cbor_map(KTY2, ALG7, CRV1, (-2, cbor_bytes(bytes(32))), (-3, cbor_bytes(bytes(32))))),
        (ES256, COSE, cbor_map(KTY2, ALG7, (-1, cbor_int(4)), X_, Y_)),
        (ES256, COSE, cbor_map(KTY2, ALG7, (-1, cbor_bytes(b"\x01")), X_, Y_)),
        (ES256, COSE, cbor_map((1, cbor_int(4)), ALG7, CRV1, X_, Y_)),
        (ES256, COSE, cbor_map((1, b"\x18\x02"), ALG7, CRV1, X_, Y_)),
        (ES256, COSE, cbor_map(KTY2, (3, b"\x80"), CRV1, X_, Y_)),
        (ES256, COSE, cbor_map((1, b"\x80"), ALG7, CRV1, X_, Y_)),
        (ES256, COSE, cbor_map(KTY2, ALG7, (-1, b"\xf5"), X_, Y_)),
        (EDDSA, COSE, cbor_map((1, b"\xf5"), *OKP_REST)),
        (EDDSA, COSE, b"\xa4" + b"".join(cbor_int(n) + v for n, v in OKP_REST) + b"\xf5\x01"),
        (EDDSA, COSE, cbor_map((1, cbor_int(1)), (3, cbor_int(-8)), (-1, cbor_int(6)), (-2, cbor_bytes(bytes(31))))),
        (EDDSA, COSE, cbor_map((1, cbor_int(1)), (3, cbor_int(-8)), (-1, cbor_int(5)), (-2, cbor_bytes(bytes(32))))),
        (PS256, COSE, cbor_map((1, cbor_int(3)), (3, cbor_int(-37)), (-1, cbor_bytes(N)), (-2, cbor_bytes(b"\x02")))),
        (ES256, 0, point(p256())),
        (ES256, 0x105, point(p256())),
    ),
)
def test_what_is_no_key_of_its_format_and_algorithm_is_refused(algorithm: int, key_format: int, data: bytes) -> None:
    assert refusal(algorithm, key_format, data) is StatusCode.UNACCEPTABLE_KEY


@pytest.mark.parametrize("algorithm", [0, 7, 0x0F, 0x14, 99])
def test_a_key_of_an_algorithm_not_on_the_list_is_refused(algorithm: int) -> None:
    assert refusal(algorithm, RAW, point(p256())) is StatusCode.UNACCEPTABLE_ALGORITHM


@given(st.binary(max_size=120), st.sampled_from(ALL), st.sampled_from(list(PublicKeyFormat)))
def test_arbitrary_bytes_are_no_key(data: bytes, algorithm: int, key_format: int) -> None:
    assert refusal(algorithm, key_format, data) is StatusCode.UNACCEPTABLE_KEY


@given(st.data())
def test_an_altered_cose_key_is_another_key_or_none(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from(list(COSE_ALGORITHMS)))
    raw = bytearray(cose(algorithm, key_of(algorithm)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(UafRefusal):
        assert load_public_key(algorithm, COSE, bytes(raw)) != key_of(algorithm).public_key()


@pytest.mark.parametrize(
    ("key_format", "algorithm"),
    [(RSA_RAW, ES256), (RSA_DER, ES256), (RAW, PS256), (DER, EDDSA), (COSE, 0x10), (COSE, None)],
)
def test_a_format_that_does_not_hold_a_key_is_not_written(key_format: PublicKeyFormat, algorithm: int | None) -> None:
    key = key_of(algorithm or ES256).public_key() if algorithm != 0x10 else p256().public_key()
    with pytest.raises(ValueError, match="does not hold"):
        encode_public_key(key_format, key, algorithm)
