"""PIN/UV auth protocols one and two on the authenticator's side (CTAP 2.1, sections 6.5.6 and 6.5.7)."""

import hmac
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from fido2.ctap import CtapError
from fido2.ctap2.pin import PinProtocol, PinProtocolV1, PinProtocolV2

from fidoloop.authenticator.ctap2.errors import ERR

_KTY, _ALG, _CRV, _X, _Y = 1, 3, -1, -2, -3
_EC2, _ECDH_ES_HKDF_256, _P256 = 2, -25, 1
_BLOCK: Final = 16
PREFERRED_PROTOCOLS: Final = (2, 1)
"""As getInfo lists them, the one to be preferred first."""


class SharedSecret:
    """What platform and authenticator share for one command."""

    def __init__(self, protocol: PinProtocol, key: bytes) -> None:
        """Take the protocol and its key."""
        self._protocol = protocol
        self._key = key

    def encrypt(self, plaintext: bytes) -> bytes:
        """Encrypt whole blocks of 16 bytes."""
        return self._protocol.encrypt(self._key, plaintext)

    def decrypt(self, ciphertext: bytes) -> bytes | None:
        """Return the plaintext, None where the length is none that encryption gives."""
        overhead = _BLOCK if self._protocol.VERSION == PinProtocolV2.VERSION else 0
        if len(ciphertext) % _BLOCK or len(ciphertext) < overhead:
            return None
        return self._protocol.decrypt(self._key, ciphertext)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether the platform signed the message."""
        return verify(self._protocol, self._key, message, signature)


class PinUvAuthProtocol:
    """One of the two protocols, with its key-agreement key, which is new after each power-up and wrong PIN."""

    def __init__(self, protocol: PinProtocolV1) -> None:
        """Take python-fido2's protocol, which computes what both sides compute alike."""
        self.protocol: Final = protocol
        self.regenerate()

    def regenerate(self) -> None:
        """Make a new key-agreement key; it lives in memory, and no longer than until the power goes."""
        self._key = ec.generate_private_key(ec.SECP256R1())

    def public_key(self) -> dict[int, Any]:
        """Return the key-agreement key as a COSE key."""
        point = self._key.public_key().public_numbers()
        return {
            _KTY: _EC2,
            _ALG: _ECDH_ES_HKDF_256,
            _CRV: _P256,
            _X: point.x.to_bytes(32, "big"),
            _Y: point.y.to_bytes(32, "big"),
        }

    def decapsulate(self, peer: Mapping[object, object]) -> SharedSecret:
        """Agree on a secret with the platform's COSE key. Raises CtapError(INVALID_PARAMETER)."""
        x, y = peer.get(_X), peer.get(_Y)
        kind = tuple(peer.get(name) for name in (_KTY, _ALG, _CRV))
        if kind != (_EC2, _ECDH_ES_HKDF_256, _P256) or not isinstance(x, bytes) or not isinstance(y, bytes):
            raise CtapError(ERR.INVALID_PARAMETER)
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
        except ValueError:
            raise CtapError(ERR.INVALID_PARAMETER) from None
        return SharedSecret(self.protocol, self.protocol.kdf(self._key.exchange(ec.ECDH(), point)))


def verify(protocol: PinProtocol, key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is the protocol's over `message`."""
    return hmac.compare_digest(protocol.authenticate(key, message), signature)


def pin_protocols() -> dict[int, PinUvAuthProtocol]:
    """Return both protocols by their numbers."""
    return {protocol.VERSION: PinUvAuthProtocol(protocol) for protocol in (PinProtocolV1(), PinProtocolV2())}
