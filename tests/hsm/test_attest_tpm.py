"""TPM2_Certify of keys in a software TPM, held against a verifier's rules and against tpm2-tools."""

import datetime
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fidoloop.hsm.errors import KeyStoreError, ModuleError, NotSupported, PinIncorrect, TokenAbsent
from fidoloop.hsm.keystore import HardwareKey, KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.tpm import commands
from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.evidence.keys import allowed_key, spki
from fidoloop.protocol.evidence.tpm import attestation_key
from fidoloop.protocol.evidence.values import Anchors, Appraisal, Evidence, EvidenceCheck, EvidenceRefusal, Tier
from fidoloop.protocol.evidence.verify import verify_evidence
from fidoloop.swtpm import SoftwareTpm
from tests.lab import TPM_PIN

from .test_tpm import failed_tries

pytestmark = pytest.mark.xdist_group("tpm")

NONCE = bytes(range(32))
FILE = "tpm2_pkcs11.sqlite3"


@pytest.fixture(scope="module")
def tpm(fidoloop_tpm_token: str) -> Iterator[KeyStore]:
    with open_key_store(fidoloop_tpm_token) as store:
        yield store


@pytest.fixture(scope="module")
def key(tpm: KeyStore) -> HardwareKey:
    return tpm.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=os.urandom(16), label="attested")


def appraised(evidence: Evidence, key: HardwareKey, nonce: bytes = NONCE, pin: Evidence | None = None) -> Appraisal:
    return verify_evidence(
        evidence,
        anchors=Anchors(keys=(attestation_key(pin or evidence),)),
        expected_nonce=nonce,
        expected_key=allowed_key(key.public_key()),
        at=datetime.datetime.now(datetime.UTC),
    )


def loaded() -> str:
    return subprocess.run(["tpm2_getcap", "handles-transient"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("algorithm", "usage"),
    [
        (KeyAlgorithm.P256, KeyUsage.SIGN),
        (KeyAlgorithm.P384, KeyUsage.SIGN),
        (KeyAlgorithm.RSA2048, KeyUsage.SIGN),
        (KeyAlgorithm.RSA2048, KeyUsage.DECRYPT),
    ],
)
def test_the_tpm_attests_keys_of_every_kind(tpm: KeyStore, algorithm: KeyAlgorithm, usage: KeyUsage) -> None:
    made = tpm.generate(algorithm, usage, key_id=os.urandom(16), label="")
    found = appraised(tpm.attest(made.key_id, NONCE), made)
    assert (found.tier, found.claims["ak_hierarchy"]) == (Tier.ATTESTED, "endorsement")
    assert found.claims["local"] is found.claims["never_extractable"] is True
    tpm.delete(made.key_id)


def test_the_attestation_key_is_one_and_the_same_and_nothing_stays_loaded(tpm: KeyStore, key: HardwareKey) -> None:
    before = loaded()
    first, second = tpm.attest(key.key_id, NONCE), tpm.attest(key.key_id, bytes(8))
    assert spki(attestation_key(first)) == spki(attestation_key(second))
    assert appraised(second, key, bytes(8), pin=first).tier is Tier.ATTESTED
    assert loaded() == before


def test_evidence_for_another_nonce_is_refused(tpm: KeyStore, key: HardwareKey) -> None:
    with pytest.raises(EvidenceRefusal) as caught:
        appraised(tpm.attest(key.key_id, bytes(32)), key)
    assert caught.value.check is EvidenceCheck.NONCE


def test_tpm2_tools_agree(tpm: KeyStore, key: HardwareKey, tmp_path: Path) -> None:
    evidence = tpm.attest(key.key_id, NONCE)
    parts = {name: base64url.decode(text) for name, text in strictjson.loads(evidence.value).items() if text}
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    pem = attestation_key(evidence).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ak.pem").write_bytes(pem)

    def tool(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    shown = tool("tpm2_print", "-t", "TPMT_PUBLIC", "public")
    assert f"x: {key.public_key().public_numbers().x:064x}" in shown  # type: ignore[union-attr]
    tool("tpm2_loadexternal", "-C", "n", "-G", "ecc", "-u", "ak.pem", "-c", "ak.ctx")
    tool("tpm2_verifysignature", "-c", "ak.ctx", "-g", "sha256", "-m", "attest", "-s", "signature")


def test_a_pin_that_the_tpm_refuses_is_sent_once(fidoloop_tpm: SoftwareTpm) -> None:
    uri = fidoloop_tpm.make_token("attest-pin", TPM_PIN, "31415926")
    try:
        with open_key_store(uri) as store:
            made = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"attested", label="")
            change = [
                "tpm2_ptool",
                "changepin",
                "--label=attest-pin",
                f"--old={TPM_PIN}",
                "--new=271828",
                "--user=user",
            ]
            subprocess.run(change, check=True, capture_output=True)
            for _ in range(3):
                with pytest.raises(PinIncorrect):
                    store.attest(made.key_id, NONCE)
            assert failed_tries() == 1
    finally:
        subprocess.run(["tpm2_dictionarylockout", "--clear-lockout"], check=True)


def test_an_endorsement_hierarchy_with_a_password_gives_no_attestation_key(tpm: KeyStore, key: HardwareKey) -> None:
    subprocess.run(["tpm2_changeauth", "-c", "e", "secret"], check=True)
    try:
        with pytest.raises(NotSupported, match="endorsement hierarchy has a password"):
            tpm.attest(key.key_id, NONCE)
    finally:
        subprocess.run(["tpm2_changeauth", "-c", "e", "-p", "secret"], check=True)
    assert tpm.attest(key.key_id, NONCE)


@pytest.fixture
def altered(
    fidoloop_tpm: SoftwareTpm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str, tuple[object, ...]], None]:
    """Returns a function that has attestations read a copy of tpm2-pkcs11's file with one statement run on it."""

    def alter(statement: str, arguments: tuple[object, ...] = ()) -> None:
        shutil.copy(Path(fidoloop_tpm.environment["TPM2_PKCS11_STORE"]) / FILE, tmp_path)
        with sqlite3.connect(tmp_path / FILE) as file:
            assert file.execute(statement, arguments).rowcount > 0
        file.close()
        monkeypatch.setenv("TPM2_PKCS11_STORE", str(tmp_path))

    return alter


