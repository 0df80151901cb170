"""PKIX Evidence, made and verified (draft-ietf-rats-pkix-key-attestation-07, sections 5 and 6; a draft)."""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import SignatureAlgorithmOID as SignatureOid

from fidoloop.protocol.certificate_path import find_extension
from fidoloop.protocol.certificates import load_certificate
from fidoloop.protocol.evidence.certificate_chain import verify_chain
from fidoloop.protocol.evidence.keys import allowed_key, certified_key, load_spki, sign_with, spki, verify_with
from fidoloop.protocol.evidence.oids import ATTESTATION_KEY_USAGE
from fidoloop.protocol.evidence.pkix_structures import (
    PkixElement,
    PkixEvidence,
    PkixSignature,
    PkixTbs,
    PkixValue,
    certificate_der,
    encode_evidence,
    encode_tbs,
    parse_evidence,
)
from fidoloop.protocol.evidence.possession import check_nonce
from fidoloop.protocol.evidence.values import (
    Anchors,
    Appraisal,
    ClaimValue,
    Evidence,
    EvidenceCheck,
    EvidenceKind,
    EvidenceRefusal,
    Source,
    Tier,
)
from fidoloop.protocol.jose import PublicKey

_ALGORITHM_OF_KEY: Final = {"secp256r1": SignatureOid.ECDSA_WITH_SHA256, "secp384r1": SignatureOid.ECDSA_WITH_SHA384}


def pkix_evidence(
    *,
    nonce: bytes,
    platform: Mapping[str, PkixValue],
    key: Mapping[str, PkixValue],
    attestation_key: PrivateKeyTypes,
    certificate: x509.Certificate,
    intermediates: Sequence[x509.Certificate] = (),
) -> Evidence:
    """Return evidence about one key, signed by the attestation key of `certificate`: what a simulated HSM hands out.

    Args:
        nonce: the verifier's, 8 to 32 bytes.
        platform: claims about the device by the draft's names ("hwserial", "swversion", ...).
        key: claims about the key: "identifier" (required), "spki" (DER), "extractable", "local", "purpose", ...
        attestation_key: signs; P-256, P-384 or RSA.
        certificate: the attestation key's, with digitalSignature and `oids.ATTESTATION_KEY_USAGE`.
        intermediates: certificates towards the root.

    Raises:
        ValueError: the nonce is of another size.
        KeyError: a claim the draft does not have.
    """
    check_nonce(nonce)
    ak = certified_key(certificate)
    transaction: PkixElement = (("nonce", nonce), ("ak-spki", spki(ak)))
    tbs = encode_tbs((("transaction", transaction), ("platform", tuple(platform.items())), ("key", tuple(key.items()))))
    signature = sign_with(attestation_key, tbs)
    return Evidence(
        EvidenceKind.PKIX, encode_evidence(tbs, [(certificate, _usual_oid(ak).dotted_string, signature)], intermediates)
    )


def verify_pkix(
    evidence: Evidence, *, anchors: Anchors, expected_nonce: bytes, expected_key: PublicKey | None, at: datetime
) -> Appraisal:
    """Verify that every signature is by an attestation key an anchor vouches for, and return what is said of the key.

    Evidence about several keys needs `expected_key`.

    Raises:
        MalformedError: not PKIX Evidence of this draft.
        EvidenceRefusal: NONCE, SIGNATURE, ANCHOR, ALGORITHM, KEY; VALIDITY, CA, EXTENSION of a chain.
    """
    found = parse_evidence(evidence.value)
    nonce = found.tbs.claims("transaction").get("nonce", b"")
    if not isinstance(nonce, bytes) or not hmac.compare_digest(nonce, expected_nonce):
        raise EvidenceRefusal(EvidenceCheck.NONCE, "the transaction's nonce is missing or another")
    if not found.signatures:
        raise EvidenceRefusal(EvidenceCheck.SIGNATURE, "the evidence is not signed")
    signers = [_verify_signature(found, signature, anchors, at) for signature in found.signatures]
    _check_named_signers(found.tbs, [key for key, _ in signers])
    key, claims = _attested_key(found.tbs, expected_key)
    return Appraisal(
        kind=evidence.kind,
        tier=Tier.ATTESTED,
        source=Source.DEVICE,
        key=key,
        signed_by=", ".join(dict.fromkeys(name for _, name in signers)),
        claims=MappingProxyType(_named(found.tbs.claims("platform")) | claims),
    )


def describe_pkix(evidence: Evidence) -> tuple[PublicKey, dict[str, ClaimValue]]:
    """Return the key and the claims as they stand, nothing verified. Raises MalformedError, EvidenceRefusal (KEY)."""
    tbs = parse_evidence(evidence.value).tbs
    key, claims = _attested_key(tbs, None)
    return key, _named(tbs.claims("platform")) | claims


