"""The attestation key in the token, and what vouches for it.

Where there is room a lab CA certifies it, whose key is made in the token too. Where every key takes one of few places
(a PIV card's slots) the attestation certificate is signed by its own key. Either way the root is what metadata lists as
attestationRootCertificates, which may be "the attestation certificate itself" (FIDO metadata statements 4).
"""

import datetime

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage

CA_KEY_ID = b"fidoloop:attestation-ca"
ATTESTATION_KEY_ID = b"fidoloop:attestation"
_VALIDITY = datetime.timedelta(days=3650)


class Attestation(msgspec.Struct, frozen=True):
    """The attestation key and its chain (DER, leaf first, without a root above it) and the root, or the leaf again."""

    key: EcHardwareKey
    chain: tuple[bytes, ...]
    root: bytes


def load_attestation(store: KeyStore) -> Attestation | None:
    """Return what `attest_init` made in this token, or None where it was not called.

    Raises:
        KeyStoreError: the certificates are there but the key is gone.
    """
    leaf = store.certificate(ATTESTATION_KEY_ID)
    if leaf is None:
        return None
    root = leaf if _is_self_signed(leaf) else store.certificate(CA_KEY_ID)
    if root is None:
        return None
    key = store.key(ATTESTATION_KEY_ID)
    return Attestation(key, (leaf,), root) if isinstance(key, EcHardwareKey) else None


def attest_init(store: KeyStore, *, now: datetime.datetime) -> Attestation:
    """Make an attestation key in the token, and a lab CA if it has room, or return what is there.

    `now` (UTC) starts the certificates' validity of ten years.

    Raises:
        KeyStoreError: the token cannot make or keep them.
    """
    existing = load_attestation(store)
    if existing is not None:
        return existing
    token = store.info()
    key = _key(store, ATTESTATION_KEY_ID, "fidoloop attestation")
    if key.info.place:
        name = _name(f"fidoloop authenticator {token.label}", token.serial)
        leaf = _certificate(name, name, key, key, now=now, ca=False)
        store.put_certificate(ATTESTATION_KEY_ID, leaf, "fidoloop attestation")
        return Attestation(key, (leaf,), leaf)
    ca_key = _key(store, CA_KEY_ID, "fidoloop attestation CA")
    ca_name = _name(f"fidoloop lab attestation CA {token.label}", token.serial)
    root = _certificate(ca_name, ca_name, ca_key, ca_key, now=now, ca=True)
    leaf = _certificate(_name(f"fidoloop authenticator {token.label}", None), ca_name, key, ca_key, now=now, ca=False)
    store.put_certificate(CA_KEY_ID, root, "fidoloop attestation CA")
    store.put_certificate(ATTESTATION_KEY_ID, leaf, "fidoloop attestation")
    return Attestation(key, (leaf,), root)


def _is_self_signed(der: bytes) -> bool:
    certificate = x509.load_der_x509_certificate(der)
    return certificate.issuer == certificate.subject


def _key(store: KeyStore, key_id: bytes, label: str) -> EcHardwareKey:
    # A first call that stopped half-way left a key without a certificate: take it up again.
    present = {info.key_id for info in store.list()}
    key = (
        store.key(key_id)
        if key_id in present
        else store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=key_id, label=label)
    )
    assert isinstance(key, EcHardwareKey)
    return key


def _name(common_name: str, serial: str | None) -> x509.Name:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fidoloop"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Authenticator Attestation"),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
    ]
    if serial:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(attributes)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: EcHardwareKey,
    signer: EcHardwareKey,
    *,
    now: datetime.datetime,
    ca: bool,
) -> bytes:
    usage = x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.DER)
