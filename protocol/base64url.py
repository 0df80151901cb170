"""base64url without padding (RFC 4648 section 5), read strictly, or with the padding some senders add."""

import binascii

from fidoloop.protocol.errors import MalformedError


def encode(data: bytes) -> str:
    """Return `data` as base64url without padding."""
    # translate could strip the padding too, at twice the price.
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def decode(text: str, where: str = "$", *, padding_allowed: bool = False) -> bytes:
    """Return the bytes of unpadded base64url `text`.

    With `padding_allowed`, correct `=` padding is accepted too (HTTP contract 9: clients decode both alike).
    Non-zero trailing bits are refused, so that one value has one spelling.

    Raises:
        MalformedError: another alphabet, an impossible length, trailing bits, or padding where none may be.
    """
    body = text
    if padding_allowed and text.endswith("="):
        body = text.rstrip("=")
        if len(text) % 4 or len(text) - len(body) > 2:
            raise MalformedError(where, "base64url padding is wrong")
    left_over = len(body) % 4
    if left_over == 1:
        raise MalformedError(where, "not base64url: impossible length")
    if left_over and body[-1] not in _LAST_CHARACTERS[left_over]:
        raise MalformedError(where, "not base64url: bits left over")
    try:
        # bytes.translate: str.translate goes character by character through a dictionary, fifty times slower.
        standard = body.encode("ascii").translate(_FROM_URL)
        return binascii.a2b_base64(standard + _PADDING[left_over], strict_mode=True)
    except ValueError:
        raise MalformedError(where, "not base64url") from None


def decode_lenient(text: str, where: str = "$") -> bytes:
    """Return the bytes of base64url or base64 `text`, padded or not (transaction content, HTTP contract 4).

    Raises:
        MalformedError: neither alphabet fits.
    """
    return decode(text.replace("+", "-").replace("/", "_"), where, padding_allowed=True)


_TO_URL = bytes.maketrans(b"+/", b"-_")
# The characters that only the other alphabet has become one that neither has.
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
_PADDING = {0: b"", 2: b"==", 3: b"="}
_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# By length mod 4, the last characters that leave no bits over.
_LAST_CHARACTERS = {2: _CHARACTERS[::16], 3: _CHARACTERS[::4]}
