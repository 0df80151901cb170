"""Certificates of a CA of the tests' own."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


class Files(NamedTuple):
    """A pair as the server reads it."""

    certificate: Path
    key: Path
    leaf: x509.Certificate


class Authority:
    """A CA whose certificate is in `pem`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        builder = builder_of(name, name, self._key.public_key(), NOW - DAY, NOW + DAY)
        self.certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
            self._key, hashes.SHA256()
        )
        self.pem = directory / "tests-ca.pem"
        self.pem.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def issue(
        self,
        name: str = "server",
        *,
        hosts: tuple[str, ...] = ("localhost",),
        begins: datetime = NOW - DAY,
        ends: datetime = NOW + DAY,
        password: bytes | None = None,
    ) -> Files:
        """Write a new certificate and its key, in place of those that had the name before."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        leaf = (
            builder_of(subject, self.certificate.subject, key.public_key(), begins, ends)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        files = Files(self.directory / f"{name}.pem", self.directory / f"{name}.key", leaf)
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        replace(files.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        replace(files.certificate, leaf.public_bytes(Encoding.PEM) + self.certificate.public_bytes(Encoding.PEM))
        files.key.chmod(0o600)
        return files


def replace(path: Path, data: bytes) -> None:
    staged = path.with_suffix(".staged")
    staged.write_bytes(data)
    staged.replace(path)


def builder_of(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
