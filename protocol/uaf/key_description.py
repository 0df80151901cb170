"""KeyDescription: what Android's keystore says of a key in the certificate it issues for it.

Android, "Key and ID attestation", ASN.1 schema. Read by cryptography's own DER reader, as the certificate around it.
"""

from collections.abc import Sequence
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1

from fidoloop.protocol.errors import MalformedError

KEY_DESCRIPTION = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.1.17")

PURPOSE_SIGN, PURPOSE_VERIFY = 2, 3
ALGORITHM_RSA, ALGORITHM_EC = 1, 3
DIGEST_SHA256 = 4
ORIGIN_GENERATED = 0
LEVEL_SOFTWARE, LEVEL_TRUSTED_ENVIRONMENT, LEVEL_STRONGBOX = 0, 1, 2


@asn1.sequence
class AuthorizationList:
    """The authorizations that a verifier of UAF looks at; those of later versions are passed over."""

    purpose: Annotated[asn1.SetOf[int] | None, asn1.Explicit(1)]
    algorithm: Annotated[int | None, asn1.Explicit(2)]
    key_size: Annotated[int | None, asn1.Explicit(3)]
    digest: Annotated[asn1.SetOf[int] | None, asn1.Explicit(5)]
    no_auth_required: Annotated[asn1.Null | None, asn1.Explicit(503)]
    user_auth_type: Annotated[int | None, asn1.Explicit(504)]
    auth_timeout: Annotated[int | None, asn1.Explicit(505)]
    all_applications: Annotated[asn1.Null | None, asn1.Explicit(600)]
    origin: Annotated[int | None, asn1.Explicit(702)]

    @property
    def purposes(self) -> frozenset[int]:
        """What the key may do."""
        return frozenset(() if self.purpose is None else self.purpose.as_list())

    @property
    def digests(self) -> frozenset[int]:
        """Over which hashes."""
        return frozenset(() if self.digest is None else self.digest.as_list())


@asn1.sequence
class _KeyDescription:
    attestation_version: int
    attestation_security_level: asn1.TLV
    keymaster_version: int
    keymaster_security_level: asn1.TLV
    attestation_challenge: bytes
    unique_id: bytes
    software_enforced: list[asn1.TLV]
    tee_enforced: list[asn1.TLV]


class KeyDescription:
    """What the keystore says of a key; levels are LEVEL_*, `challenge` is what the key was asked to be attested for."""

    def __init__(self, der: bytes) -> None:
        """Read the value of the certificate's extension. Raises ValueError where it is not one."""
        found = asn1.decode_der(_KeyDescription, der)
        self.challenge = found.attestation_challenge
        self.attestation_level = _enumerated(found.attestation_security_level)
        self.keymaster_level = _enumerated(found.keymaster_security_level)
        self.software_enforced = _authorizations(found.software_enforced)
        self.tee_enforced = _authorizations(found.tee_enforced)


def key_description(certificate: x509.Certificate, where: str = "$") -> KeyDescription:
    """Return the KeyDescription of a certificate.

    Raises:
        MalformedError: there is none, or it is not of its schema.
    """
    try:
        extension = certificate.extensions.get_extension_for_oid(KEY_DESCRIPTION).value
    except x509.ExtensionNotFound:
        raise MalformedError(where, "the certificate has no KeyDescription") from None
    assert isinstance(extension, x509.UnrecognizedExtension)
    try:
        return KeyDescription(extension.value)
    except ValueError:
        raise MalformedError(where, "the KeyDescription is not of its schema") from None


# Context-specific, constructed tags: EXPLICIT(n) of the authorizations above.
_TAGS = frozenset(
    {
        *(bytes([0xA0 | number]) for number in (1, 2, 3, 5)),
        *(bytes([0xBF, 0x80 | number >> 7, number & 0x7F]) for number in (503, 504, 505, 600, 702)),
    }
)


def _authorizations(elements: Sequence[asn1.TLV]) -> AuthorizationList:
    """Return the authorizations known here: the reader takes no sequence with members it does not know."""
    body = b"".join(
        _encoded(element.tag_bytes, bytes(element.data)) for element in elements if element.tag_bytes in _TAGS
    )
    return asn1.decode_der(AuthorizationList, _encoded(b"\x30", body))


def _encoded(tag: bytes, value: bytes) -> bytes:
    if len(value) < 0x80:
        return tag + bytes([len(value)]) + value
    size = len(value).to_bytes((len(value).bit_length() + 7) // 8)
    return tag + bytes([0x80 | len(size)]) + size + value


def _enumerated(element: asn1.TLV) -> int:
    value = bytes(element.data)
    if element.tag_bytes != b"\x0a" or len(value) != 1:
        raise ValueError("a security level is not an ENUMERATED of one byte")
    return value[0]