def _verify_signature(
    found: PkixEvidence, signature: PkixSignature, anchors: Anchors, at: datetime
) -> tuple[PublicKey, str]:
    """Return the signer's key and who vouches for it (section 6)."""
    if signature.certificate is not None:
        key, name = _certified_signer(found, signature.certificate, anchors, at)
    elif signature.spki is not None:
        key, name = load_spki(signature.spki), "pinned key"
        if all(spki(pinned) != spki(key) for pinned in anchors.keys):
            raise EvidenceRefusal(EvidenceCheck.ANCHOR, "a signer's key is not pinned")
    else:
        raise EvidenceRefusal(EvidenceCheck.ANCHOR, "a signer is named by an identifier only")
    if signature.algorithm != _usual_oid(key).dotted_string:
        raise EvidenceRefusal(EvidenceCheck.ALGORITHM, "a signature's algorithm is not the one of its key")
    verify_with(key, signature.value, found.tbs.raw, what=EvidenceCheck.SIGNATURE)
    return key, name


def _certified_signer(
    found: PkixEvidence, given: x509.Certificate, anchors: Anchors, at: datetime
) -> tuple[PublicKey, str]:
    certificate = load_certificate(certificate_der(given), "the attestation key's certificate")
    pool = [load_certificate(certificate_der(one), "an intermediate certificate") for one in found.intermediates]
    chain = _in_order(certificate, pool)
    root = verify_chain(chain, roots=anchors.certificates, at=at)
    usage = find_extension(certificate, x509.KeyUsage)
    purposes = find_extension(certificate, x509.ExtendedKeyUsage)
    if usage is None or not usage.digital_signature:
        raise EvidenceRefusal(EvidenceCheck.EXTENSION, "the attestation key's certificate lacks digitalSignature")
    if purposes is None or ATTESTATION_KEY_USAGE not in purposes:
        raise EvidenceRefusal(EvidenceCheck.EXTENSION, "the attestation key's certificate is not for attestation")
    return certified_key(certificate), root.subject.rfc4514_string()


def _in_order(leaf: x509.Certificate, pool: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return the leaf and those of the pool, in no order there, that lead on by name."""
    chain, left = [leaf], list(pool)
    while True:
        following = next((one for one in left if one.subject == chain[-1].issuer), None)
        if following is None:
            return chain
        left.remove(following)
        chain.append(following)


def _check_named_signers(tbs: PkixTbs, signers: Sequence[PublicKey]) -> None:
    """Where attestation keys are named in what was signed, they are those that signed (section 5.3.3)."""
    elements = [claims for name, claims in tbs.elements if name == "transaction"]
    named = {value for claims in elements for name, value in claims if name == "ak-spki"}
    if named and named != {spki(key) for key in signers}:
        raise EvidenceRefusal(EvidenceCheck.SIGNATURE, "the attestation keys named are not those that signed")


def _attested_key(tbs: PkixTbs, expected: PublicKey | None) -> tuple[PublicKey, dict[str, ClaimValue]]:
    keys = [_with_all_identifiers(claims) for name, claims in tbs.elements if name == "key"]
    if expected is not None:
        keys = [claims for claims in keys if claims.get("spki") == spki(expected)]
    if len(keys) != 1:
        which = "the expected key" if expected is not None else "one key"
        raise EvidenceRefusal(EvidenceCheck.KEY, f"the evidence is not about {which}, but about {len(keys)} such")
    told = keys[0].pop("spki", None)
    if not isinstance(told, bytes):
        raise EvidenceRefusal(EvidenceCheck.KEY, "the evidence does not tell the public key")
    return allowed_key(load_spki(told)), _named(keys[0])


def _with_all_identifiers(claims: PkixElement) -> dict[str, PkixValue]:
    identifiers = tuple(str(value) for name, value in claims if name == "identifier")
    return dict(claims) | {"identifier": identifiers}


def _named(claims: Mapping[str, PkixValue]) -> dict[str, ClaimValue]:
    """Return claims under names as the other kinds of evidence have them; bytes in hexadecimal, times in ISO 8601."""
    return {name.replace("-", "_"): _plain(value) for name, value in claims.items()}


def _plain(value: PkixValue) -> ClaimValue:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _usual_oid(key: PublicKey) -> x509.ObjectIdentifier:
    curve = getattr(getattr(key, "curve", None), "name", "")
    return _ALGORITHM_OF_KEY.get(curve, SignatureOid.RSA_WITH_SHA256)
