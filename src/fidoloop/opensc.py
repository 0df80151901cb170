"""OpenSC's PKCS#11 module over a virtual PIV card, for demonstrations and tests.

The module makes no keys on PIV cards: yubico-piv-tool makes them, and puts a certificate beside each, without which
OpenSC shows no key.
"""

import datetime
import subprocess
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509.oid import NameOID

from fidoloop.hsm.discovery import discover
from fidoloop.hsm.errors import KeyStoreError, ModuleError, TokenAbsent
from fidoloop.hsm.pkcs11.installed import InstalledModule
from fidoloop.hsm.uri import parse_uri
from fidoloop.lab_card import LabCard
from fidoloop.processes import find_program

_MODULES = ("usr/lib/*/opensc-pkcs11.so", "usr/lib64/opensc-pkcs11.so", "usr/lib/*/pkcs11/opensc-pkcs11.so")


def find_opensc_module() -> Path:
    """Return the path of opensc-pkcs11.so. Raises ModuleError."""
    for pattern in _MODULES:
        for path in sorted(Path("/").glob(pattern)):
            return path
    raise ModuleError("opensc-pkcs11.so is not installed (Debian: apt install opensc-pkcs11)")


def make_card_key(card: LabCard, slot: str, algorithm: str = "ECCP256") -> None:
    """Make a key in a slot of the card ("9a", ...) with yubico-piv-tool, and a certificate of a lab CA's beside it.

    Raises:
        KeyStoreError: the tool failed, or is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="fidoloop-piv-") as directory:
        public, certificate = f"{directory}/public", f"{directory}/certificate"
        _tool(card, "-a", "generate", "-s", slot, "-A", algorithm, "-o", public)
        key = load_pem_public_key(Path(public).read_bytes())
        assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        Path(certificate).write_bytes(_certificate(key))
        _tool(card, "-a", "import-certificate", "-s", slot, "-i", certificate)


def opensc_uri(reader: str) -> str:
    """Return the URI, without a PIN, of the card that OpenSC's module has in a reader. Raises TokenAbsent."""
    (found,) = discover([InstalledModule(str(find_opensc_module()))])
    for slot in found.found.slots:
        if slot.description.startswith(reader) and slot.token is not None:
            return parse_uri(found.uri(slot.token)).without_pin()
    raise TokenAbsent(f"OpenSC sees no card in the reader {reader!r}: {found.found.error}")


def _tool(card: LabCard, *arguments: str) -> None:
    command = [find_program("yubico-piv-tool", "yubico-piv-tool"), "-r", card.reader, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KeyStoreError(f"yubico-piv-tool failed: {done.stderr.strip()[-500:]}")


def _certificate(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fidoloop virtual card")])
    builder = x509.CertificateBuilder(name, name, key, x509.random_serial_number(), now, now + datetime.timedelta(1))
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)
