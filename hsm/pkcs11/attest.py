"""Evidence of a module that has none of its own: what it says of key and token, signed by nobody."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import HardwareKey, KeyAlgorithm, KeyUsage, TokenInfo
from fidoloop.protocol import base64url
from fidoloop.protocol.evidence.keys import spki
from fidoloop.protocol.evidence.token_claims import TokenClaims, token_claims_evidence
from fidoloop.protocol.evidence.values import Evidence

_TAKEN: Final = frozenset({KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048})


def attest_by_claims(token: TokenInfo, key: HardwareKey, nonce: bytes) -> Evidence:
    """Return the attributes of key and token as unsigned claims, with the key's signature over the nonce.

    Raises:
        NotSupported: the key does not sign.
        ValueError: the nonce is not 8 to 32 bytes.
    """
    info = key.info
    if KeyUsage.SIGN not in info.usage:
        raise NotSupported("PKCS#11 has no attestation, and only a key that signs can show that it is there now")
    if not isinstance(info.public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) or info.algorithm not in _TAKEN:
        raise NotSupported(f"evidence is of P-256, P-384 and RSA keys, not of {info.algorithm} ones")
    claims = TokenClaims(
        spki=base64url.encode(spki(info.public_key)),
        token_kind=token.kind,
        manufacturer=token.manufacturer,
        model=token.model,
        serial=token.serial,
        firmware=token.firmware,
        sensitive=info.sensitive,
        extractable=info.extractable,
        never_extractable=info.never_extractable,
        local=info.local,
        purposes=tuple(flag.name.lower() for flag in KeyUsage if flag in info.usage and flag.name),
    )
    return token_claims_evidence(claims, nonce=nonce, key=key)
