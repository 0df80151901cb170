"""Lab TLS: a CA of one's own and a server certificate from it, made once and renewed when they run out."""

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from fidoloop.server.errors import ConfigError

CA_LIFETIME = timedelta(days=3650)
SERVER_LIFETIME = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(hours=1)
_ALWAYS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class LabTls:
    """Files in PEM: the CA's certificate to trust, the server's certificate and its key (mode 0600)."""

    ca: Path
    certificate: Path
    key: Path


def ensure_lab_tls(
    directory: Path, *, hosts: Iterable[str] = (), at: datetime | None = None, name: str = "server"
) -> LabTls:
    """Return lab TLS for localhost, its addresses, this machine's name and `hosts`; what is there and good is kept.

    `name` is that of the certificate's and the key's file: one CA may serve several.

    Raises:
        ConfigError: the files cannot be read or written.
    """
    now = at or datetime.now(UTC)
    names = tuple(dict.fromkeys([*_ALWAYS, socket.gethostname(), *hosts]))
    files = LabTls(directory / "ca.pem", directory / f"{name}.pem", directory / f"{name}.key")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca_key, ca = _load(directory / "ca.key", files.ca)
        if ca_key is None or ca is None or ca.not_valid_after_utc - RENEW_BEFORE <= now:
            ca_key, ca = _make_ca(now)
            _write_pair(directory / "ca.key", files.ca, ca_key, ca)
        key, certificate = _load(files.key, files.certificate)
        if key is None or certificate is None or not _is_good(certificate, ca, names, now):
            key, certificate = _make_server_certificate(ca_key, ca, names, now)
            _write_pair(files.key, files.certificate, key, certificate)
    except (OSError, ValueError) as error:
        raise ConfigError(f"lab TLS in {directory}: {error}") from None
    return files


def _is_good(certificate: x509.Certificate, ca: x509.Certificate, names: Iterable[str], now: datetime) -> bool:
    if certificate.not_valid_after_utc - RENEW_BEFORE <= now:
        return False
    try:
        certificate.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001 - cryptography has no one family for it; whatever it is, a new one is made
        return False
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(_general_names(names)) <= set(held)


def _make_ca(now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own, so that two labs' CAs are not mistaken for each other.
    name = _name(f"fidoloop lab CA {x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:8]}")
    builder = _builder(name, name, key.public_key(), now, CA_LIFETIME)
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _make_server_certificate(
    ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, names: Iterable[str], now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name("localhost"), ca.subject, key.public_key(), now, SERVER_LIFETIME)
    ca_identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return key, certificate


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _load(key_path: Path, certificate_path: Path) -> tuple[ec.EllipticCurvePrivateKey | None, x509.Certificate | None]:
    """Return a key and its certificate, or Nones where they are not there or do not belong together."""
    if not (key_path.exists() and certificate_path.exists()):
        return None, None
    key = load_pem_private_key(key_path.read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        return None, None
    return key, certificate


def _write_pair(
    key_path: Path, certificate_path: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> None:
    _write(key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(certificate_path, certificate.public_bytes(Encoding.PEM), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file that has its mode from its first byte on, in one step."""
    staged = path.with_name(f"{path.name}.new")
    staged.unlink(missing_ok=True)
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    staged.replace(path)
