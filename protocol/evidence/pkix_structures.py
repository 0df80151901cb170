"""PKIX Evidence in DER: draft-ietf-rats-pkix-key-attestation-07, section 8 (explicit tags).

**A draft**: its arc has no number yet, so ours is private (`oids.EVIDENCE`), and other implementations' evidence is
not read. DER is read and written by cryptography's declarative ASN.1, which is strict; a structure is its type.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.oids import EVIDENCE

T = TypeVar("T")
MAX_ELEMENTS, MAX_CLAIMS, MAX_SIGNATURES, MAX_CERTIFICATES, MAX_PURPOSES = 16, 64, 4, 6, 16
_WHERE = "PKIX Evidence"

PkixValue = bytes | str | bool | int | datetime | tuple[str, ...]
PkixElement = tuple[tuple[str, PkixValue], ...]
"""The claims of an element, by the draft's names; those that may be repeated stand as often as they are."""


@asn1.sequence
class _AlgorithmIdentifier:
    algorithm: ObjectIdentifier
    parameters: asn1.Null | ObjectIdentifier | None


@asn1.sequence
class _SubjectPublicKeyInfo:
    algorithm: _AlgorithmIdentifier
    key: asn1.BitString


@asn1.sequence
class _SignerIdentifier:
    key_id: Annotated[bytes | None, asn1.Explicit(0)]
    spki: Annotated[_SubjectPublicKeyInfo | None, asn1.Explicit(1)]
    certificate: Annotated[x509.Certificate | None, asn1.Explicit(2)]


@asn1.sequence
class _SignatureBlock:
    sid: _SignerIdentifier
    algorithm: _AlgorithmIdentifier
    value: bytes


@asn1.sequence
class _Evidence:
    tbs: asn1.TLV
    signatures: Annotated[list[_SignatureBlock], asn1.Size(0, MAX_SIGNATURES)]
    intermediates: Annotated[list[x509.Certificate] | None, asn1.Explicit(0)]


@asn1.sequence
class _Claim:
    kind: ObjectIdentifier
    value: asn1.TLV


@asn1.sequence
class _ClaimWithoutValue:
    kind: ObjectIdentifier


@asn1.sequence
class _Purposes:
    kind: ObjectIdentifier
    value: Annotated[list[ObjectIdentifier], asn1.Size(0, MAX_PURPOSES)]


@asn1.sequence
class _Bytes:
    kind: ObjectIdentifier
    value: bytes


@asn1.sequence
class _Text:
    kind: ObjectIdentifier
    value: str


@asn1.sequence
class _Boolean:
    kind: ObjectIdentifier
    value: bool


@asn1.sequence
class _Integer:
    kind: ObjectIdentifier
    value: int


@asn1.sequence
class _Time:
    kind: ObjectIdentifier
    value: asn1.GeneralizedTime


@asn1.sequence
class _Element:
    kind: ObjectIdentifier
    claims: Annotated[list[asn1.TLV], asn1.Size(1, MAX_CLAIMS)]


@asn1.sequence
class _Tbs:
    version: int
    elements: Annotated[list[_Element], asn1.Size(1, MAX_ELEMENTS)]


