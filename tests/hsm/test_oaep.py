import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from fidoloop.hsm.oaep import unpad_oaep

# A key in software: the raw operation is one pow(), and OpenSSL does the padding this has to undo.
KEY = rsa.generate_private_key(65537, 2048)
NUMBERS = KEY.private_numbers()
HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}  # noqa: S303


def raw(ciphertext: bytes) -> bytes:
    number = pow(int.from_bytes(ciphertext, "big"), NUMBERS.d, NUMBERS.public_numbers.n)
    return number.to_bytes(256, "big")


def encrypted(message: bytes, hash_name: str, mgf_name: str, label: bytes) -> bytes:
    scheme = padding.OAEP(padding.MGF1(HASHES[mgf_name]), HASHES[hash_name], label)
    return raw(KEY.public_key().encrypt(message, scheme))


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=126), st.sampled_from(list(HASHES)), st.sampled_from(list(HASHES)), st.binary(max_size=8))
def test_undoes_what_openssl_pads(message: bytes, hash_name: str, mgf_name: str, label: bytes) -> None:
    block = encrypted(message, hash_name, mgf_name, label)
    assert unpad_oaep(block, hash_name=hash_name, mgf_hash_name=mgf_name, label=label) == message


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_changed_byte_gives_the_one_error(data: st.DataObject) -> None:
    block = bytearray(encrypted(b"message", "sha256", "sha256", b""))
    block[data.draw(st.integers(0, 255))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"^Decryption failed$"):
        unpad_oaep(bytes(block), hash_name="sha256", mgf_hash_name="sha256")


@pytest.mark.parametrize(
    "arguments",
    [
        {"hash_name": "sha1", "mgf_hash_name": "sha256"},
        {"hash_name": "sha256", "mgf_hash_name": "sha1"},
        {"hash_name": "sha256", "mgf_hash_name": "sha256", "label": b"other"},
    ],
)
def test_other_parameters_give_the_one_error(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^Decryption failed$"):
        unpad_oaep(encrypted(b"message", "sha256", "sha256", b""), **arguments)  # type: ignore[arg-type]


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_the_one_error(block: bytes) -> None:
    with pytest.raises(ValueError, match=r"^Decryption failed$"):
        unpad_oaep(block, hash_name="sha256", mgf_hash_name="sha256")


def test_a_block_without_zeros_and_one_01_is_refused() -> None:
    """Right label hash, wrong padding after it: made by hand, since no encryptor makes one."""
    from fidoloop.hsm.oaep import _xor, mgf1

    good = encrypted(b"", "sha256", "sha256", b"")
    seed_masked, data_masked = good[1:33], good[33:]
    seed = _xor(seed_masked, mgf1(data_masked, 32, "sha256"))
    for tail in (b"\0", b"\2", b"\2\1", b"\2\0\1m"):
        data = _xor(data_masked, mgf1(seed, 223, "sha256"))[: -len(tail)] + tail
        masked = _xor(data, mgf1(seed, 223, "sha256"))
        block = b"\0" + _xor(seed, mgf1(masked, 32, "sha256")) + masked
        with pytest.raises(ValueError, match=r"^Decryption failed$"):
            unpad_oaep(block, hash_name="sha256", mgf_hash_name="sha256")
