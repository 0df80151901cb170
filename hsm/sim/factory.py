"""Where simulated cards come from: a certification authority that gives every card its serial and attestation key."""

import datetime
import os
import secrets
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from fidoloop.hsm.sim.piv import private_keys
from fidoloop.hsm.sim.piv.management import default_management_key
from fidoloop.hsm.sim.piv.objects import certificate_object, factory_objects
from fidoloop.hsm.sim.piv.pins import default_pin, default_puk
from fidoloop.hsm.sim.piv.registry import ATTESTATION, ATTESTATION_CERTIFICATE, Algorithm, Origin, PinPolicy
from fidoloop.hsm.sim.piv.state import CardState, CardStateError, StoredKey

FIRMWARE: Final = (5, 7, 0)
"""In Yubico's numbers, since whoever asks knows those: the first version that has all commands of this card."""
CERTIFICATE_FILE: Final = "factory-ca.pem"
_KEY_FILE = "factory-ca.key"
_VALIDITY = datetime.timedelta(days=365 * 30)
_NAME = "fidoloop simulated card factory CA"


class Factory:
    """A root that vouches for simulated cards; whoever pins it trusts software."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def create(cls, *, now: datetime.datetime) -> Self:
        """Make a new root, valid for 30 years from `now` (UTC)."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
        builder = _builder(name, name, now=now, path_length=1).public_key(key.public_key())
        return cls(key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def open(cls, directory: Path, *, now: datetime.datetime) -> Self:
        """Read the root in `directory`, or make one there: factory-ca.pem to pin, factory-ca.key to keep.

        Raises:
            CardStateError: the files are damaged.
        """
        certificate_file, key_file = directory / CERTIFICATE_FILE, directory / _KEY_FILE
        if not (certificate_file.exists() and key_file.exists()):
            made = cls.create(now=now)
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            pem = made._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            _write(key_file, pem, mode=0o600)
            _write(certificate_file, made.certificate.public_bytes(Encoding.PEM), mode=0o644)
            return made
        try:
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
            key = load_pem_private_key(key_file.read_bytes(), None)
        except ValueError as error:
            raise CardStateError(f"the factory CA in {directory} is damaged: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CardStateError(f"the factory CA in {directory} is damaged: key and certificate do not match")
        return cls(key, certificate)

    def personalise(
        self,
        *,
        now: datetime.datetime,
        firmware: tuple[int, int, int] = FIRMWARE,
        yubikey_shape: bool = False,
    ) -> CardState:
        """Return the state of a new card: PIN 123456, PUK 12345678, 3DES management key 0102..08 three times.

        Args:
            now: UTC; the attestation certificate is valid for 30 years from it.
            firmware: what the card tells as its version, three numbers up to 255.
            yubikey_shape: attest under Yubico's object identifiers and names instead of private ones.

        Raises:
            ValueError: the version is not three bytes.
        """
        if len(firmware) != 3 or not all(0 <= number <= 255 for number in firmware):
            raise ValueError("a card's version is three numbers up to 255")
        serial = secrets.randbelow(2**31)
        maker = "Yubico" if yubikey_shape else "fidoloop"
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{maker} PIV Attestation")])
        key = private_keys.generate(Algorithm.P256)
        builder = _builder(name, self.certificate.subject, now=now, path_length=0).public_key(key.public_key())
        der = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.DER)
        attestation = StoredKey(Algorithm.P256, private_keys.to_pkcs8(key), PinPolicy.ONCE, Origin.IMPORTED)
        return CardState(
            serial=serial,
            firmware=firmware,
            yubikey_shape=yubikey_shape,
            pin=default_pin(),
            puk=default_puk(),
            management=default_management_key(),
            keys={ATTESTATION: attestation},
            objects=factory_objects() | {ATTESTATION_CERTIFICATE: certificate_object(der)},
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, *, now: datetime.datetime, path_length: int
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
    )


def _write(path: Path, content: bytes, *, mode: int) -> None:
    temporary = path.with_name(path.name + ".new")
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)
