"""The management key of a PIV card (key reference 9B): where it comes from, and its ciphers (NIST SP 800-78-4)."""

import os
import secrets
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, algorithms, modes

from fidoloop.hsm.errors import ManagementKeyIncorrect, ManagementKeyRequired
from fidoloop.hsm.piv.uri import PivUri
from fidoloop.hsm.uri_syntax import read_secret

TRIPLE_DES: Final = 0x03
AES128: Final = 0x08
AES192: Final = 0x0A
AES256: Final = 0x0C
FACTORY_KEY: Final = bytes.fromhex("0102030405060708") * 3
"""What cards leave the factory with; as an AES-192 key on newer ones."""
ENVIRONMENT: Final = "FIDOLOOP_MANAGEMENT_KEY"

_ALGORITHMS: Final = {16: (AES128,), 24: (TRIPLE_DES, AES192), 32: (AES256,)}
_HELP: Final = (
    "put its hexadecimal digits into a file and name that with management-key-source in the URI, set "
    f"{ENVIRONMENT}, or say management-key=default in the URI where it is still the factory's"
)


@dataclass(frozen=True)
class ManagementKey:
    """A management key; printing it shows nothing."""

    value: bytes = field(repr=False)

    def algorithms(self, told: int | None) -> tuple[int, ...]:
        """Return the algorithms to try, by the key's length; `told` is what the card says it is.

        Raises ManagementKeyIncorrect where the card's algorithm takes keys of another length.
        """
        possible = _ALGORITHMS[len(self.value)]
        if told is None:
            return possible
        if told not in possible:
            raise ManagementKeyIncorrect("the management key has not the length that the card's has")
        return (told,)

    def cipher(self, algorithm: int) -> "BlockCipher":
        """Return the cipher with this key."""
        made = TripleDES(self.value) if algorithm == TRIPLE_DES else algorithms.AES(self.value)
        return BlockCipher(made)


class BlockCipher:
    """Encrypts and decrypts one block, as challenge and response do."""

    def __init__(self, algorithm: CipherAlgorithm) -> None:
        """Take the algorithm with its key."""
        # One random block at a time: there is nothing to chain.
        self._cipher = Cipher(algorithm, modes.ECB())  # noqa: S305
        self._size = 8 if isinstance(algorithm, TripleDES) else 16

    def challenge(self) -> bytes:
        """Return a random block."""
        return secrets.token_bytes(self._size)

    def encrypt(self, block: bytes) -> bytes:
        """Encrypt one block."""
        encryptor = self._cipher.encryptor()
        return encryptor.update(block) + encryptor.finalize()

    def decrypt(self, block: bytes) -> bytes:
        """Decrypt one block."""
        decryptor = self._cipher.decryptor()
        return decryptor.update(block) + decryptor.finalize()


def management_key(uri: PivUri) -> ManagementKey:
    """Return the management key: of the URI's file, else the environment's, else the factory's if the URI says so.

    Raises ManagementKeyRequired, whose message never holds a key.
    """
    if uri.management_key_source is not None:
        text = read_secret(uri.management_key_source, "management-key-source", "management key")
    elif uri.management_key is not None:
        return ManagementKey(FACTORY_KEY)
    else:
        text = os.environ.get(ENVIRONMENT, "")
        if not text:
            raise ManagementKeyRequired(f"the card wants its management key to make or change keys: {_HELP}")
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) not in _ALGORITHMS:
        raise ManagementKeyRequired("the management key is not 16, 24 or 32 bytes in hexadecimal digits")
    return ManagementKey(value)
