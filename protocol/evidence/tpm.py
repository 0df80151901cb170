"""Evidence of a TPM 2.0: TPM2_Certify of the key by an attestation key (AK) of the same TPM (Part 3, 18.2)."""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.certificate_chain import MAX_CHAIN, load_x5c, verify_chain
from fidoloop.protocol.evidence.keys import allowed_key, certified_key, spki
from fidoloop.protocol.evidence.tpm_structures import (
    Alg,
    CertifyInfo,
    ObjectAttributes,
    TpmPublic,
    TpmSignature,
    parse_certify_info,
    parse_public,
    parse_signature,
)
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

_STAYS = ObjectAttributes.FIXED_TPM | ObjectAttributes.FIXED_PARENT | ObjectAttributes.SENSITIVE_DATA_ORIGIN
_HIERARCHIES = {"owner": 0x40000001, "endorsement": 0x4000000B, "platform": 0x4000000C}
"""Handles (Part 2, 7.4); the null hierarchy is left out: its keys are gone with the next start."""
_SIGNS_ATTESTATIONS = _STAYS | ObjectAttributes.RESTRICTED | ObjectAttributes.SIGN_ENCRYPT
_HASHES: Mapping[Alg, type[hashes.HashAlgorithm]] = {
    Alg.SHA256: hashes.SHA256,
    Alg.SHA384: hashes.SHA384,
    Alg.SHA512: hashes.SHA512,
}


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """TPM structures in base64url, certificates in base64 as in x5c."""

    attest: str
    signature: str
    public: str
    ak_public: str
    ak_chain: tuple[str, ...] = ()


def tpm_evidence(
    *, attest: bytes, signature: bytes, public: bytes, ak_public: bytes, ak_chain: Sequence[str] = ()
) -> Evidence:
    """Return evidence of TPMS_ATTEST, TPMT_SIGNATURE, the TPMT_PUBLIC of key and AK, the AK's chain (base64 DER)."""
    encode = base64url.encode
    value = _Value(encode(attest), encode(signature), encode(public), encode(ak_public), tuple(ak_chain))
    return Evidence(EvidenceKind.TPM, strictjson.encode(value).encode())


def verify_tpm(evidence: Evidence, *, anchors: Anchors, expected_nonce: bytes, at: datetime) -> Appraisal:
    """Verify that a trusted AK attests a key that was made in its TPM and stays there.

    Raises:
        MalformedError: the value or a structure in it cannot be read.
        EvidenceRefusal: NONCE, ANCHOR, ATTRIBUTES, ALGORITHM, SIGNATURE, KEY; VALIDITY, CA, EXTENSION of a chain.
    """
    value, attest, public, ak = _read(evidence)
    signature = parse_signature(base64url.decode(value.signature, "signature"))
    if not hmac.compare_digest(attest.extra_data, expected_nonce):
        raise EvidenceRefusal(EvidenceCheck.NONCE, "the qualifying data is not the nonce")
    signed_by = _anchor(ak.key, value.ak_chain, anchors, at)
    if ak.attributes & _SIGNS_ATTESTATIONS != _SIGNS_ATTESTATIONS or ak.attributes & ObjectAttributes.DECRYPT:
        raise EvidenceRefusal(
            EvidenceCheck.ATTRIBUTES, "the attestation key is not a restricted signing key that stays in its TPM"
        )
    _verify_signature(ak.key, signature, attest.raw)
    hierarchy = _hierarchy(attest, ak)
    if not hmac.compare_digest(attest.name, public.name):
        raise EvidenceRefusal(EvidenceCheck.KEY, "the TPM attested another key: its name is not the public area's")
    if public.attributes & _STAYS != _STAYS:
        missing = _names(_STAYS & ~public.attributes)
        raise EvidenceRefusal(EvidenceCheck.ATTRIBUTES, f"the key is not {', '.join(missing)}")
    return Appraisal(
        kind=evidence.kind,
        tier=Tier.ATTESTED,
        source=Source.DEVICE,
        key=allowed_key(public.key),
        signed_by=signed_by,
        claims=MappingProxyType(_claims(attest, public) | {"ak_hierarchy": hierarchy}),
    )


def attestation_key(evidence: Evidence) -> PublicKey:
    """Return the AK that evidence names, for whoever wants to pin it. Raises MalformedError."""
    return _read(evidence)[3].key


