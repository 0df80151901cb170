"""The BLOB of the FIDO metadata service 3: a JWS whose certificate chain ends in a pinned root (digest 9.2).

FIDO metadata service 3.0, 3.1.7 (BLOB format) and 3.2 (processing). Revocation lists are not fetched here.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from cryptography import x509
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.certificate_path import PathRefusal, find_extension, verify_path
from fidoloop.protocol.certificates import certified_key, load_base64_certificates
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata import MetadataEntry, read_entry
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.signatures import verify_signature
from fidoloop.protocol.uaf.status import UafRefusal

MAX_BLOB_BYTES = 32 << 20
MAX_HEADER_CHARACTERS = 65536
# The name in the certificate that signs the public BLOB: its root is one of the public web's, and vouches for many.
FIDO_SIGNER = "mds.fidoalliance.org"

# JWS algorithms (RFC 7518 3.1), verified as the ALG_SIGN that is the same.
_ALGORITHMS: Mapping[str, Algorithm] = {
    "ES256": Algorithm.SECP256R1_ECDSA_SHA256_RAW,
    "ES384": Algorithm.SECP384R1_ECDSA_SHA384_RAW,
    "ES512": Algorithm.SECP521R1_ECDSA_SHA512_RAW,
    "RS256": Algorithm.RSA_EMSA_PKCS1_SHA256_RAW,
    "PS256": Algorithm.RSASSA_PSS_SHA256_RAW,
}


class _Header(msgspec.Struct, frozen=True):
    alg: str
    x5c: Annotated[tuple[str, ...], Meta(min_length=1, max_length=6)]
    crit: object | UnsetType = UNSET


class _Payload(msgspec.Struct, frozen=True):
    no: Annotated[int, Meta(ge=0)]
    nextUpdate: date
    entries: tuple[dict[str, Any], ...]
    legalHeader: str = ""


class MetadataBlob(msgspec.Struct, frozen=True):
    """What a BLOB says of UAF models.

    `entries` are by AAID in upper case. `unusable` has the AAID and what is wrong of those that cannot be used;
    `others` are the entries of FIDO2 and U2F, not looked at. A BLOB is to be replaced by `next_update`.
    """

    no: int
    next_update: date
    legal_header: str
    entries: Mapping[str, MetadataEntry]
    unusable: tuple[tuple[str, str], ...]
    others: tuple[dict[str, Any], ...]


def verify_metadata_blob(
    blob: bytes,
    *,
    roots: Sequence[x509.Certificate],
    at: datetime,
    expected_signer: str | None = FIDO_SIGNER,
    lowest_no: int = 0,
) -> MetadataBlob:
    """Verify a BLOB by pinned `roots` at time `at` (UTC), and return its UAF entries.

    `expected_signer` is the dNSName of the certificate that signs (None: any that a root vouches for), `lowest_no`
    the number of the BLOB known before, which an older one must not replace.

    Raises:
        MalformedError: no JWS of an allowed algorithm, a chain that breaks a rule or ends in no root, a signature
            that does not verify, an older BLOB, or a payload of another form.
    """
    if len(blob) > MAX_BLOB_BYTES:
        raise MalformedError("$", f"{len(blob)} bytes, at most {MAX_BLOB_BYTES} allowed")
    header_text, payload_text, signature_text = _parts(blob)
    header = strictjson.decode(base64url.decode(header_text, "$.header"), _Header, "$.header")
    if header.crit is not UNSET:
        raise MalformedError("$.header.crit", "names extensions that must be understood and are not")
    signer = _verified_signer(header, roots=roots, at=at, expected_signer=expected_signer)
    signature = base64url.decode(signature_text, "$.signature")
    _verify_jws(header.alg, signer, signature, f"{header_text}.{payload_text}".encode("ascii"))
    payload = strictjson.convert(
        strictjson.loads(base64url.decode(payload_text, "$.payload"), "$.payload"), _Payload, "$.payload"
    )
    if payload.no < lowest_no:
        raise MalformedError("$.payload.no", f"{payload.no} is older than {lowest_no}, which is known already")
    entries, unusable = _uaf_entries(payload.entries)
    others = tuple(value for value in payload.entries if not isinstance(value.get("aaid"), str))
    return MetadataBlob(payload.no, payload.nextUpdate, payload.legalHeader, entries, unusable, others)


def _parts(blob: bytes) -> tuple[str, str, str]:
    """Return header, payload and signature of the compact serialization, still encoded."""
    try:
        parts = blob.decode("ascii").strip().split(".")
    except UnicodeDecodeError:
        raise MalformedError("$", "not ASCII") from None
    if len(parts) != 3:
        raise MalformedError("$", f"{len(parts)} parts, a JWS has 3")
    if len(parts[0]) > MAX_HEADER_CHARACTERS:
        raise MalformedError("$.header", f"more than {MAX_HEADER_CHARACTERS} characters")
    return parts[0], parts[1], parts[2]


def _verified_signer(
    header: _Header, *, roots: Sequence[x509.Certificate], at: datetime, expected_signer: str | None
) -> x509.Certificate:
    chain = load_base64_certificates(header.x5c, "$.header.x5c")
    try:
        verify_path(chain, roots=roots, at=at)
    except PathRefusal as refusal:
        raise MalformedError("$.header.x5c", refusal.detail) from None
    if expected_signer is not None:
        names = find_extension(chain[0], x509.SubjectAlternativeName)
        if names is None or expected_signer not in names.get_values_for_type(x509.DNSName):
            raise MalformedError("$.header.x5c[0]", f"not the certificate of {expected_signer}")
    return chain[0]


def _verify_jws(alg: str, signer: x509.Certificate, signature: bytes, signed: bytes) -> None:
    algorithm = _ALGORITHMS.get(alg)
    if algorithm is None:
        raise MalformedError("$.header.alg", f"{alg[:40]!r} is none of {', '.join(_ALGORITHMS)}")
    try:
        verify_signature(certified_key(signer), algorithm, signature, signed)
    except UafRefusal as refusal:
        raise MalformedError("$.signature", refusal.detail) from None


def _uaf_entries(
    values: Sequence[dict[str, Any]],
) -> tuple[dict[str, MetadataEntry], tuple[tuple[str, str], ...]]:
    entries: dict[str, MetadataEntry] = {}
    unusable: list[tuple[str, str]] = []
    seen: set[str] = set()
    for index, value in enumerate(values):
        aaid = value.get("aaid")
        if not isinstance(aaid, str):
            continue
        where = f"$.payload.entries[{index}]"
        if aaid.upper() in seen:
            raise MalformedError(f"{where}.aaid", "stands in two entries")
        seen.add(aaid.upper())
        try:
            entries[aaid.upper()] = read_entry(value, where)
        except MalformedError as error:
            unusable.append((aaid[:9], str(error)))
    return entries, tuple(unusable)
