"""A software phone for tests: UAF client, authenticator and attestation in one, keys on the heap."""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fidoloop.protocol import base64url
from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf import assertions
from fidoloop.protocol.uaf.registry import Algorithm, AttestationType, PublicKeyFormat

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = 1_790_000_000_000
FULL_AAID = "F1D0#0001"
SURROGATE_AAID = "F1D0#0002"


def raw_signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    x, y = (base64url.encode(number.to_bytes(32)) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


@dataclass
class Model:
    """A model of authenticator: its AAID, and its attestation CA where it has full attestation."""

    aaid: str
    root_key: ec.EllipticCurvePrivateKey | None
    root: x509.Certificate | None
    leaf_key: ec.EllipticCurvePrivateKey | None
    leaf: x509.Certificate | None

    def metadata(self, **changes: object) -> dict[str, Any]:
        roots = [base64.b64encode(self.root.public_bytes(Encoding.DER)).decode()] if self.root else []
        kind = AttestationType.BASIC_FULL if self.root else AttestationType.BASIC_SURROGATE
        return {
            "aaid": self.aaid,
            "description": "test authenticator",
            "authenticatorVersion": 1,
            "upv": [{"major": 1, "minor": 1}],
            "assertionScheme": "UAFV1TLV",
            "authenticationAlgorithm": 1,
            "publicKeyAlgAndEncoding": 0x100,
            "attestationTypes": [int(kind)],
            "userVerificationDetails": [[{"userVerification": 4}]],
            "keyProtection": 1,
            "matcherProtection": 1,
            "attachmentHint": 1,
            "isSecondFactorOnly": False,
            "tcDisplay": 1,
            "attestationRootCertificates": roots,
        } | changes


def full_model(aaid: str = FULL_AAID) -> Model:
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("root", root_key, "root", root_key, ca=True)
    return Model(aaid, root_key, root, leaf_key, _certificate("leaf", leaf_key, "root", root_key, ca=False))


def surrogate_model(aaid: str = SURROGATE_AAID) -> Model:
    return Model(aaid, None, None, None, None)


def _certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


@dataclass
class Key:
    """One registered key."""

    private: ec.EllipticCurvePrivateKey
    key_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    counter: int = 0

    @property
    def text(self) -> str:
        return base64url.encode(self.key_id)


@dataclass(frozen=True)
class Twist:
    """How a response is to be wrong: each member replaces what an honest phone would say."""

    app_id: str | None = None
    header_app_id: str | None = None
    facet: str | None = None
    challenge: str | None = None
    server_data: str | None = None
    version: tuple[int, int] | None = None
    op: str | None = None
    fc_hash: bytes | None = None
    counter: int | None = None
    mode: int | None = None
    tc_hash: bytes | None = None
    signer: ec.EllipticCurvePrivateKey | None = None
    key_id: bytes | None = None
    aaid: str | None = None
    algorithm: int | None = None
    after_fc_params: str | None = None
    channel: dict[str, str] = field(default_factory=dict)
    tail: bytes = b""
    cut: int = 0
    beside: bytes = b""
    params: Callable[[dict[str, Any]], object] = dict
    signed: Callable[[bytes], bytes] = bytes
    """Makes another of the element that is signed, before it is."""


HONEST = Twist()


@dataclass
class Phone:
    """A phone with one model of authenticator and the keys it made."""

    model: Model
    facet: str = LAB_FACET_ID
    keys: list[Key] = field(default_factory=list)
    signature_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    encryption_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def target(self, name: str = "my phone", **more: object) -> dict[str, Any]:
        return {
            "name": name,
            "signatureKey": jwk(self.signature_key),
            "encryptionKey": json.dumps(jwk(self.encryption_key)),
        } | more

    def register(self, request: dict[str, Any], twist: Twist = HONEST) -> dict[str, Any]:
        key = Key(ec.generate_private_key(ec.SECP256R1()))
        if twist.key_id:
            key.key_id = twist.key_id
        header, fc_params = self._frame(request, twist)
        krd = assertions.encode_krd(
            aaid=twist.aaid or self.model.aaid,
            authenticator_version=1,
            signature_algorithm=twist.algorithm or Algorithm.SECP256R1_ECDSA_SHA256_RAW,
            public_key_format=PublicKeyFormat.ECC_X962_RAW,
            final_challenge_hash=twist.fc_hash or hashlib.sha256(fc_params.encode()).digest(),
            key_id=key.key_id,
            sign_counter=0,
            registration_counter=1,
            public_key=point(key.private),
        )
        krd = twist.signed(krd)
        signer = twist.signer or self.model.leaf_key or key.private
        full = self.model.leaf is not None
        data = assertions.encode_registration_assertion(
            krd,
            attestation_type=AttestationType.BASIC_FULL if full else AttestationType.BASIC_SURROGATE,
            signature=raw_signature(signer, krd),
            certificates=(self.model.leaf.public_bytes(Encoding.DER),) if self.model.leaf else (),
        )
        self.keys.append(key)
        return self._message(header, fc_params, data, twist)

    def authenticate(self, request: dict[str, Any], twist: Twist = HONEST, key: Key | None = None) -> dict[str, Any]:
        key = key or self.keys[-1]
        header, fc_params = self._frame(request, twist)
        shown = [base64url.decode(entry["content"]) for entry in request.get("transaction", [])]
        tc_hash = hashlib.sha256(shown[0]).digest() if shown else b""
        key.counter += 1
        signed = assertions.encode_signed_data(
            aaid=twist.aaid or self.model.aaid,
            authenticator_version=1,
            authentication_mode=twist.mode if twist.mode is not None else (2 if shown else 1),
            signature_algorithm=twist.algorithm or Algorithm.SECP256R1_ECDSA_SHA256_RAW,
            nonce=secrets.token_bytes(16),
            final_challenge_hash=twist.fc_hash or hashlib.sha256(fc_params.encode()).digest(),
            transaction_content_hash=tc_hash if twist.tc_hash is None else twist.tc_hash,
            key_id=twist.key_id or key.key_id,
            sign_counter=key.counter if twist.counter is None else twist.counter,
        )
        signed = twist.signed(signed)
        signature = raw_signature(twist.signer or key.private, signed)
        data = assertions.encode_authentication_assertion(signed, signature)
        return self._message(header, fc_params, longer(data, twist.beside), twist)

    def give_up(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a response without assertions: the client failed, or the user said no."""
        header, fc_params = self._frame(request, HONEST)
        return {"header": header, "fcParams": fc_params, "assertions": []}

    def _frame(self, request: dict[str, Any], twist: Twist) -> tuple[dict[str, Any], str]:
        header = dict(request["header"])
        params: dict[str, Any] = {
            "appID": twist.app_id or header["appID"],
            "challenge": twist.challenge or request["challenge"],
            "facetID": twist.facet or self.facet,
            "channelBinding": twist.channel,
        }
        if twist.server_data:
            header["serverData"] = twist.server_data
        if twist.version:
            header["upv"] = dict(zip(("major", "minor"), twist.version, strict=True))
        if twist.op:
            header["op"] = twist.op
        if twist.header_app_id:
            header["appID"] = twist.header_app_id
        return header, base64url.encode(json.dumps(twist.params(params)).encode())

    @staticmethod
    def _message(header: dict[str, Any], fc_params: str, data: bytes, twist: Twist) -> dict[str, Any]:
        data = data[: len(data) - twist.cut] + twist.tail
        assertion = {"assertionScheme": "UAFV1TLV", "assertion": base64url.encode(data)}
        return {"header": header, "fcParams": twist.after_fc_params or fc_params, "assertions": [assertion]}


def twisted(**changes: Any) -> Twist:  # noqa: ANN401 - any member of Twist
    return replace(HONEST, **changes)


def longer(element: bytes, elements: bytes) -> bytes:
    """Return a composite element with more `elements` at its end."""
    length = len(element) - 4 + len(elements)
    return element[:2] + length.to_bytes(2, "little") + element[4:] + elements
