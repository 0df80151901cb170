"""Evidence that is a certificate chain: a JSON array of base64 DER, leaf first, as x5c (RFC 7515 section 4.1.6)."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from fidoloop.protocol import strictjson
from fidoloop.protocol.certificate_path import PathRefusal, find_extension, verify_path
from fidoloop.protocol.certificates import load_certificate
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.keys import certified_key
from fidoloop.protocol.evidence.values import EvidenceCheck, EvidenceRefusal

MAX_CHAIN = 6
MAX_CERTIFICATE_BYTES = 8192


def encode_chain(chain: Sequence[bytes]) -> bytes:
    """Return the DER certificates `chain`, leaf first, as the value of evidence."""
    return strictjson.encode([base64.b64encode(der).decode() for der in chain]).encode()


def decode_chain(value: bytes, where: str = "$") -> tuple[x509.Certificate, ...]:
    """Return the certificates in the value of evidence, leaf first.

    Raises:
        MalformedError: none, more than six, one of more than 8192 bytes, or one that is not X.509.
    """
    texts = strictjson.decode(value, list[str], where)
    if not 1 <= len(texts) <= MAX_CHAIN:
        raise MalformedError(where, f"{len(texts)} certificates, 1 to {MAX_CHAIN} expected")
    return tuple(load_x5c(text, f"{where}[{index}]") for index, text in enumerate(texts))


def load_x5c(text: str, where: str = "$") -> x509.Certificate:
    """Return the certificate in base64 DER `text`. Raises MalformedError."""
    if len(text) > MAX_CERTIFICATE_BYTES * 4 // 3 + 4:
        raise MalformedError(where, f"a certificate of more than {MAX_CERTIFICATE_BYTES} bytes")
    try:
        der = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise MalformedError(where, "not base64") from None
    return load_certificate(der, where)


def verify_chain(
    chain: Sequence[x509.Certificate], *, roots: Sequence[x509.Certificate], at: datetime
) -> x509.Certificate:
    """Verify the path from the leaf, which is no CA, to one of `roots` and return that root.

    The attesting certificates of some devices (slot F9 of YubiKeys of firmware 5.2.4) lack BasicConstraints: what they
    issued is accepted where they are themselves listed, and not by the vendor's root.

    Raises:
        EvidenceRefusal: ANCHOR, ALGORITHM (of a key too), VALIDITY, CA or EXTENSION.
    """
    try:
        root = verify_path(chain, roots=roots, at=at, root_may_lack_constraints=True)
    except PathRefusal as refusal:
        raise EvidenceRefusal(EvidenceCheck(refusal.rule.value), refusal.detail) from None
    for certificate in (*chain, root):
        certified_key(certificate)
    constraints = find_extension(chain[0], x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise EvidenceRefusal(EvidenceCheck.CA, "the attested key's certificate is a CA's")
    return root
