import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.uaf.algorithms import digest
from fidoloop.protocol.uaf.final_challenge import final_challenge_hash
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.signatures import SUPPORTED, encode_signature, verify_signature
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.transactions import transaction_content_hash

from ..builders import der, numbered, p256, raw, rsa2048
from ..signers import ALL, ECDSA, HASHES, RSA, SHA256, key_of, octets, other_rsa, sign

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


def refusal(algorithm: int, signature: bytes, key: object = PUBLIC) -> StatusCode:
    with pytest.raises(UafRefusal) as caught:
        verify_signature(key, algorithm, signature, DATA)
    return caught.value.status


def test_every_algorithm_on_the_list_is_tested_here() -> None:
    assert set(ALL) == SUPPORTED


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("data", [b"", DATA, bytes(5000)], ids=["empty", "some", "long"])
def test_a_signature_of_every_algorithm_verifies(algorithm: int, data: bytes) -> None:
    key = key_of(algorithm)
    verify_signature(key.public_key(), algorithm, sign(algorithm, key, data), data)


@pytest.mark.parametrize("algorithm", ALL)
def test_an_altered_signature_or_other_data_or_another_key_does_not_verify(algorithm: int) -> None:
    key = key_of(algorithm)
    signature = sign(algorithm, key, DATA)
    for at in (0, 4, len(signature) // 2, len(signature) - 1):
        altered = signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :]
        assert refusal(algorithm, altered, key.public_key()) is StatusCode.UNACCEPTABLE_CONTENT
    for other in (b"", signature[:-1], signature + b"\x00", b"\x00" + signature, sign(algorithm, key, b"other")):
        assert refusal(algorithm, other, key.public_key()) is StatusCode.UNACCEPTABLE_CONTENT
    assert refusal(algorithm, signature, key_of(algorithm, 1).public_key()) is StatusCode.UNACCEPTABLE_CONTENT


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("claimed", ALL)
def test_a_signature_of_one_algorithm_is_none_of_another(algorithm: int, claimed: int) -> None:
    key = key_of(algorithm)
    if algorithm == claimed or {algorithm, claimed} == {0x08, 0x0C}:
        return  # two names of PKCS#1 with SHA-256
    fits = kind_of(algorithm) == kind_of(claimed)
    expected = StatusCode.UNACCEPTABLE_CONTENT if fits else StatusCode.UNACCEPTABLE_ALGORITHM
    assert refusal(claimed, sign(algorithm, key, DATA), key.public_key()) is expected


def kind_of(algorithm: int) -> object:
    return ECDSA[algorithm][0] if algorithm in ECDSA else "RSA" if algorithm in RSA else algorithm


@given(st.binary(max_size=100), st.sampled_from([*ECDSA, *RSA]))
def test_a_raw_signature_is_encoded_as_its_algorithm_wants_it(data: bytes, algorithm: int) -> None:
    key, bare = key_of(algorithm), {0x02: 0x01, 0x04: 0x03, 0x06: 0x05, 0x09: 0x08}.get(algorithm, algorithm)
    encoded = encode_signature(Algorithm(algorithm), sign(bare, key, data))
    verify_signature(key.public_key(), algorithm, encoded, data)


@pytest.mark.parametrize("salt", [0, 20, 31, 33, 48, 222])
def test_the_salt_of_a_pss_signature_is_as_long_as_its_hash(salt: int) -> None:
    scheme = padding.PSS(padding.MGF1(SHA256), salt)
    signature = key_of(3).sign(DATA, scheme, SHA256)
    assert refusal(3, signature, key_of(3).public_key()) is StatusCode.UNACCEPTABLE_CONTENT


def test_the_mask_of_a_pss_signature_is_made_with_its_hash() -> None:
    for mask in (hashes.SHA224(), hashes.SHA512()):
        signature = key_of(3).sign(DATA, padding.PSS(padding.MGF1(mask), 32), SHA256)
        assert refusal(3, signature, key_of(3).public_key()) is StatusCode.UNACCEPTABLE_CONTENT


