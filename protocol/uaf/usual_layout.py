"""An authentication assertion in the order and sizes that every device writes, read and written in few steps.

Verification must cost little more than its ECDSA; walking the elements one by one costs a tenth of that. Whatever
lies otherwise is left to `assertions`, which also says what is wrong with it.
"""

import struct

from fidoloop.protocol.uaf.registry import Tag

# UAFV1_AUTH_ASSERTION, UAFV1_SIGNED_DATA, AAID (9 bytes), ASSERTION_INFO (5 bytes) and the nonce's tag and length.
_START = struct.Struct("<HHHHHH9sHHHBHHH")
# FINAL_CHALLENGE_HASH (32 bytes), and the tag and length of TRANSACTION_CONTENT_HASH.
_HASHES = struct.Struct("<HH32sHH")
_HEADER = struct.Struct("<HH")
# COUNTERS (4 bytes), and the signature's tag and length.
_END = struct.Struct("<HHIHH")
_COUNTERS_BYTES = 8

_TAGS_AND_FIXED_LENGTHS = (
    int(Tag.UAFV1_AUTH_ASSERTION),
    int(Tag.UAFV1_SIGNED_DATA),
    *(int(Tag.AAID), 9),
    *(int(Tag.ASSERTION_INFO), 5),
    int(Tag.AUTHENTICATOR_NONCE),
    *(int(Tag.FINAL_CHALLENGE_HASH), 32),
    int(Tag.TRANSACTION_CONTENT_HASH),
    int(Tag.KEYID),
    *(int(Tag.COUNTERS), 4),
    int(Tag.SIGNATURE),
)


# aaid, version, mode, algorithm, nonce, FCHash, TCHash, KeyID, counter, signature, signed data. A plain tuple: a named
# one costs as much as all the reading.
UsualLayout = tuple[bytes, int, int, int, bytes, bytes, bytes, bytes, int, bytes, bytes]


def read_usual_layout(data: bytes) -> UsualLayout | None:
    """Return the fields of `data`, or None where it is not laid out in the usual way."""
    try:
        t0, all_, t1, signed, t2, n2, aaid, t3, n3, version, mode, algorithm, t4, n4 = _START.unpack_from(data)
        hashes = _START.size + n4
        t5, n5, fc_hash, t6, n6 = _HASHES.unpack_from(data, hashes)
        content_hash = hashes + _HASHES.size
        key = content_hash + n6
        t7, n7 = _HEADER.unpack_from(data, key)
        end = key + 4 + n7
        t8, n8, counter, t9, n9 = _END.unpack_from(data, end)
    except struct.error:
        return None
    signed_end = end + _COUNTERS_BYTES
    size = len(data)
    if (
        (t0, t1, t2, n2, t3, n3, t4, t5, n5, t6, t7, t8, n8, t9) != _TAGS_AND_FIXED_LENGTHS
        or all_ != size - 4
        or signed != signed_end - 8
        or n9 != size - signed_end - 4
    ):
        return None
    return (
        aaid,
        version,
        mode,
        algorithm,
        data[_START.size : hashes],
        fc_hash,
        data[content_hash:key],
        data[key + 4 : end],
        counter,
        data[signed_end + 4 :],
        data[4:signed_end],
    )


_SIGNED_DATA_START = struct.Struct("<HHHH9sHHHBHHH")
_COUNTER = struct.Struct("<I")
# What is not a value of varying size: seven tags and lengths, AAID, ASSERTION_INFO and COUNTERS.
_SIGNED_DATA_FIXED_BYTES = 7 * 4 + 9 + 5 + 4


class SignedDataTemplate:
    """UAFV1_SIGNED_DATA of one key in the usual layout: what all its signatures have in common, written once."""

    def __init__(
        self, aaid: bytes, info: tuple[int, int, int], *, key_id: bytes, nonce_bytes: int, hash_bytes: tuple[int, int]
    ) -> None:
        """Take `aaid` (9 bytes), `info` (version, mode, algorithm) and the lengths of what `fill` will be given.

        `hash_bytes` are the lengths of the hashes of the final challenge and of the transaction's content.

        Raises:
            struct.error: a number or a length does not fit its field.
        """
        self._lengths = (nonce_bytes, *hash_bytes)
        size = _SIGNED_DATA_FIXED_BYTES + sum(self._lengths) + len(key_id)
        self._start = _SIGNED_DATA_START.pack(_SIGNED_DATA, size, _AAID, 9, aaid, _INFO, 5, *info, _NONCE, nonce_bytes)
        self._fc_hash = _HEADER.pack(_FC_HASH, hash_bytes[0])
        self._content_hash = _HEADER.pack(_CONTENT_HASH, hash_bytes[1])
        self._end = _HEADER.pack(_KEY_ID, len(key_id)) + key_id + _HEADER.pack(_COUNTERS, 4)

    def fill(self, nonce: bytes, fc_hash: bytes, content_hash: bytes, counter: int) -> bytes:
        """Return UAFV1_SIGNED_DATA, header included.

        Raises:
            ValueError: a value is not of the length it was announced with.
            struct.error: the counter does not fit its field.
        """
        if (len(nonce), len(fc_hash), len(content_hash)) != self._lengths:
            raise ValueError("the nonce or a hash is not of the length this template was made for")
        end, counters = self._end, _COUNTER.pack(counter)
        return b"".join((self._start, nonce, self._fc_hash, fc_hash, self._content_hash, content_hash, end, counters))


_SIGNED_DATA = int(Tag.UAFV1_SIGNED_DATA)
_AAID = int(Tag.AAID)
_INFO = int(Tag.ASSERTION_INFO)
_NONCE = int(Tag.AUTHENTICATOR_NONCE)
_FC_HASH = int(Tag.FINAL_CHALLENGE_HASH)
_CONTENT_HASH = int(Tag.TRANSACTION_CONTENT_HASH)
_KEY_ID = int(Tag.KEYID)
_COUNTERS = int(Tag.COUNTERS)
