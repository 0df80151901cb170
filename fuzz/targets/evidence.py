"""Evidence about hardware keys: PIV and YubiHSM certificates, TPM structures, PKIX Evidence, token claims."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, partial

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence import cmw
from fidoloop.protocol.evidence.pkix_structures import encode_evidence, encode_tbs, parse_evidence
from fidoloop.protocol.evidence.tpm import tpm_evidence
from fidoloop.protocol.evidence.tpm_structures import parse_certify_info, parse_public, parse_signature
from fidoloop.protocol.evidence.values import Anchors, Evidence, EvidenceKind, EvidenceRefusal
from fidoloop.protocol.evidence.verify import describe_evidence, verify_evidence
from fuzz.properties import accepted, outcome

MAX_BYTES = 1 << 13
AT = datetime(2026, 1, 1, tzinfo=UTC)
DICTIONARY = (
    b"\xffTCG\x80\x17", b"\x00\x23\x00\x0b", b"\x00\x01\x00\x0b", b"\x00\x10\x00\x10", b"\x00\x03\x00\x10",
    b"\x00\x18\x00\x0b",
    b"\x30\x82", b"\x06\x09", b"\x02\x01", b"\x04\x20", b"\x30\x80", b"\x1f\x81\x01", b'"application/vnd.fidoloop.',
)  # fmt: skip
_KINDS = tuple(EvidenceKind)
_ATTEST, _PUBLIC, _TBS = 0xF0, 0xF1, 0xF2


@cache
def _anchors() -> Anchors:
    from tests.protocol.builders import p256
    from tests.protocol.evidence.builders import ANCHORS, DEVICE_KEY

    return Anchors(ANCHORS.certificates, (p256(DEVICE_KEY).public_key(),))


def check(data: bytes) -> None:
    """By its first byte: a kind's value; TPMS_ATTEST, TPMT_PUBLIC or PKIX's claims signed by who is trusted; or a file.

    What is accepted is read and verified as the same again, and is about this nonce.
    """
    first, rest = data[0] if data else 0, data[1:]
    if first < len(_KINDS):
        _verified(Evidence(_KINDS[first], rest))
    elif first == _ATTEST:
        _verified(_tpm(attest=rest))
    elif first == _PUBLIC:
        _verified(_tpm(public=rest))
    elif first == _TBS:
        _verified(_pkix(rest))
    else:
        found = accepted(lambda: cmw.decode(data), MalformedError)
        if found is not None:
            assert cmw.decode(cmw.encode(found).encode()) == found
            _verified(found)
    accepted(partial(parse_public, rest), MalformedError)
    accepted(partial(parse_certify_info, rest), MalformedError)
    accepted(partial(parse_signature, rest), MalformedError)


def _verified(evidence: Evidence) -> None:
    from tests.protocol.evidence.builders import NONCE, OTHER_NONCE

    refusals = (MalformedError, EvidenceRefusal)

    def verify(nonce: bytes = NONCE) -> object:
        return verify_evidence(evidence, anchors=_anchors(), expected_nonce=nonce, expected_key=None, at=AT)

    accepted(lambda: describe_evidence(evidence), *refusals)
    if accepted(verify, *refusals) is not None:
        assert isinstance(outcome(lambda: verify(OTHER_NONCE), *refusals), EvidenceRefusal)
    if evidence.kind is EvidenceKind.PKIX:
        found = accepted(lambda: parse_evidence(evidence.value), *refusals)
        if found is not None:
            assert outcome(lambda: encode_tbs(found.tbs.elements), KeyError, ValueError) is not None


def _tpm(*, attest: bytes | None = None, public: bytes | None = None) -> Evidence:
    from tests.protocol.evidence.builders import Certified, tpm_signature

    certified = Certified() if public is None else Certified(public=public)
    signed = certified.attest if attest is None else attest
    return tpm_evidence(
        attest=signed,
        signature=tpm_signature(certified.ak, signed),
        public=certified.public,
        ak_public=certified.ak_public,
    )


def _pkix(tbs: bytes) -> Evidence:
    from tests.protocol.builders import p256
    from tests.protocol.evidence.builders import DEVICE_KEY, ak_certificate

    signature = p256(DEVICE_KEY).sign(tbs, ec.ECDSA(hashes.SHA256()))
    signer = (ak_certificate(), "1.2.840.10045.4.3.2", signature)
    try:
        return Evidence(EvidenceKind.PKIX, encode_evidence(tbs, [signer], []))
    except ValueError:
        return Evidence(EvidenceKind.PKIX, tbs)


def seeds() -> Iterator[bytes]:
    """Yield evidence of every kind, as a file, by its value and by its parts."""
    from tests.protocol.evidence.builders import Certified, hsm, piv, pkix
    from tests.protocol.inspect.examples import evidences

    for one in (*evidences(), piv(), hsm(), pkix()):
        yield cmw.encode(one).encode()
        yield bytes((_KINDS.index(one.kind),)) + one.value
    certified = Certified()
    yield bytes((_ATTEST,)) + certified.attest
    yield bytes((_PUBLIC,)) + certified.public
    yield bytes((_PUBLIC,)) + certified.signed()
    found = parse_evidence(pkix().value)
    yield bytes((_TBS,)) + encode_tbs(found.tbs.elements)
