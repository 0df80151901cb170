"""Evidence as RATS conceptual message wrappers: JSON records [media type, base64url value, indicator].

draft-ietf-rats-msg-wrap, section 3.1; the indicator is a set of bits, 4 for evidence. These records are the `hw`
entries of a device evidence token, and an array of them is what a file of evidence holds.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.values import MAX_VALUE_BYTES, Evidence, EvidenceKind

INDICATOR: Final = 4
MAX_RECORDS: Final = 8
MAX_FILE_BYTES: Final = 4 * MAX_VALUE_BYTES
_PREFIX: Final = "application/vnd.fidoloop."
_TYPES: Final = {
    EvidenceKind.PIV: f"{_PREFIX}piv-attestation+x5c",
    EvidenceKind.YUBIHSM: f"{_PREFIX}yubihsm-attestation+x5c",
    EvidenceKind.TPM: f"{_PREFIX}tpm2-certify+json",
    EvidenceKind.PKIX: f"{_PREFIX}pkix-evidence",
    EvidenceKind.PKCS11: f"{_PREFIX}p11-claims+json",
}
_KINDS: Final = {media_type: kind for kind, media_type in _TYPES.items()}
_POSSESSION: Final = f"{_PREFIX}key-possession"


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One record; `value` is base64url."""

    media_type: str
    value: str
    indicator: int = INDICATOR


def to_records(evidence: Evidence) -> list[Record]:
    """Return the record of the evidence, followed by that of the signature over the nonce where there is one."""
    records = [Record(_TYPES[evidence.kind], base64url.encode(evidence.value))]
    if evidence.possession:
        records.append(Record(_POSSESSION, base64url.encode(evidence.possession)))
    return records


def from_records(records: Sequence[Record], where: str = "$") -> Evidence:
    """Return the evidence in `records`.

    Raises:
        MalformedError: no record, more than eight, one of another type, indicator or of more than 65,536 bytes;
            none with evidence, or two of a kind.
    """
    if not 1 <= len(records) <= MAX_RECORDS:
        raise MalformedError(where, f"{len(records)} records, 1 to {MAX_RECORDS} expected")
    found: dict[str, bytes] = {}
    for index, record in enumerate(records):
        here = f"{where}[{index}]"
        if record.media_type not in _KINDS and record.media_type != _POSSESSION:
            raise MalformedError(here, f"media type {record.media_type[:80]!r} is not known")
        if record.indicator != INDICATOR:
            raise MalformedError(here, f"the indicator is not {INDICATOR}, which says evidence")
        if record.media_type in found:
            raise MalformedError(here, "a second record of its type")
        found[record.media_type] = _value(record.value, here)
    possession = found.pop(_POSSESSION, b"")
    if len(found) != 1:
        raise MalformedError(where, f"{len(found)} records of evidence, 1 expected")
    ((media_type, value),) = found.items()
    return Evidence(_KINDS[media_type], value, possession)


def encode(evidence: Evidence) -> str:
    """Return evidence as a JSON text, an array of records."""
    return strictjson.encode(to_records(evidence))


def decode(data: bytes) -> Evidence:
    """Return the evidence in a JSON text.

    Raises:
        MalformedError: more than 262,144 bytes, or not such an array.
    """
    if len(data) > MAX_FILE_BYTES:
        raise MalformedError("$", f"more than {MAX_FILE_BYTES} bytes")
    return from_records(strictjson.decode(data, list[Record]))


def _value(text: str, where: str) -> bytes:
    if len(text) > MAX_VALUE_BYTES * 4 // 3 + 2:
        raise MalformedError(where, f"more than {MAX_VALUE_BYTES} bytes")
    return base64url.decode(text, where)