_ELEMENTS: Final = {f"{EVIDENCE}.0.{number}": name for number, name in enumerate(("transaction", "platform", "key"))}
_TYPES: Final[dict[str, tuple[tuple[str, type], ...]]] = {
    "transaction": (("nonce", _Bytes), ("timestamp", _Time), ("ak-spki", _Bytes)),
    "platform": (
        ("vendor", _Text),
        ("oemid", _Bytes),
        ("hwmodel", _Bytes),
        ("hwversion", _Text),
        ("hwserial", _Text),
        ("swname", _Text),
        ("swversion", _Text),
        ("dbgstat", _Integer),
        ("uptime", _Integer),
        ("bootcount", _Integer),
        ("fipsboot", _Boolean),
        ("fipsver", _Text),
        ("fipslevel", _Integer),
        ("fipsmodule", _Text),
    ),
    "key": (
        ("identifier", _Text),
        ("spki", _Bytes),
        ("extractable", _Boolean),
        ("sensitive", _Boolean),
        ("never-extractable", _Boolean),
        ("local", _Boolean),
        ("expiry", _Time),
        ("purpose", _Purposes),
    ),
}
_CLAIMS: Final = {
    f"{EVIDENCE}.1.{arc}.{number}": (element, name, kind)
    for arc, (element, claims) in enumerate(_TYPES.items())
    for number, (name, kind) in enumerate(claims)
}
_CLAIM_OIDS: Final = {(element, name): (oid, kind) for oid, (element, name, kind) in _CLAIMS.items()}
_PURPOSE_NAMES: Final = (
    "encrypt",
    "decrypt",
    "wrap",
    "unwrap",
    "sign",
    "sign-recover",
    "verify",
    "verify-recover",
    "derive",
)
_PURPOSES: Final = {f"{EVIDENCE}.2.{number}": name for number, name in enumerate(_PURPOSE_NAMES)}
_PURPOSE_OIDS: Final = {name: oid for oid, name in _PURPOSES.items()}
_REPEATABLE: Final = frozenset({"ak-spki", "identifier"})
_SINGLE_ELEMENTS: Final = frozenset({"transaction", "platform"})


@dataclass(frozen=True)
class PkixSignature:
    """One SignatureBlock: who signed (a certificate, a bare key in DER, or only an identifier), how, and what came."""

    certificate: x509.Certificate | None
    spki: bytes | None
    key_id: bytes | None
    algorithm: str
    value: bytes


@dataclass(frozen=True)
class PkixTbs:
    """What is signed, with its bytes: elements of known kinds, in order, with the claims of known kinds."""

    raw: bytes
    elements: tuple[tuple[str, PkixElement], ...]

    def claims(self, element: str) -> dict[str, PkixValue]:
        """Return the claims, none of them repeatable, of the one transaction or platform element; empty without it."""
        return dict(next((claims for name, claims in self.elements if name == element), ()))


@dataclass(frozen=True)
class PkixEvidence:
    """Evidence with nothing verified."""

    tbs: PkixTbs
    signatures: tuple[PkixSignature, ...]
    intermediates: tuple[x509.Certificate, ...]


def encode_tbs(elements: Sequence[tuple[str, PkixElement]]) -> bytes:
    """Return TbsEvidence version 1 in DER.

    Raises:
        KeyError: an element or claim the draft does not have.
    """
    oid_of = {name: oid for oid, name in _ELEMENTS.items()}
    return asn1.encode_der(
        _Tbs(
            version=1,
            elements=[
                _Element(
                    kind=ObjectIdentifier(oid_of[element]),
                    claims=[_encode_claim(element, name, value) for name, value in claims],
                )
                for element, claims in elements
            ],
        )
    )


def encode_evidence(
    tbs: bytes,
    signatures: Sequence[tuple[x509.Certificate, str, bytes]],
    intermediates: Sequence[x509.Certificate] = (),
) -> bytes:
    """Return Evidence in DER: `tbs`, and for each signature the AK's certificate, the algorithm's OID, the value."""
    blocks = [
        _SignatureBlock(
            sid=_SignerIdentifier(key_id=None, spki=None, certificate=certificate),
            algorithm=_AlgorithmIdentifier(
                algorithm=ObjectIdentifier(algorithm),
                parameters=asn1.Null() if algorithm.startswith("1.2.840.113549.") else None,
            ),
            value=value,
        )
        for certificate, algorithm, value in signatures
    ]
    whole = _Evidence(tbs=asn1.decode_der(asn1.TLV, tbs), signatures=blocks, intermediates=list(intermediates) or None)
    return asn1.encode_der(whole)


