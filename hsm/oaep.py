"""RSAES-OAEP decoding on the host (RFC 8017 7.1.2), for tokens whose own OAEP does not take the hash.

Only the padding is undone here: the private key has done its raw operation in the device. The decoding takes the same
steps whatever the block holds and has one error, because telling apart why a block is wrong decrypts messages
(Manger 2001).
"""

import hashlib
import hmac


def unpad_oaep(block: bytes, *, hash_name: str, mgf_hash_name: str, label: bytes = b"") -> bytes:
    """Return the message in an OAEP block.

    Args:
        block: the raw RSA result, as many bytes as the modulus has, leading zeros included.
        hash_name: hashlib's name of the OAEP hash ("sha1", "sha256", ...).
        mgf_hash_name: hashlib's name of the hash in MGF1.
        label: OAEP's label L.

    Raises:
        ValueError: the block is no OAEP block, one message for every reason.
    """
    size = hashlib.new(hash_name, usedforsecurity=False).digest_size
    if len(block) < 2 * size + 2:  # public: only the lengths of key and hash decide
        raise ValueError("Decryption failed")
    masked_seed, masked_data = block[1 : 1 + size], block[1 + size :]
    seed = _xor(masked_seed, mgf1(masked_data, size, mgf_hash_name))
    data = _xor(masked_data, mgf1(seed, len(masked_data), mgf_hash_name))
    label_hash = hashlib.new(hash_name, label, usedforsecurity=False).digest()
    bad = block[0]
    bad |= 1 - hmac.compare_digest(data[:size], label_hash)
    start, padding_bad = _find_message(data, size)
    if bad | padding_bad:
        raise ValueError("Decryption failed")
    return data[start:]


def mgf1(seed: bytes, length: int, hash_name: str) -> bytes:
    """Return `length` bytes of MGF1 (RFC 8017 B.2.1)."""
    size = hashlib.new(hash_name, usedforsecurity=False).digest_size
    blocks = range(-(-length // size))
    mask = b"".join(
        hashlib.new(hash_name, seed + counter.to_bytes(4, "big"), usedforsecurity=False).digest() for counter in blocks
    )
    return mask[:length]


def _find_message(data: bytes, begin: int) -> tuple[int, int]:
    """Return where the message begins (after zeros and one 01) and 0, or anything and 1; looks at every byte."""
    looking, start, bad = 1, 0, 0
    for index in range(begin, len(data)):
        byte = data[index]
        is_zero = ((byte - 1) >> 8) & 1
        is_one = (((byte ^ 1) - 1) >> 8) & 1
        start += (index + 1) * (looking & is_one)
        bad |= looking & (1 - is_one) & (1 - is_zero)
        looking &= 1 - is_one
    return start, bad | looking


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
