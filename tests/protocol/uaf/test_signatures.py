import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.signatures import SUPPORTED, encode_signature, verify_signature
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

from ..builders import der, numbered, p256, raw

KEY = p256()
PUBLIC = KEY.public_key()
DATA = b"signed data"
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def signature_where(wanted: str) -> tuple[int, int]:
    """Returns r, s of a right signature over DATA with the wanted shape of numbers."""
    shapes = {
        "r has a leading zero byte": lambda r, s: r < 1 << 248,
        "s has a leading zero byte": lambda r, s: s < 1 << 248,
        "r has the top bit set": lambda r, s: r >> 255,
        "s has the top bit set": lambda r, s: s >> 255,
        "both have the top bit set": lambda r, s: r >> 255 and s >> 255,
    }
    while True:
        r, s = decode_dss_signature(der(KEY, DATA))
        if shapes[wanted](r, s):
            return r, s


def integer(value: bytes) -> bytes:
    return b"\x02" + bytes([len(value)]) + value


def sequence(*values: bytes) -> bytes:
    body = b"".join(values)
    return b"\x30" + bytes([len(body)]) + body


def minimal(number: int) -> bytes:
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8))


def refusal(algorithm: int, signature: bytes, key: ec.EllipticCurvePublicKey = PUBLIC) -> StatusCode:
    with pytest.raises(UafRefusal) as caught:
        verify_signature(key, algorithm, signature, DATA)
    return caught.value.status


@given(st.binary(max_size=100))
def test_a_signature_verifies_in_both_encodings(data: bytes) -> None:
    verify_signature(PUBLIC, 1, raw(KEY, data), data)
    verify_signature(PUBLIC, 2, der(KEY, data), data)
    for algorithm in (Algorithm.SECP256R1_ECDSA_SHA256_RAW, Algorithm.SECP256R1_ECDSA_SHA256_DER):
        verify_signature(PUBLIC, algorithm, encode_signature(algorithm, raw(KEY, data)), data)


@pytest.mark.parametrize(
    "shape",
    [
        "r has a leading zero byte",
        "s has a leading zero byte",
        "r has the top bit set",
        "s has the top bit set",
        "both have the top bit set",
    ],
)
def test_numbers_of_every_size_verify_also_without_the_leading_00(shape: str) -> None:
    r, s = signature_where(shape)
    verify_signature(PUBLIC, 1, r.to_bytes(32) + s.to_bytes(32), DATA)
    verify_signature(PUBLIC, 2, sequence(integer(minimal(r)), integer(minimal(s))), DATA)
    verify_signature(PUBLIC, 2, sequence(integer(b"\x00" + minimal(r)), integer(b"\x00" + minimal(s))), DATA)


R, S = decode_dss_signature(der(KEY, DATA))
RAW = R.to_bytes(32) + S.to_bytes(32)
DER = sequence(integer(b"\x00" + minimal(R)), integer(b"\x00" + minimal(S)))


@pytest.mark.parametrize(
    ("algorithm", "signature"),
    numbered(
        (1, b""),
        (1, RAW[:-1]),
        (1, RAW + b"\x00"),
        (1, b"\x00" + RAW),
        (1, DER),
        (1, RAW[:32] + b"\x00" + RAW[32:]),
        (1, bytes(64)),
        (1, bytes(32) + RAW[32:]),
        (1, RAW[:32] + bytes(32)),
        (1, N.to_bytes(32) + RAW[32:]),
        (1, RAW[:32] + N.to_bytes(32)),
        (1, b"\xff" * 64),
        (1, RAW[32:] + RAW[:32]),
        (2, b""),
        (2, RAW),
        (2, DER[:-1]),
        (2, DER + b"\x00"),
        (2, sequence(DER[2:], b"\x00")),
        (2, sequence(DER[2:], integer(b"\x01"))),
        (2, sequence(integer(minimal(R)))),
        (2, b"\x31" + DER[1:]),
        (2, DER[:1] + bytes([DER[1] + 1]) + DER[2:]),
        (2, b"\x30\x81" + DER[1:]),
        (2, sequence(b"\x03" + integer(minimal(R))[1:], integer(minimal(S)))),
        (2, sequence(integer(b""), integer(minimal(S)))),
        (2, sequence(integer(b"\x00"), integer(minimal(S)))),
        (2, sequence(integer(minimal(R)), integer(b"\x00"))),
        (2, sequence(integer(minimal(R + N)), integer(minimal(S)))),
        (2, sequence(integer(minimal(R)), integer(minimal(S + N)))),
        (2, sequence(integer(b"\x00\x00" + R.to_bytes(32)), integer(minimal(S)))),
        (2, b"\x30\x06\x02\x01\x01\x02\x01\x01"),
        (2, b"\x30\x80" + DER[2:] + b"\x00\x00"),
    ),
)
def test_another_encoding_or_number_does_not_verify(algorithm: int, signature: bytes) -> None:
    assert refusal(algorithm, signature) is StatusCode.UNACCEPTABLE_CONTENT


@given(st.binary(max_size=75), st.sampled_from([1, 2]), st.booleans())
def test_arbitrary_bytes_do_not_verify(data: bytes, algorithm: int, shaped: bool) -> None:
    signature = b"\x30" + bytes([len(data)]) + data if shaped else data
    assert refusal(algorithm, signature) is StatusCode.UNACCEPTABLE_CONTENT


def test_other_data_or_another_key_does_not_verify() -> None:
    assert refusal(1, raw(KEY, b"other")) is StatusCode.UNACCEPTABLE_CONTENT
    assert refusal(1, RAW, p256(1).public_key()) is StatusCode.UNACCEPTABLE_CONTENT


@pytest.mark.parametrize("algorithm", [number for number in (0, *range(3, 20), 257, -1) if number not in SUPPORTED])
def test_an_algorithm_not_on_the_list_is_refused(algorithm: int) -> None:
    assert refusal(algorithm, RAW) is StatusCode.UNACCEPTABLE_ALGORITHM


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP384R1()])
def test_a_key_on_another_curve_is_refused(curve: ec.EllipticCurve) -> None:
    other = ec.derive_private_key(77, curve)
    for algorithm in (1, 2):
        assert refusal(algorithm, der(other, DATA), other.public_key()) is StatusCode.UNACCEPTABLE_ALGORITHM


def test_only_p_256_signatures_can_be_encoded() -> None:
    with pytest.raises(ValueError, match="not ECDSA on P-256"):
        encode_signature(Algorithm.RSASSA_PSS_SHA256_RAW, RAW)
