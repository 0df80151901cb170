"""Trust anchors in PEM: root certificates, and public keys of attestation keys."""

import re
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fidoloop.protocol.certificates import load_pem_certificates
from fidoloop.protocol.evidence.keys import allowed_key
from fidoloop.protocol.evidence.values import Anchors, EvidenceRefusal
from fidoloop.protocol.jose import PublicKey

MAX_PEM_BYTES: Final = 262_144
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)


def parse_anchors(content: bytes) -> Anchors:
    """Return the anchors in a PEM text.

    Raises:
        ValueError: more than 262,144 bytes, no block in it, or one that is no certificate and no public key.
    """
    if len(content) > MAX_PEM_BYTES:
        raise ValueError(f"more than {MAX_PEM_BYTES} bytes")
    certificates: list[x509.Certificate] = []
    keys: list[PublicKey] = []
    for match in _PEM.finditer(content):
        block = match.group()
        try:
            if block.startswith(b"-----BEGIN PUBLIC KEY"):
                keys.append(allowed_key(load_pem_public_key(block)))
            else:
                certificates += load_pem_certificates(block)
        except (ValueError, UnsupportedAlgorithm, EvidenceRefusal):
            raise ValueError("holds something that is no certificate and no public key") from None
    if not certificates and not keys:
        raise ValueError("holds no certificate and no public key in PEM")
    return Anchors(tuple(certificates), tuple(keys))


def join_anchors(found: Iterable[Anchors]) -> Anchors:
    """Return several sets of anchors as one."""
    sets = list(found)
    return Anchors(
        tuple(certificate for one in sets for certificate in one.certificates),
        tuple(key for one in sets for key in one.keys),
    )
