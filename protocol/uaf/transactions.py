"""Transactions: their content rules and TCHash (UAF protocol 3.1.4 to 3.1.6; digest 1.1 and 3.3)."""

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.algorithms import ES256, digest
from fidoloop.protocol.uaf.messages import Transaction
from fidoloop.protocol.uaf.png import SIGNATURE

TEXT_PLAIN = "text/plain"
IMAGE_PNG = "image/png"
MAX_TEXT_CHARACTERS = 200


def transaction_content(transaction: Transaction, where: str = "$.transaction") -> bytes:
    """Return the decoded content, whose SHA-256 the authenticator signs.

    Raises:
        MalformedError: another content type, text that is not ASCII or longer than 200 characters, or no PNG.
    """
    content = base64url.decode_lenient(transaction.content, f"{where}.content")
    if transaction.contentType == TEXT_PLAIN:
        if not content.isascii() or not 1 <= len(content) <= MAX_TEXT_CHARACTERS:
            raise MalformedError(f"{where}.content", f"text/plain must be 1 to {MAX_TEXT_CHARACTERS} ASCII characters")
    elif transaction.contentType == IMAGE_PNG:
        if not content.startswith(SIGNATURE):
            raise MalformedError(f"{where}.content", "not a PNG image")
    else:
        raise MalformedError(f"{where}.contentType", "neither text/plain nor image/png")
    return content


def transaction_content_hash(content: bytes, algorithm: int = ES256) -> bytes:
    """Return TCHash of decoded content, hashed as the authenticator's `algorithm` does (SHA-256 for those of UAF 1.1).

    Raises:
        UafRefusal: UNACCEPTABLE_ALGORITHM where it is not supported.
    """
    return digest(algorithm, content)
