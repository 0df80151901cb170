"""WebAuthn Level 3, section 8: every rule of every format, broken one at a time; step 23 of 7.1."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from fido2 import cbor

from fidoloop.protocol.uaf.key_description import KEY_DESCRIPTION
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal

from ..builders import LEAF_KEY, OTHER_KEY, USER_KEY, leaf, middle, p256, point, rsa2048, to_der
from ..evidence.builders import Certified, tpm_public
from ..uaf.key_descriptions import AUTHORIZED, NULL, description, integer, integers
from .builders import (
    AAGUID,
    AAGUID_EXTENSION,
    CREATE,
    CREDENTIAL_ID,
    ES256,
    RP_ID,
    Statement,
    certificate,
    packed,
    register,
    sign,
    subject,
    usual_certificate,
)

NOBODY = x509.Name([])
RP_ID_HASH = hashlib.sha256(RP_ID.encode()).digest()


def unrecognized(oid: str | x509.ObjectIdentifier, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid) if isinstance(oid, str) else oid, value)


def without(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def u2f(leaf: x509.Certificate | None = None, *, key: Any = None, more: bytes = b"", **changes: Any) -> Statement:  # noqa: ANN401
    def make(data: bytes, digest: bytes) -> tuple[str, dict[str, Any]]:
        signed = b"\x00" + RP_ID_HASH + digest + CREDENTIAL_ID + point(p256(USER_KEY)) + more
        members = {"sig": sign(key or p256(LEAF_KEY), signed), "x5c": [to_der(leaf or usual_certificate())]}
        return "fido-u2f", without(members | changes)

    return make


def android(
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    challenge: bytes | None = None,
    described: bool = True,
    members: dict[str, Any] | None = None,
    **lists: Any,  # noqa: ANN401 - of `description`
) -> Statement:
    def make(data: bytes, digest: bytes) -> tuple[str, dict[str, Any]]:
        value = description(challenge=challenge or digest, **({"tee": {}} | lists))
        extension = (unrecognized(KEY_DESCRIPTION, value), False)
        attesting = key or p256(USER_KEY)
        found = certificate(*([extension] if described else []), key=attesting)
        statement = {"alg": ES256, "sig": sign(attesting, data + digest), "x5c": [to_der(found)]}
        return "android-key", without(statement | (members or {}))

    return make


def apple(
    *,
    key: Any = None,  # noqa: ANN401 - any private key
    before: str = "3024a1220420",
    nonce: bytes | None = None,
    **changes: Any,  # noqa: ANN401
) -> Statement:
    def make(data: bytes, digest: bytes) -> tuple[str, dict[str, Any]]:
        value = bytes.fromhex(before) + (hashlib.sha256(data + digest).digest() if nonce is None else nonce)
        extensions = [(unrecognized("1.2.840.113635.100.8.2", value), False)] if before else []
        found = certificate(*extensions, key=key or p256(USER_KEY))
        return "apple", without({"x5c": [to_der(found)]} | changes)

    return make


MAKER = {"2.23.133.2.1": "id:FFFFF1D0", "2.23.133.2.2": "model", "2.23.133.2.3": "id:13"}
AIK = "2.23.133.8.3"


def aik(
    *,
    maker: dict[str, str] | None = None,
    usage: str | None = AIK,
    of: x509.Name = NOBODY,
    constraints: x509.BasicConstraints | None = x509.BasicConstraints(False, None),  # noqa: B008 - immutable
    aaguid: bytes | None = None,
) -> x509.Certificate:
    named = x509.Name(
        [
            x509.NameAttribute(x509.ObjectIdentifier(oid), text)
            for oid, text in (MAKER if maker is None else maker).items()
        ]
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName([x509.DirectoryName(named)]), True)
    ]
    if usage is not None:
        extensions.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(usage)]), False))
    if aaguid is not None:
        extensions.append((unrecognized(AAGUID_EXTENSION, b"\x04\x10" + aaguid), False))
    return certificate(*extensions, of=of, constraints=constraints)


def tpm(
    leaf: x509.Certificate | None = None,
    *,
    key: Any = None,  # noqa: ANN401 - any private key
    public: bytes | None = None,
    extra: bytes | None = None,
    members: dict[str, Any] | None = None,
    **changes: Any,  # noqa: ANN401 - of Certified
) -> Statement:
    def make(data: bytes, digest: bytes) -> tuple[str, dict[str, Any]]:
        area = tpm_public(p256(USER_KEY)) if public is None else public
        nonce = hashlib.sha256(data + digest).digest() if extra is None else extra
        attest = Certified(public=area, nonce=nonce, **changes).attest
        statement = {
            "ver": "2.0",
            "alg": ES256,
            "sig": sign(key or p256(LEAF_KEY), attest),
            "x5c": [to_der(leaf or aik())],
            "certInfo": attest,
            "pubArea": area,
        }
        return "tpm", without(statement | (members or {}))

    return make


WHOLE = {
    "packed": (packed(), "basic"),
    "packed, self": (packed(self_attested=True), "self"),
    "packed, no AAGUID in the certificate": (packed(certificate()), "basic"),
    "fido-u2f": (u2f(), "basic"),
    "android-key": (android(), "basic"),
    "android-key in software": (android(tee=None, software={}), "basic"),
    "apple": (apple(), "anonca"),
    "tpm": (tpm(), "attca"),
    "tpm, AAGUID in the certificate": (tpm(aik(aaguid=AAGUID)), "attca"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_statement_verifies(name: str) -> None:
    statement, kind = WHOLE[name]
    taken = register(CREATE.with_(statement=statement))
    assert taken.attestation_type == kind
    assert not taken.trusted


def critical_aaguid() -> x509.Certificate:
    return certificate((unrecognized(AAGUID_EXTENSION, b"\x04\x10" + AAGUID), True))


def other_aaguid() -> x509.Certificate:
    return certificate((unrecognized(AAGUID_EXTENSION, b"\x04\x10" + bytes(16)), False))


CA = x509.BasicConstraints(True, None)
Make = Callable[[], Statement]
BROKEN: dict[str, tuple[Make, Rule]] = {
    "packed: no sig": (lambda: packed(sig=None), Rule.ATTESTATION),
    "packed: no alg": (lambda: packed(alg=None), Rule.ATTESTATION),
    "packed: alg a text": (lambda: packed(alg="ES256"), Rule.ATTESTATION),
    "packed: alg true": (lambda: packed(alg=True), Rule.ATTESTATION),
    "packed: sig a text": (lambda: packed(sig="text"), Rule.ATTESTATION),
    "packed: ECDAA": (lambda: packed(ecdaaKeyId=b"1"), Rule.ATTESTATION),
    "packed: x5c empty": (lambda: packed(x5c=[]), Rule.ATTESTATION),
    "packed: x5c no list": (lambda: packed(x5c=b"1"), Rule.ATTESTATION),
    "packed: x5c of numbers": (lambda: packed(x5c=[1]), Rule.ATTESTATION),
    "packed: x5c no certificate": (lambda: packed(x5c=[b"0\x00"]), Rule.ATTESTATION),
    "packed: x5c too long": (lambda: packed(x5c=[to_der(usual_certificate())] * 9), Rule.ATTESTATION),
    "packed: a huge certificate": (lambda: packed(x5c=[b"0" * 20_000]), Rule.ATTESTATION),
    "packed: signed by another key": (lambda: packed(key=p256(OTHER_KEY)), Rule.ATTESTATION),
    "packed: alg of another kind of key": (lambda: packed(alg=-257), Rule.ATTESTATION),
    "packed: alg RS1": (lambda: packed(alg=-65535), Rule.ALGORITHM),
    "packed: no country": (lambda: packed(certificate(of=subject(C=None))), Rule.ATTESTATION),
    "packed: country in small letters": (lambda: packed(certificate(of=subject(C="ch"))), Rule.ATTESTATION),
    "packed: no organization": (lambda: packed(certificate(of=subject(O=None))), Rule.ATTESTATION),
    "packed: another unit": (lambda: packed(certificate(of=subject(OU="Other"))), Rule.ATTESTATION),
    "packed: no common name": (lambda: packed(certificate(of=subject(CN=None))), Rule.ATTESTATION),
    "packed: a CA": (lambda: packed(certificate(constraints=CA)), Rule.ATTESTATION),
    "packed: no basic constraints": (lambda: packed(certificate(constraints=None)), Rule.ATTESTATION),
    "packed: critical AAGUID": (lambda: packed(critical_aaguid()), Rule.ATTESTATION),
    "packed: another AAGUID": (lambda: packed(other_aaguid()), Rule.ATTESTATION),
    "packed, self: another alg": (lambda: packed(self_attested=True, alg=-9), Rule.ATTESTATION),
    "packed, self: another key": (lambda: packed(self_attested=True, key=p256(OTHER_KEY)), Rule.ATTESTATION),
    "fido-u2f: two certificates": (lambda: u2f(x5c=[to_der(usual_certificate())] * 2), Rule.ATTESTATION),
    "fido-u2f: no x5c": (lambda: u2f(x5c=None), Rule.ATTESTATION),
    "fido-u2f: an alg": (lambda: u2f(alg=-7), Rule.ATTESTATION),
    "fido-u2f: an RSA certificate": (lambda: u2f(certificate(key=rsa2048())), Rule.ATTESTATION),
    "fido-u2f: a certificate of P-384": (
        lambda: u2f(certificate(key=ec.derive_private_key(5, ec.SECP384R1()))),
        Rule.ATTESTATION,
    ),
    "fido-u2f: more was signed": (lambda: u2f(more=b"1"), Rule.ATTESTATION),
    "fido-u2f: signed by another key": (lambda: u2f(key=p256(OTHER_KEY)), Rule.ATTESTATION),
    "android-key: no x5c": (lambda: android(members={"x5c": None}), Rule.ATTESTATION),
    "android-key: another key": (lambda: android(key=p256(OTHER_KEY)), Rule.ATTESTATION),
    "android-key: bad signature": (lambda: android(members={"sig": b"1"}), Rule.ATTESTATION),
    "android-key: no description": (lambda: android(described=False), Rule.ATTESTATION),
    "android-key: another challenge": (lambda: android(challenge=b"1" * 32), Rule.ATTESTATION),
    "android-key: all applications": (lambda: android(tee={600: NULL}), Rule.ATTESTATION),
    "android-key: all applications, in software": (
        lambda: android(software=dict.fromkeys(AUTHORIZED) | {600: NULL}),
        Rule.ATTESTATION,
    ),
    "android-key: imported": (lambda: android(tee={702: integer(2)}), Rule.ATTESTATION),
    "android-key: no origin": (lambda: android(tee={702: None}), Rule.ATTESTATION),
    "android-key: decrypts": (lambda: android(tee={1: integers(1)}), Rule.ATTESTATION),
    "android-key: signs and verifies": (lambda: android(tee={1: integers(2, 3)}), Rule.ATTESTATION),
    "apple: no x5c": (lambda: apple(x5c=None), Rule.ATTESTATION),
    "apple: no nonce": (lambda: apple(before=""), Rule.ATTESTATION),
    "apple: another nonce": (lambda: apple(nonce=b"1" * 32), Rule.ATTESTATION),
    "apple: nonce of another form": (lambda: apple(before="3024a1220420", nonce=b"1" * 33), Rule.ATTESTATION),
    "apple: nonce in another wrapping": (lambda: apple(before="3022a1200420"), Rule.ATTESTATION),
    "apple: another key": (lambda: apple(key=p256(OTHER_KEY)), Rule.ATTESTATION),
    "tpm: no ver": (lambda: tpm(members={"ver": None}), Rule.ATTESTATION),
    "tpm: another ver": (lambda: tpm(members={"ver": "1.2"}), Rule.ATTESTATION),
    "tpm: ECDAA": (lambda: tpm(members={"ecdaaKeyId": b"1"}), Rule.ATTESTATION),
    "tpm: no x5c": (lambda: tpm(members={"x5c": None}), Rule.ATTESTATION),
    "tpm: pubArea of another key": (lambda: tpm(public=tpm_public(p256(OTHER_KEY))), Rule.ATTESTATION),
    "tpm: pubArea cut short": (lambda: tpm(members={"pubArea": b"\x00\x23"}), Rule.ATTESTATION),
    "tpm: certInfo cut short": (lambda: tpm(members={"certInfo": b"\xffTCG"}), Rule.ATTESTATION),
    "tpm: another magic": (lambda: tpm(magic=b"\xffTCH"), Rule.ATTESTATION),
    "tpm: another type": (lambda: tpm(kind=0x8018), Rule.ATTESTATION),
    "tpm: another extraData": (lambda: tpm(extra=b"1" * 32), Rule.ATTESTATION),
    "tpm: another name": (lambda: tpm(name=b"\x00\x0b" + bytes(32)), Rule.ATTESTATION),
    "tpm: signed by another key": (lambda: tpm(key=p256(OTHER_KEY)), Rule.ATTESTATION),
    "tpm: alg RS1": (lambda: tpm(members={"alg": -65535}), Rule.ALGORITHM),
    "tpm: a subject": (lambda: tpm(aik(of=subject())), Rule.ATTESTATION),
    "tpm: no manufacturer": (lambda: tpm(aik(maker=MAKER | {"2.23.133.2.1": "Contoso"})), Rule.ATTESTATION),
    "tpm: no model": (
        lambda: tpm(aik(maker={oid: text for oid, text in MAKER.items() if oid != "2.23.133.2.2"})),
        Rule.ATTESTATION,
    ),
    "tpm: another usage": (lambda: tpm(aik(usage="1.3.6.1.5.5.7.3.1")), Rule.ATTESTATION),
    "tpm: no usage": (lambda: tpm(aik(usage=None)), Rule.ATTESTATION),
    "tpm: a CA": (lambda: tpm(aik(constraints=CA)), Rule.ATTESTATION),
    "tpm: another AAGUID": (lambda: tpm(aik(aaguid=bytes(16))), Rule.ATTESTATION),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_refuses_the_statement(name: str) -> None:
    make, rule = BROKEN[name]
    with pytest.raises(WebAuthnRefusal) as refused:
        register(CREATE.with_(statement=make()))
    assert refused.value.rule is rule, refused.value.detail


def test_a_u2f_credential_is_of_es256() -> None:
    key = cbor.encode(
        {
            1: 1,
            3: -8,
            -1: 6,
            -2: ed25519.Ed25519PrivateKey.from_private_bytes(b"1" * 32).public_key().public_bytes_raw(),
        }
    )
    with pytest.raises(WebAuthnRefusal) as refused:
        register(CREATE.with_(public_key=key, statement=u2f()), algorithms=frozenset({-8}))
    assert refused.value.rule is Rule.ATTESTATION


def test_a_chain_of_several_certificates_is_kept_whole() -> None:
    chain = [to_der(usual_certificate()), to_der(leaf()), to_der(middle())]
    assert register(CREATE.with_(statement=packed(x5c=chain))).attestation_type == "basic"
