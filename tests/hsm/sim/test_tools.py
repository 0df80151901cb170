"""Strangers use the virtual card through the real pcscd: OpenSC's tools and yubico-piv-tool."""

import datetime
import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509.oid import NameOID

from fidoloop.hsm.sim.factory import Factory
from fidoloop.lab_card import MANAGEMENT_KEY, PIN, PUK, LabCard
from fidoloop.pcscd import PrivatePcscd

DATA = b"signed by a virtual card"


def tool(*arguments: str | Path, succeeds: bool | None = True, **environment: str) -> str:
    """Run a tool, return what it says; None for one whose exit code means nothing."""
    done = subprocess.run(
        [*map(str, arguments)], capture_output=True, text=True, check=False, timeout=60, env=os.environ | environment
    )
    said = done.stdout + done.stderr
    assert succeeds in (None, done.returncode == 0), said
    return said


def ykpiv(*arguments: str | Path, succeeds: bool = True) -> str:
    return tool("yubico-piv-tool", "-r", "Virtual PCD 00 00", *arguments, succeeds=succeeds)


def certify(public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, path: Path) -> x509.Certificate:
    """Certify a card's public key by a CA that is made for it."""
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "virtual card test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return certificate


def generated_by_ykpiv(slot: str, algorithm: str, directory: Path) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """Make a key and put a certificate of it into the card."""
    public_file, certificate_file = directory / f"{slot}.pub", directory / f"{slot}.crt"
    ykpiv("-a", "generate", "-s", slot, "-A", algorithm, "-o", public_file)
    public = load_pem_public_key(public_file.read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    certify(public, certificate_file)
    ykpiv("-a", "import-certificate", "-s", slot, "-i", certificate_file)
    return public


def pkcs11_sign(slot_id: str, mechanism: str, directory: Path) -> bytes:
    data, signature = directory / "data", directory / "signature"
    data.write_bytes(DATA)
    tool(
        *("pkcs11-tool", "--login", "--pin", PIN, "--sign", "-m", mechanism, "--id", slot_id),
        *("-i", data, "-o", signature, "--signature-format", "openssl"),
    )
    return signature.read_bytes()


def test_opensc_takes_the_card_for_a_piv_card_with_ecdsa_and_ecdh(fidoloop_card: LabCard) -> None:
    said = tool("piv-tool", "-n", OPENSC_DEBUG="3")
    assert "Personal Identity Verification Card" in said
    assert "card_issues=0x00000000" in said
    mechanisms = tool("pkcs11-tool", "-M")
    for wanted in ("ECDSA, keySize={256,384}, hw", "ECDH1-DERIVE, keySize={256,384}, hw", "RSA-PKCS-OAEP"):
        assert wanted in mechanisms


@pytest.mark.parametrize(("slot", "slot_id"), [("9a", "01"), ("9c", "02")])
def test_a_p256_key_made_by_yubico_piv_tool_signs_through_opensc(
    fidoloop_card: LabCard, tmp_path: Path, slot: str, slot_id: str
) -> None:
    public = generated_by_ykpiv(slot, "ECCP256", tmp_path)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(pkcs11_sign(slot_id, "ECDSA-SHA256", tmp_path), DATA, ec.ECDSA(hashes.SHA256()))


def test_an_rsa_key_made_by_yubico_piv_tool_signs_through_opensc(fidoloop_card: LabCard, tmp_path: Path) -> None:
    public = generated_by_ykpiv("9a", "RSA2048", tmp_path)
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(pkcs11_sign("01", "SHA256-RSA-PKCS", tmp_path), DATA, padding.PKCS1v15(), hashes.SHA256())


def test_opensc_decrypts_with_an_rsa_key(fidoloop_card: LabCard, tmp_path: Path) -> None:
    public = generated_by_ykpiv("9d", "RSA2048", tmp_path)
    assert isinstance(public, rsa.RSAPublicKey)
    encrypted, decrypted = tmp_path / "encrypted", tmp_path / "decrypted"
    encrypted.write_bytes(public.encrypt(DATA, padding.PKCS1v15()))
    tool(
        *("pkcs11-tool", "--login", "--pin", PIN, "--decrypt", "-m", "RSA-PKCS", "--id", "03"),
        *("-i", encrypted, "-o", decrypted),
    )
    assert decrypted.read_bytes() == DATA


def test_opensc_agrees_on_a_secret(fidoloop_card: LabCard, tmp_path: Path) -> None:
    public = generated_by_ykpiv("9d", "ECCP256", tmp_path)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    other = ec.generate_private_key(ec.SECP256R1())
    other_file, secret = tmp_path / "other.der", tmp_path / "secret"
    other_file.write_bytes(other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    tool(
        *("pkcs11-tool", "--login", "--pin", PIN, "--derive", "-m", "ECDH1-DERIVE", "--id", "03"),
        *("-i", other_file, "-o", secret),
    )
    assert secret.read_bytes() == other.exchange(ec.ECDH(), public)


def test_in_yubikey_shape_opensc_sees_a_yubikey_that_signs(
    fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory, tmp_path: Path
) -> None:
    with LabCard(fidoloop_pcscd, fidoloop_card_factory, yubikey_shape=True):
        public = generated_by_ykpiv("9c", "ECCP256", tmp_path)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(pkcs11_sign("02", "ECDSA-SHA256", tmp_path), DATA, ec.ECDSA(hashes.SHA256()))


def test_yubico_piv_tool_signs_with_a_key_it_made(fidoloop_card: LabCard, tmp_path: Path) -> None:
    public = generated_by_ykpiv("9a", "ECCP384", tmp_path)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    data, signature = tmp_path / "data", tmp_path / "signature"
    data.write_bytes(DATA)
    ykpiv(
        *("-a", "verify-pin", "-P", PIN, "--sign", "-s", "9a", "-A", "ECCP384", "-H", "SHA384"),
        *("-i", data, "-o", signature),
    )
    public.verify(signature.read_bytes(), DATA, ec.ECDSA(hashes.SHA384()))


def test_piv_tool_makes_a_key_and_loads_its_certificate(fidoloop_card: LabCard, tmp_path: Path) -> None:
    key, certificate_file = tmp_path / "key", tmp_path / "9e.crt"
    key.write_text(MANAGEMENT_KEY)
    # piv-tool 0.23 makes the key, then fails to print it (OpenSC issue 3156): the attestation has it. It loads
    # certificates, then ends with their length as its exit code: what is read back counts.
    piv_tool = ("piv-tool", "-A", "M:9B:03")
    tool(*piv_tool, "-G", "9E:07", succeeds=None, PIV_EXT_AUTH_KEY=str(key))
    public = x509.load_pem_x509_certificate(ykpiv("-a", "attest", "-s", "9e").encode()).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    certificate = certify(public, certificate_file)
    tool(*piv_tool, "-C", "9E", "-i", certificate_file, succeeds=None, PIV_EXT_AUTH_KEY=str(key))
    read = tool("pkcs15-tool", "--read-certificate", "04")
    assert x509.load_pem_x509_certificate(read[read.index("-----BEGIN") :].encode()) == certificate


def test_certificates_are_read_back_by_both(fidoloop_card: LabCard, tmp_path: Path) -> None:
    public = generated_by_ykpiv("9a", "ECCP256", tmp_path)
    pem = (tmp_path / "9a.crt").read_text()
    assert pem in ykpiv("-a", "read-certificate", "-s", "9a")
    assert pem in tool("pkcs15-tool", "--read-certificate", "01")
    assert x509.load_pem_x509_certificate(pem.encode()).public_key() == public


def test_pins_are_verified_changed_counted_and_unblocked(fidoloop_card: LabCard) -> None:
    tool("pkcs15-tool", "--verify-pin", "--pin", PIN)
    ykpiv("-a", "change-pin", "-P", PIN, "-N", "65432100")
    assert "2 tries left" in ykpiv("-a", "verify-pin", "-P", PIN, succeeds=False)
    ykpiv("-a", "verify-pin", "-P", "65432100")
    for _ in range(3):
        ykpiv("-a", "verify-pin", "-P", PIN, succeeds=False)
    tool("pkcs15-tool", "--verify-pin", "--pin", "65432100", succeeds=False)
    ykpiv("-a", "unblock-pin", "-P", PUK, "-N", PIN)
    tool("pkcs15-tool", "--verify-pin", "--pin", PIN)


def test_an_attestation_leads_to_the_factory(
    fidoloop_card: LabCard, fidoloop_card_factory: Factory, tmp_path: Path
) -> None:
    public = generated_by_ykpiv("9a", "ECCP256", tmp_path)
    leaf, device, root = tmp_path / "leaf.pem", tmp_path / "f9.pem", tmp_path / "root.pem"
    ykpiv("-a", "attest", "-s", "9a", "-o", leaf)
    ykpiv("-a", "read-certificate", "-s", "f9", "-o", device)
    root.write_bytes(fidoloop_card_factory.certificate.public_bytes(Encoding.PEM))
    assert ": OK" in tool("openssl", "verify", "-CAfile", root, "-untrusted", device, leaf)
    assert x509.load_pem_x509_certificate(leaf.read_bytes()).public_key() == public
