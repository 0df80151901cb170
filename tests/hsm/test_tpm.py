"""A TPM 2.0 behind tpm2-pkcs11: a software one, with the access broker and the module that real ones are used with."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from fidoloop.authenticator.models import StoreKind
from fidoloop.hsm.errors import KeyGone, NotSupported, PinIncorrect, PinLocked
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage, RsaHardwareKey
from fidoloop.hsm.open import open_key_store
from fidoloop.swtpm import SoftwareTpm
from tests.lab import TPM_PIN

from .test_store import certificate

pytestmark = pytest.mark.xdist_group("tpm")

LOADED_AT_ONCE = 27  # tpm2-abrmd's default for one client
DIGEST = hashlib.sha256(b"message").digest()


@pytest.fixture(scope="module")
def tpm(fidoloop_tpm_token: str) -> Iterator[KeyStore]:
    with open_key_store(fidoloop_tpm_token) as store:
        yield store


def made(store: KeyStore, algorithm: KeyAlgorithm = KeyAlgorithm.P256, key_id: bytes | None = None) -> EcHardwareKey:
    key = store.generate(algorithm, KeyUsage.SIGN, key_id=key_id or os.urandom(32), label="a key")
    assert isinstance(key, EcHardwareKey)
    return key


def test_a_software_tpm_is_known_for_one(tpm: KeyStore) -> None:
    info = tpm.info()
    assert (info.kind, info.hardware, info.manufacturer) == ("tpm", False, "IBM")
    assert StoreKind.of(info) is StoreKind.SOFTWARE_TOKEN
    assert "ECDSA" in info.mechanisms
    assert tpm.mac_key(b"mac", "") is None


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384])
def test_ec_keys_are_made_in_the_tpm_and_sign(tpm: KeyStore, algorithm: KeyAlgorithm) -> None:
    key = made(tpm, algorithm)
    assert key.info.usage == KeyUsage.SIGN
    assert (key.info.sensitive, key.info.extractable, key.info.never_extractable, key.info.local) == (1, 0, 1, 1)
    for hash_ in (hashes.SHA256(), hashes.SHA384()):
        key.public_key().verify(key.sign(b"message", ec.ECDSA(hash_)), b"message", ec.ECDSA(hash_))
    assert key.info in tpm.list()


def test_an_rsa_key_signs_and_decrypts_and_survives_wrong_ciphertexts(tpm: KeyStore) -> None:
    key = tpm.generate(KeyAlgorithm.RSA2048, KeyUsage.DECRYPT, key_id=os.urandom(16), label="")
    assert isinstance(key, RsaHardwareKey)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    message = key.public_key().encrypt(b"message", oaep)
    for wrong in (bytes((message[0] ^ 1,)) + message[1:], bytes(256), b"\xff" * 256, message[1:]):
        with pytest.raises(ValueError, match="Decryption failed"):
            key.decrypt(wrong, oaep)
    assert key.decrypt(message, oaep) == b"message"
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    for scheme in (pss, padding.PKCS1v15()):
        key.public_key().verify(key.sign(b"m", scheme, hashes.SHA256()), b"m", scheme, hashes.SHA256())


def test_there_is_no_key_agreement(tpm: KeyStore) -> None:
    before = tpm.list()
    with pytest.raises(NotSupported, match="agree on keys"):
        tpm.generate(KeyAlgorithm.P256, KeyUsage.DERIVE, key_id=b"derive", label="")
    assert tpm.list() == before


def test_more_keys_than_the_tpm_holds_at_once_are_made_and_used(tpm: KeyStore) -> None:
    keys = [made(tpm) for _ in range(LOADED_AT_ONCE + 3)]
    for key in (*keys, *keys[:3]):
        key.public_key().verify(key.sign(b"message", ec.ECDSA(hashes.SHA256())), b"message", ec.ECDSA(hashes.SHA256()))
    for key in keys:
        tpm.delete(key.key_id)


def test_a_certificate_lives_beside_its_key_and_goes_with_it(tpm: KeyStore) -> None:
    key_id = os.urandom(32)
    key = made(tpm, key_id=key_id)
    for serial in (1, 2):
        der = certificate(serial, key)
        tpm.put_certificate(key_id, der, "lab")
        assert tpm.certificate(key_id) == der
    tpm.delete(key_id)
    assert tpm.certificate(key_id) is None
    with pytest.raises(KeyGone):
        key.sign_digest_raw(DIGEST)


def test_another_process_uses_the_same_key(tpm: KeyStore, fidoloop_tpm_token: str) -> None:
    key = made(tpm)
    code = "import sys\nfrom fidoloop.hsm.open import open_key_store\nwith open_key_store(sys.argv[1]) as store:\n"
    code += "    print(store.key(bytes.fromhex(sys.argv[2])).sign_digest_raw(bytes(32)).hex())"
    command = [sys.executable, "-c", code, fidoloop_tpm_token, key.key_id.hex()]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    mine = [key.sign_digest_raw(DIGEST) for _ in range(20)]
    out, _ = other.communicate()
    assert len(bytes.fromhex(out)) == 64
    assert len({*mine}) == 20


def test_a_wrong_pin_costs_one_try_and_the_tpm_locks(
    tpm: KeyStore, fidoloop_tpm: SoftwareTpm, fidoloop_tpm_token: str
) -> None:
    key = made(tpm)
    assert failed_tries() == 0
    with pytest.raises(PinIncorrect):
        tpm.verify_pin("000000")
    assert failed_tries() == 1
    assert len(key.sign_digest_raw(DIGEST)) == 64
    try:
        for tries in (2, 3):
            with pytest.raises(PinIncorrect):
                open_key_store(fidoloop_tpm_token, pin="000000")
            assert failed_tries() == tries
        with pytest.raises(PinLocked):
            tpm.verify_pin(TPM_PIN)
        with pytest.raises(PinLocked):
            key.sign_digest_raw(DIGEST)
        assert failed_tries() == 3
    finally:
        subprocess.run(["tpm2_dictionarylockout", "--clear-lockout"], check=True)
    assert len(key.sign_digest_raw(DIGEST)) == 64
    tpm.verify_pin(TPM_PIN)


def test_a_pin_changed_elsewhere_is_sent_once(fidoloop_tpm: SoftwareTpm, tmp_path: Path) -> None:
    """The TPM itself counts: a store that goes on with a PIN that was right once does not lock it."""
    uri = fidoloop_tpm.make_token("changed", TPM_PIN, "31415926")
    try:
        with open_key_store(uri) as store:
            key = made(store)
            command = ["tpm2_ptool", "changepin", "--label=changed", f"--old={TPM_PIN}", "--new=271828", "--user=user"]
            subprocess.run(command, check=True, capture_output=True)
            store._token.module.reinitialise()  # type: ignore[attr-defined]  # as after more keys than it holds
            for _ in range(5):
                with pytest.raises(PinIncorrect):
                    key.sign_digest_raw(DIGEST)
                with pytest.raises(PinIncorrect):
                    store.list()
            assert failed_tries() == 1
            store.verify_pin("271828")
            assert len(key.sign_digest_raw(DIGEST)) == 64
    finally:
        subprocess.run(["tpm2_dictionarylockout", "--clear-lockout"], check=True)


def failed_tries() -> int:
    """Return the TPM's own count of failed authorisations."""
    command = ["tpm2_getcap", "properties-variable"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in shown.splitlines() if line.startswith("TPM2_PT_LOCKOUT_COUNTER"))
    return int(line.split(":")[1], 16)


FORK = """
import os, sys
from fidoloop.hsm.errors import ModuleError
from fidoloop.hsm.open import open_key_store
store = open_key_store(sys.argv[1])
key = store.key(bytes.fromhex(sys.argv[2]))
child = os.fork()
if child == 0:
    for use in (lambda: key.sign_digest_raw(bytes(32)), store.list, lambda: open_key_store(sys.argv[1])):
        try:
            use()
        except ModuleError as error:
            assert "fork" in str(error)
        else:
            sys.exit(3)
    sys.exit(7)  # the long way out, which finalises everything
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(len(key.sign_digest_raw(bytes(32))), len(store.list()) > 0)
"""


def test_a_fork_is_refused_the_tpm_ends_by_itself_and_leaves_the_parent_alone(
    tpm: KeyStore, fidoloop_tpm_token: str
) -> None:
    key = made(tpm)
    command = [sys.executable, "-c", FORK, fidoloop_tpm_token, key.key_id.hex()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "7\n64 True\n"
