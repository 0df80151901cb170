"""`fidoloop keys attest` and `keys verify-evidence`: from a token to a verdict."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from fidoloop.cli.exits import Exit
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.uri import parse_uri
from fidoloop.lab_card import PIN as CARD_PIN
from fidoloop.lab_card import LabCard
from fidoloop.protocol.evidence import cmw
from fidoloop.protocol.evidence.values import Evidence
from tests.cli.command import Done, invoke
from tests.lab import SOFTHSM_PIN, TPM_PIN
from tests.protocol.builders import AT, p256, root
from tests.protocol.evidence.builders import DEVICE_KEY, NONCE, Certified, attested, device, piv, pkix

HEX = NONCE.hex()
THEN = AT.strftime("%Y-%m-%d")


def keys(*arguments: str) -> Done:
    done = invoke("keys", *arguments, pin=SOFTHSM_PIN)
    assert SOFTHSM_PIN not in done.all
    assert "\x1b" not in done.all
    return done


@pytest.fixture
def uri(fidoloop_make_token: Callable[[], str]) -> str:
    return parse_uri(fidoloop_make_token()).without_pin()


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """A file with the root's certificate and the TPM's attestation key."""
    path = tmp_path / "roots.pem"
    key = p256(DEVICE_KEY).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.write_bytes(b"a comment\n" + root().public_bytes(Encoding.PEM) + key)
    return path


def verify(path: Path, *arguments: str) -> tuple[int, Any]:
    done = keys("verify-evidence", str(path), *arguments, "--json")
    return done.code, done.json


def saved(evidence: Evidence, directory: Path) -> Path:
    path = directory / "evidence.json"
    path.write_text(cmw.encode(evidence))
    return path


def test_what_softhsm_claims_is_told_and_never_verifies(uri: str, tmp_path: Path) -> None:
    made = keys("generate", uri, "--json").json
    file = tmp_path / "evidence.json"
    attest = ("attest", uri, "--id", made["id"], "--nonce", HEX)
    written = keys(*attest, "--out", str(file))
    assert (written.code, written.err) == (Exit.OK, "")
    assert "never_extractable: True" in written.out
    code, said = verify(file, "--nonce", HEX)
    assert (code, said["verified"], said["tier"], said["source"]) == (Exit.REFUSED, False, "unattested", "unsigned")
    assert said["claims"]["note"] == "software token: these claims are worth nothing"
    assert said["claims"]["never_extractable"] is True
    assert said["key"] == made["public_key"]
    shown = keys("verify-evidence", str(file), "--nonce", HEX)
    assert "worth nothing" in shown.out
    assert shown.out.endswith("NOT VERIFIED\n")


def test_evidence_goes_to_standard_output_where_no_file_is_named(uri: str) -> None:
    made = keys("generate", uri, "--algorithm", "rsa2048", "--json").json
    attest = ("attest", uri, "--id", made["id"], "--nonce", HEX)
    assert cmw.decode(keys(*attest).out.encode()).possession
    said = keys(*attest, "--json").json
    assert [record[2] for record in said["evidence"]] == [4, 4]
    assert said["kind"] == "p11-claims"


def test_evidence_for_another_nonce_shows_no_possession(uri: str, tmp_path: Path) -> None:
    made = keys("generate", uri, "--json").json
    file = tmp_path / "evidence.json"
    keys("attest", uri, "--id", made["id"], "--nonce", "00" * 32, "--out", str(file))
    code, said = verify(file, "--nonce", HEX)
    assert (code, said["failed"]) == (Exit.REFUSED, "possession")


def test_a_key_that_cannot_sign_has_no_evidence_here(uri: str, tmp_path: Path) -> None:
    made = keys("generate", uri, "--usage", "derive", "--json").json
    file = tmp_path / "evidence.json"
    done = keys("attest", uri, "--id", made["id"], "--nonce", HEX, "--out", str(file))
    assert done.code == Exit.DEVICE
    assert "only a key that signs" in done.err
    assert not file.exists()
    assert keys("attest", uri, "--id", "ff", "--nonce", HEX).code == Exit.DEVICE


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (piv(), ("CN=root", "slot", "9a")),
        (Certified().evidence(), ("pinned key", "ak_hierarchy", "endorsement")),
        (pkix(), ("CN=root", "hwserial", "0001")),
    ],
    ids=["piv", "tpm", "pkix"],
)
def test_what_a_device_signed_verifies(
    evidence: Evidence, expected: tuple[str, str, str], roots: Path, tmp_path: Path
) -> None:
    signed_by, claim, value = expected
    file = saved(evidence, tmp_path)
    options = ("--root", str(roots), "--nonce", HEX, "--at", THEN)
    code, said = verify(file, *options)
    assert (code, said["verified"], said["tier"], said["signed_by"]) == (Exit.OK, True, "attested", signed_by)
    assert said["claims"][claim] == value
    shown = keys("verify-evidence", str(file), *options)
    assert shown.code == Exit.OK
    assert f"  {claim}: {value}\n" in shown.out
    assert shown.out.endswith("\nverified\n")


def test_a_tpms_attestation_key_is_shown_to_be_pinned(tmp_path: Path) -> None:
    file = saved(Certified().evidence(), tmp_path)
    code, said = verify(file, "--nonce", HEX)
    assert (code, said["failed"]) == (Exit.REFUSED, "anchor")
    pin = tmp_path / "ak.pem"
    pin.write_text(said["attestation_key"])
    assert load_pem_public_key(pin.read_bytes()) == p256(DEVICE_KEY).public_key()
    assert verify(file, "--nonce", HEX, "--root", str(pin))[0] == Exit.OK


@pytest.mark.xdist_group("tpm")
def test_a_key_in_a_tpm_is_attested_and_verified(fidoloop_tpm_token: str, tmp_path: Path) -> None:
    uri = parse_uri(fidoloop_tpm_token).without_pin()
    made = invoke("keys", "generate", uri, "--json", pin=TPM_PIN).json
    file, pin = tmp_path / "evidence.json", tmp_path / "ak.pem"
    done = invoke("keys", "attest", uri, "--id", made["id"], "--nonce", HEX, "--out", str(file), "--json", pin=TPM_PIN)
    assert (done.code, done.json["kind"], done.json["key"]) == (Exit.OK, "tpm2-certify", made["public_key"])
    pin.write_text(done.json["attestation_key"])
    code, said = verify(file, "--nonce", HEX, "--root", str(pin))
    assert (code, said["tier"], said["key"]) == (Exit.OK, "attested", made["public_key"])
    assert verify(file, "--nonce", "22" * 32, "--root", str(pin))[1]["failed"] == "nonce"


@pytest.mark.parametrize(
    ("options", "failed"),
    [
        (("--at", THEN), "nonce"),
        (("--nonce", HEX), "validity"),
        (("--nonce", "11" * 32, "--at", THEN), "possession"),
    ],
)
def test_what_is_missing_or_wrong_is_named(options: tuple[str, ...], failed: str, roots: Path, tmp_path: Path) -> None:
    file = saved(piv(), tmp_path)
    code, said = verify(file, "--root", str(roots), *options)
    assert (code, said["verified"], said["failed"]) == (Exit.REFUSED, False, failed)
    assert said["claims"]["firmware"] == "5.7.1"
    assert "tier" not in said
    text = keys("verify-evidence", str(file), "--root", str(roots), *options).out
    assert f"failed: {failed}\n" in text


def test_nothing_is_trusted_from_the_outset(tmp_path: Path) -> None:
    code, said = verify(saved(piv(), tmp_path), "--nonce", HEX, "--at", THEN)
    assert (code, said["failed"]) == (Exit.REFUSED, "anchor")


def test_what_a_device_says_cannot_drive_the_terminal(tmp_path: Path) -> None:
    file = saved(pkix(platform={"vendor": "\x1b[2Jx"}), tmp_path)
    assert "\\x1b[2Jx" in keys("verify-evidence", str(file)).out


@pytest.mark.parametrize("content", [b"", b"[]", b'["x"]', b"\xff", b"[" * 300000])
def test_a_file_that_is_no_evidence_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    path.write_bytes(content)
    done = keys("verify-evidence", str(path), "--nonce", HEX)
    assert (done.code, done.out) == (Exit.REFUSED, "")
    assert done.err.startswith("error: ")


def test_evidence_without_meaning_is_refused(tmp_path: Path) -> None:
    file = saved(piv(attested(p256(4), extensions={}), device()), tmp_path)
    done = keys("verify-evidence", str(file), "--nonce", HEX)
    assert done.code == Exit.REFUSED
    assert "extension" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("attest", "pkcs11:token=x", "--id", "00"),
        ("attest", "pkcs11:token=x", "--nonce", HEX),
        ("attest", "pkcs11:token=x", "--id", "00", "--nonce", "zz"),
        ("attest", "pkcs11:token=x", "--id", "00", "--nonce", "00" * 33),
        ("attest", "pkcs11:token=x", "--id", "00", "--nonce", "00" * 7),
        ("verify-evidence", "/no/such/file"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert keys(*arguments).code == Exit.USAGE


@pytest.mark.parametrize("content", [b"", b"text", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_root_that_is_none_is_wrong_usage(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    path.write_bytes(content)
    done = keys("verify-evidence", str(saved(piv(), tmp_path)), "--root", str(path))
    assert done.code == Exit.USAGE
    assert "--root" in done.err


def test_help_tells_what_the_options_are() -> None:
    assert "unsigned" in keys("attest", "--help").out
    assert "exit 0" in " ".join(keys("verify-evidence", "--help").out.split())


def test_a_key_in_a_piv_card_is_attested_up_to_the_cards_factory(
    fidoloop_card: LabCard, fidoloop_card_factory: Factory, tmp_path: Path
) -> None:
    uri = f"{fidoloop_card.uri}?management-key=default"
    made = invoke("keys", "generate", uri, "--json", pin=CARD_PIN).json
    file, pin = tmp_path / "evidence.json", tmp_path / "factory.pem"
    pin.write_bytes(fidoloop_card_factory.certificate.public_bytes(Encoding.PEM))
    attest = ("keys", "attest", uri, "--id", made["id"], "--nonce", HEX, "--out", str(file))
    assert invoke(*attest, pin=CARD_PIN).code == Exit.OK
    code, said = verify(file, "--nonce", HEX, "--root", str(pin))
    assert (code, said["tier"], said["key"]) == (Exit.OK, "attested", made["public_key"])
    assert said["claims"]["simulated"] is True
    assert verify(file, "--nonce", "22" * 32, "--root", str(pin))[1]["failed"] == "possession"
    assert verify(file, "--nonce", HEX)[1]["failed"] == "anchor"