@pytest.mark.parametrize(
    ("statement", "error", "reason"),
    [
        ("UPDATE schema SET schema_version = 9", NotSupported, "version 9"),
        ("UPDATE tokens SET label = label || '-renamed'", NotSupported, "no file of tpm2-pkcs11 has the token"),
        ("UPDATE pobjects SET config = ''", NotSupported, "not persistent"),
        ("DELETE FROM tobjects", KeyStoreError, "no private key with id"),
        ("UPDATE sealobjects SET userauthsalt = userauthsalt || '0'", PinIncorrect, "PIN"),
        ("UPDATE pobjects SET config = replace(config, '81000001', '81000002')", ModuleError, "the TPM failed with"),
        ("UPDATE tobjects SET attrs = replace(attrs, '2399141889', '1')", ModuleError, "refused the key's password"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_that_says_so(
    altered: Callable[[str], None],
    fidoloop_tpm: SoftwareTpm,
    statement: str,
    error: type[KeyStoreError],
    reason: str,
) -> None:
    uri = fidoloop_tpm.make_token(f"odd-{os.urandom(4).hex()}", TPM_PIN, "31415926")
    try:
        with open_key_store(uri) as store:
            made = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"attested", label="")
            altered(statement)
            with pytest.raises(error, match=reason):
                store.attest(made.key_id, NONCE)
    finally:
        subprocess.run(["tpm2_dictionarylockout", "--clear-lockout"], check=True)


def test_another_keys_blob_under_the_id_is_an_error(
    altered: Callable[[str, tuple[object, ...]], None], tpm: KeyStore, key: HardwareKey
) -> None:
    other = tpm.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=os.urandom(16), label="")
    spare = os.urandom(16).hex()
    altered("UPDATE tobjects SET attrs = replace(attrs, ?, ?)", (key.key_id.hex(), spare))
    altered_again = "UPDATE tobjects SET attrs = replace(replace(attrs, ?, ?), ?, ?)"
    altered(altered_again, (key.key_id.hex(), spare, other.key_id.hex(), key.key_id.hex()))
    with pytest.raises(ModuleError, match="another key under this id"):
        tpm.attest(key.key_id, NONCE)


def test_a_file_that_is_none_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tpm: KeyStore, key: HardwareKey
) -> None:
    monkeypatch.setenv("TPM2_PKCS11_STORE", str(tmp_path))
    with pytest.raises(NotSupported, match="TPM2_PKCS11_STORE"):
        tpm.attest(key.key_id, NONCE)
    (tmp_path / FILE).write_bytes(b"no database, whatever its name says")
    with pytest.raises(NotSupported, match="cannot be read"):
        tpm.attest(key.key_id, NONCE)


def test_a_transport_to_nowhere_is_an_absent_token(
    monkeypatch: pytest.MonkeyPatch, tpm: KeyStore, key: HardwareKey
) -> None:
    monkeypatch.setenv("TPM2_PKCS11_TCTI", "device:/dev/nothing")
    with pytest.raises(TokenAbsent, match="no TPM answers through device:/dev/nothing"):
        tpm.attest(key.key_id, NONCE)


@pytest.mark.parametrize("size", [0, 7, 33])
def test_a_nonce_of_another_size_is_refused(tpm: KeyStore, key: HardwareKey, size: int) -> None:
    with pytest.raises(ValueError, match="8 to 32 bytes"):
        tpm.attest(key.key_id, bytes(size))


class _Answers:
    """A TPM that says one thing."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def run(self, _command: bytes) -> bytes:
        return self._answer


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ModuleError),
        (b"\x80\x01\x00\x00\x00\x0a\x00\x00", ModuleError),
        (b"\x80\x01\x00\x00\x00\x0a\x00\x00\x09\x21", KeyStoreError),
        (b"\x80\x01\x00\x00\x00\x0a\x00\x00\x09\x8e", PinIncorrect),
        (b"\x80\x01\x00\x00\x00\x0a\x00\x00\x01\x01", ModuleError),
    ],
    ids=["nothing", "cut", "lockout", "auth", "failure"],
)
def test_what_a_tpm_refuses_becomes_an_error_of_the_family(answer: bytes, error: type[KeyStoreError]) -> None:
    with pytest.raises(error):
        commands.unseal(_Answers(answer), 0x80000000, b"")  # type: ignore[arg-type]