def parse_evidence(der: bytes) -> PkixEvidence:
    """Return Evidence version 1; elements and claims of unknown kinds are passed over, as the draft asks.

    Raises:
        MalformedError: not strict DER of this type, another version, a claim of another type than its kind's, in
            another element, or repeated where it may not be; two platform or transaction elements; a key told twice.
    """
    whole = _decode(_Evidence, der, _WHERE)
    raw = asn1.encode_der(whole.tbs)
    signatures = tuple(
        PkixSignature(
            certificate=block.sid.certificate,
            spki=asn1.encode_der(block.sid.spki) if block.sid.spki else None,
            key_id=block.sid.key_id,
            algorithm=block.algorithm.algorithm.dotted_string,
            value=block.value,
        )
        for block in whole.signatures
    )
    intermediates = tuple(whole.intermediates or ())
    if len(intermediates) > MAX_CERTIFICATES:
        raise MalformedError(_WHERE, f"more than {MAX_CERTIFICATES} certificates")
    return PkixEvidence(PkixTbs(raw, _elements(_decode(_Tbs, raw, f"{_WHERE}.tbs"))), signatures, intermediates)


def certificate_der(certificate: x509.Certificate) -> bytes:
    """Return the DER of a certificate in evidence."""
    return certificate.public_bytes(Encoding.DER)


def _elements(tbs: _Tbs) -> tuple[tuple[str, PkixElement], ...]:
    if tbs.version != 1:
        raise MalformedError(f"{_WHERE}.version", "is not 1")
    found: list[tuple[str, PkixElement]] = []
    identifiers: set[PkixValue] = set()
    for element in tbs.elements:
        name = _ELEMENTS.get(element.kind.dotted_string)
        if name is None:
            continue
        if name in _SINGLE_ELEMENTS and name in dict(found):
            raise MalformedError(_WHERE, f"two {name} elements")
        claims = _element_claims(name, element)
        own = {value for claim, value in claims if claim == "identifier"}
        if name == "key" and (not own or own & identifiers):
            raise MalformedError(_WHERE, "a key without an identifier, or with another's")
        identifiers |= own
        found.append((name, claims))
    return tuple(found)


def _element_claims(element: str, given: _Element) -> PkixElement:
    found: list[tuple[str, PkixValue]] = []
    for claim in given.claims:
        named = _named_claim(claim)
        if named is None:
            continue
        owner, name, kind = named
        if owner != element:
            raise MalformedError(_WHERE, f"claim {name} in a {element} element")
        if name not in _REPEATABLE and name in dict(found):
            raise MalformedError(_WHERE, f"claim {name} twice in one element")
        found.append((name, _value(_decode(kind, asn1.encode_der(claim), f"{_WHERE}.{name}"))))
    return tuple(found)


def _named_claim(claim: asn1.TLV) -> tuple[str, str, type] | None:
    """Return element, name and type of a claim of a known kind, which then must have a value; None for another."""
    der = asn1.encode_der(claim)
    kind: ObjectIdentifier
    try:
        kind = asn1.decode_der(_ClaimWithoutValue, der).kind
    except ValueError:
        kind = _decode(_Claim, der, f"{_WHERE} claim").kind
    return _CLAIMS.get(kind.dotted_string)


def _value(claim: Any) -> PkixValue:  # noqa: ANN401  # one of the claim types
    value: PkixValue
    if isinstance(claim, _Time):
        return claim.value.as_datetime().replace(tzinfo=UTC)
    if isinstance(claim, _Purposes):
        return tuple(_PURPOSES.get(oid.dotted_string, oid.dotted_string) for oid in claim.value)
    value = claim.value
    return value


def _encode_claim(element: str, name: str, value: PkixValue) -> asn1.TLV:
    oid, kind = _CLAIM_OIDS[element, name]
    inner: Any = value
    if isinstance(value, datetime):
        inner = asn1.GeneralizedTime(value)
    elif isinstance(value, tuple):
        inner = [ObjectIdentifier(_PURPOSE_OIDS[purpose]) for purpose in value]
    return asn1.decode_der(asn1.TLV, asn1.encode_der(kind(kind=ObjectIdentifier(oid), value=inner)))


def _decode(kind: type[T], der: bytes, where: str) -> T:
    try:
        return asn1.decode_der(kind, der)
    except (ValueError, x509.InvalidVersion):  # the latter of a certificate inside
        raise MalformedError(where, "is not strict DER of its type") from None