def describe_tpm(evidence: Evidence) -> tuple[PublicKey, dict[str, ClaimValue]]:
    """Return the key and the claims as they stand, nothing verified. Raises MalformedError."""
    _, attest, public, _ = _read(evidence)
    return public.key, _claims(attest, public)


def _read(evidence: Evidence) -> tuple[_Value, CertifyInfo, TpmPublic, TpmPublic]:
    value = strictjson.decode(evidence.value, _Value, evidence.kind)
    if len(value.ak_chain) > MAX_CHAIN:
        raise MalformedError(f"{evidence.kind}.ak_chain", f"more than {MAX_CHAIN} certificates")
    return (
        value,
        parse_certify_info(base64url.decode(value.attest, "attest")),
        parse_public(base64url.decode(value.public, "public")),
        parse_public(base64url.decode(value.ak_public, "ak_public"), "TPMT_PUBLIC of the attestation key"),
    )


def _anchor(ak: PublicKey, chain: Sequence[str], anchors: Anchors, at: datetime) -> str:
    """Return who vouches for the AK: a pin, or the root of its chain."""
    if any(spki(pinned) == spki(ak) for pinned in anchors.keys):
        return "pinned key"
    if not chain:
        raise EvidenceRefusal(EvidenceCheck.ANCHOR, "the attestation key is not pinned and has no certificate")
    certificates = [load_x5c(text, f"ak_chain[{index}]") for index, text in enumerate(chain)]
    root = verify_chain(certificates, roots=anchors.certificates, at=at)
    if spki(certified_key(certificates[0])) != spki(ak):
        raise EvidenceRefusal(EvidenceCheck.ANCHOR, "the certificate is another key's than the attestation key's")
    return root.subject.rfc4514_string()


def _hierarchy(attest: CertifyInfo, ak: TpmPublic) -> str:
    """Return the hierarchy whose primary key the AK is: so the statement, which names its signer, means this AK.

    In the endorsement hierarchy only are reset count and firmware told as they are (Part 1, 36.7).
    """
    for name, handle in _HIERARCHIES.items():
        if hmac.compare_digest(attest.qualified_signer, ak.qualified_name(handle.to_bytes(4))):
            return name
    raise EvidenceRefusal(
        EvidenceCheck.ATTRIBUTES, "the statement's signer is not this attestation key as a primary key of its TPM"
    )


def _verify_signature(key: PublicKey, signature: TpmSignature, data: bytes) -> None:
    allowed_key(key)
    digest = _HASHES[signature.hash_algorithm]()
    arguments: tuple[Any, ...]
    if isinstance(key, ec.EllipticCurvePublicKey) and signature.algorithm is Alg.ECDSA:
        arguments = (ec.ECDSA(digest),)
    elif isinstance(key, rsa.RSAPublicKey) and signature.algorithm is Alg.RSASSA:
        arguments = (padding.PKCS1v15(), digest)
    elif isinstance(key, rsa.RSAPublicKey) and signature.algorithm is Alg.RSAPSS:
        # TPMs differ in the length of the salt (Part 1, B.7).
        arguments = (padding.PSS(padding.MGF1(digest), padding.PSS.AUTO), digest)
    else:
        raise EvidenceRefusal(EvidenceCheck.ALGORITHM, "the signature's algorithm is not the attestation key's")
    try:
        key.verify(signature.value, data, *arguments)
    except InvalidSignature:
        raise EvidenceRefusal(EvidenceCheck.SIGNATURE, "the attestation key's signature does not verify") from None


def _claims(attest: CertifyInfo, public: TpmPublic) -> dict[str, ClaimValue]:
    return {
        "name": public.name.hex(),
        "attributes": _names(public.attributes),
        "firmware": f"{attest.firmware_version:016x}",
        "reset_count": attest.reset_count,
        "restart_count": attest.restart_count,
        "local": ObjectAttributes.SENSITIVE_DATA_ORIGIN in public.attributes,
        "never_extractable": public.attributes & _STAYS == _STAYS,
    }


def _names(attributes: ObjectAttributes) -> tuple[str, ...]:
    return tuple(flag.name.lower() for flag in ObjectAttributes if flag in attributes and flag.name)