@pytest.mark.parametrize("algorithm", [0x04, 0x09])
def test_an_rsa_signature_in_der_is_one_octet_string_and_no_more(algorithm: int) -> None:
    key = key_of(algorithm)
    wrapped = sign(algorithm, key, DATA)
    bare = wrapped[4:]
    verify_signature(key.public_key(), algorithm, wrapped, DATA)
    for other in (
        bare,
        b"\x03" + wrapped[1:],
        b"\x24" + wrapped[1:],
        b"\x04\x83\x00\x01\x00" + bare,
        b"\x04\x80" + bare + b"\x00\x00",
        octets(bare + b"\x00"),
        octets(b"\x00" + bare),
        octets(bare[:-1]),
        octets(wrapped),
        b"\x30\x82\x01\x04" + wrapped,
        wrapped + b"\x00",
        octets(bytes(0xFFF8)),
        b"\x04\x82" + bytes(70000),
    ):
        assert refusal(algorithm, other, key.public_key()) is StatusCode.UNACCEPTABLE_CONTENT


def test_an_rsa_key_too_small_too_large_or_of_an_absurd_exponent_is_refused() -> None:
    for key in (other_rsa(1024), other_rsa(5120)):
        assert refusal(3, bytes(key.key_size // 8), key.public_key()) is StatusCode.UNACCEPTABLE_ALGORITHM
    numbers = rsa2048().public_key().public_numbers()
    slow = rsa.RSAPublicNumbers(2**64 + 1, numbers.n).public_key()
    assert refusal(3, bytes(256), slow) is StatusCode.UNACCEPTABLE_ALGORITHM


def test_a_larger_rsa_key_signs_as_many_bytes_as_it_has() -> None:
    key = other_rsa(3072)
    for algorithm in RSA:
        verify_signature(key.public_key(), algorithm, sign(algorithm, key, DATA), DATA)
        assert refusal(algorithm, sign(algorithm, rsa2048(), DATA), key.public_key()) is CONTENT


CONTENT = StatusCode.UNACCEPTABLE_CONTENT


def secp256k1_signature_where_r_is_short() -> bytes:
    while True:
        signature: bytes = sign(0x05, key_of(0x05), DATA)
        if signature[0] == 0:
            return signature


def test_numbers_of_secp256k1_are_read_as_those_of_p_256() -> None:
    """Leading zeros in raw, integers without their leading 00 in DER."""
    short, public = secp256k1_signature_where_r_is_short(), key_of(0x05).public_key()
    verify_signature(public, 0x05, short, DATA)
    verify_signature(public, 0x06, sequence(integer(short[1:32]), integer(short[32:])), DATA)


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


@pytest.mark.parametrize("algorithm", [-1, 0, 0x07, 0x0F, 0x14, 0x101, 0xFFFF])
def test_an_algorithm_not_on_the_list_is_refused(algorithm: int) -> None:
    assert refusal(algorithm, RAW) is StatusCode.UNACCEPTABLE_ALGORITHM


def test_a_key_that_is_none_of_a_kind_we_know_is_refused() -> None:
    for key in (None, x25519.X25519PrivateKey.from_private_bytes(bytes(32)).public_key()):
        for algorithm in ALL:
            assert refusal(algorithm, RAW, key) is StatusCode.UNACCEPTABLE_ALGORITHM


@pytest.mark.parametrize("algorithm", [Algorithm.SM2_SM3_RAW, Algorithm.RSASSA_PKCSV15_SHA1_RAW])
def test_a_signature_of_an_algorithm_not_on_the_list_is_not_encoded(algorithm: Algorithm) -> None:
    with pytest.raises(ValueError, match="not supported"):
        encode_signature(algorithm, RAW)


@pytest.mark.parametrize("algorithm", ALL)
def test_challenges_and_transactions_are_hashed_as_the_algorithm_hashes(algorithm: int) -> None:
    expected = hashlib.new(HASHES[algorithm], b"text").digest()
    assert digest(algorithm, b"text") == expected
    assert final_challenge_hash("text", algorithm) == transaction_content_hash(b"text", algorithm) == expected


def test_an_algorithm_not_on_the_list_hashes_nothing() -> None:
    with pytest.raises(UafRefusal) as caught:
        digest(0x07, b"")
    assert caught.value.status is StatusCode.UNACCEPTABLE_ALGORITHM
