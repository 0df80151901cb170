"""The key store's contract, on a card that has everything."""

import datetime
import hashlib
from itertools import product
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding

from fidoloop.hsm.errors import (
    KeyExists,
    KeyGone,
    ManagementKeyIncorrect,
    ManagementKeyRequired,
    ModuleError,
    NotSupported,
    TokenFull,
)
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyUsage, RsaHardwareKey
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.piv.management_key import ENVIRONMENT
from fidoloop.hsm.piv.store import PivKeyStore

from .conftest import NOW, Desk
from .quirky_card import GENERATE, PUT_DATA, QuirkyCard

KEY_ID = bytes(range(32))
SIGN, DERIVE, DECRYPT = KeyUsage.SIGN, KeyUsage.DERIVE, KeyUsage.DECRYPT
FITTING = [(KeyAlgorithm.P256, SIGN), (KeyAlgorithm.P256, DERIVE), (KeyAlgorithm.P384, SIGN)]
FITTING += [(KeyAlgorithm.P384, DERIVE), (KeyAlgorithm.RSA2048, SIGN), (KeyAlgorithm.RSA2048, DECRYPT)]
HASHES: list[hashes.HashAlgorithm] = [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()]
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"label")


def make(store: PivKeyStore, key_id: bytes = KEY_ID, *, place: str = "") -> EcHardwareKey:
    key = store.generate(KeyAlgorithm.P256, SIGN, key_id=key_id, label="a label", place=place)
    assert isinstance(key, EcHardwareKey)
    return key


def works(key: EcHardwareKey) -> bool:
    """Sign and verify; InvalidSignature where the signature is wrong."""
    key.public_key().verify(key.sign(b"message", ec.ECDSA(hashes.SHA256())), b"message", ec.ECDSA(hashes.SHA256()))
    return True


def test_the_card_is_described(desk: Desk, store: PivKeyStore) -> None:
    info = store.info()
    assert (info.kind, info.hardware, info.label) == ("piv", False, "fidoloop simulated card")
    assert (info.serial, info.firmware) == (str(desk.card.state.serial), "5.7.0")
    assert {"ECDSA", "ECDH1_DERIVE", "RSA_PKCS_OAEP"} <= info.mechanisms
    assert "123456" not in store.uri
    assert store.list() == []


@pytest.mark.parametrize(("algorithm", "usage"), FITTING)
def test_a_key_keeps_what_it_was_made_with_when_the_card_is_opened_again(
    desk: Desk, algorithm: KeyAlgorithm, usage: KeyUsage
) -> None:
    with desk.open() as store:
        made = store.generate(algorithm, usage, key_id=KEY_ID, label="serves alice")
        assert store.key(KEY_ID) is made
    info = made.info
    assert (info.key_id, info.label, info.algorithm, info.usage) == (KEY_ID, "serves alice", algorithm, usage)
    assert (info.sensitive, info.extractable, info.never_extractable, info.local) == (True, False, True, True)
    assert (info.place, info.pin_always) == ("82", False)
    with desk.open() as again:
        assert again.list() == [info]
        assert again.key(KEY_ID).info == info


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384])
def test_ec_keys_sign_every_hash_and_agree(store: PivKeyStore, algorithm: KeyAlgorithm) -> None:
    signer = store.generate(algorithm, SIGN, key_id=b"sign", label="")
    assert isinstance(signer, EcHardwareKey)
    for digest in HASHES:
        signature = signer.sign(b"message", ec.ECDSA(digest))
        signer.public_key().verify(signature, b"message", ec.ECDSA(digest))
    size = signer.key_size // 8
    raw = signer.sign_digest_raw(hashlib.sha512(b"x").digest()[:size])
    assert len(raw) == 2 * size
    with pytest.raises(ValueError, match=f"{size} bytes"):
        signer.sign_digest_raw(bytes(size - 1))
    deriver = store.generate(algorithm, DERIVE, key_id=b"derive", label="")
    assert isinstance(deriver, EcHardwareKey)
    other = ec.generate_private_key(deriver.curve)
    assert deriver.exchange(ec.ECDH(), other.public_key()) == other.exchange(ec.ECDH(), deriver.public_key())
    with pytest.raises(ValueError, match="not on"):
        deriver.exchange(ec.ECDH(), ec.generate_private_key(ec.SECP256K1()).public_key())
    with pytest.raises(NotSupported):
        deriver.sign(b"", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(NotSupported):
        signer.exchange(ec.ECDH(), other.public_key())


def test_rsa_keys_sign_with_every_padding(store: PivKeyStore) -> None:
    key = store.generate(KeyAlgorithm.RSA2048, SIGN, key_id=KEY_ID, label="")
    assert isinstance(key, RsaHardwareKey)
    salts: list[Any] = [0, 20, padding.PSS.DIGEST_LENGTH, padding.PSS.MAX_LENGTH]
    schemes = [padding.PSS(padding.MGF1(mgf), salt) for mgf, salt in product([HASHES[0], HASHES[2]], salts)]
    for scheme, digest in product([padding.PKCS1v15(), *schemes], HASHES):
        key.public_key().verify(key.sign(b"message", scheme, digest), b"message", scheme, digest)
    prehashed = utils.Prehashed(hashes.SHA256())
    signature = key.sign(hashlib.sha256(b"message").digest(), padding.PKCS1v15(), prehashed)
    key.public_key().verify(signature, b"message", padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(ValueError, match="does not fit"):
        key.sign(b"", padding.PSS(padding.MGF1(HASHES[0]), 223), HASHES[0])
    with pytest.raises(NotSupported):
        key.decrypt(bytes(256), OAEP)


def test_rsa_keys_decrypt_oaep_and_nothing_else(store: PivKeyStore) -> None:
    key = store.generate(KeyAlgorithm.RSA2048, DECRYPT, key_id=KEY_ID, label="")
    assert isinstance(key, RsaHardwareKey)
    for message in (b"", b"message"):
        assert key.decrypt(key.public_key().encrypt(message, OAEP), OAEP) == message
    for wrong in (bytes(255), b"\xff" * 256, bytes(256)):
        with pytest.raises(ValueError, match=r"^Decryption failed$"):
            key.decrypt(wrong, OAEP)
    with pytest.raises(UnsupportedAlgorithm):
        key.decrypt(key.public_key().encrypt(b"m", padding.PKCS1v15()), padding.PKCS1v15())
    with pytest.raises(NotSupported):
        key.sign(b"", padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(
    ("algorithm", "usage"),
    [one for one in product(KeyAlgorithm, [*KeyUsage, KeyUsage(0), SIGN | DERIVE]) if one not in FITTING],
)
def test_a_usage_that_does_not_fit_is_refused_before_the_card_is_asked(
    card: QuirkyCard, store: PivKeyStore, algorithm: KeyAlgorithm, usage: KeyUsage
) -> None:
    with pytest.raises(NotSupported):
        store.generate(algorithm, usage, key_id=KEY_ID, label="")
    assert not card.sent(GENERATE)


def test_ids_and_labels_that_do_not_fit_are_refused_before_the_card_is_asked(
    card: QuirkyCard, store: PivKeyStore
) -> None:
    with pytest.raises(ValueError, match="id"):
        make(store, b"")
    with pytest.raises(NotSupported, match="35 bytes"):
        make(store, bytes(36))
    with pytest.raises(NotSupported, match="64 characters"):
        store.generate(KeyAlgorithm.P256, SIGN, key_id=KEY_ID, label="x" * 65)
    assert not card.sent(GENERATE)


def test_an_id_is_there_once(store: PivKeyStore) -> None:
    make(store)
    with pytest.raises(KeyExists):
        make(store)
    assert len(store.list()) == 1


def test_a_deleted_key_is_gone_from_slot_and_container(card: QuirkyCard, store: PivKeyStore) -> None:
    before = dict(card.state.objects)
    key = make(store)
    assert 0x82 in card.state.keys
    store.delete(KEY_ID)
    assert store.list() == []
    assert 0x82 not in card.state.keys
    assert card.state.objects == before
    with pytest.raises(KeyGone):
        works(key)
    for gone in (store.key, store.delete):
        with pytest.raises(KeyGone):
            gone(KEY_ID)
    assert store.certificate(KEY_ID) is None


def signed(key: EcHardwareKey, common_name: str = "alice") -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_certificate_is_kept_with_id_and_usage_of_the_key(desk: Desk) -> None:
    with desk.open() as store:
        key = make(store)
        assert store.certificate(KEY_ID) is None  # the placeholder is none
        der = signed(key)
        store.put_certificate(KEY_ID, der, "alice")
        assert store.certificate(KEY_ID) == der
    with desk.open() as again:
        assert again.certificate(KEY_ID) == der
        (info,) = again.list()
        assert (info.key_id, info.usage, info.label) == (KEY_ID, SIGN, "alice")
        replaced = signed(key=_ec(again), common_name="bob")
        again.put_certificate(KEY_ID, replaced, "bob")
        assert again.certificate(KEY_ID) == replaced
        assert again.key(KEY_ID).info.label == "bob"


def _ec(store: PivKeyStore) -> EcHardwareKey:
    key = store.key(KEY_ID)
    assert isinstance(key, EcHardwareKey)
    return key


def test_a_certificate_of_another_key_and_none_at_all_are_refused(card: QuirkyCard, store: PivKeyStore) -> None:
    make(store)
    other = signed(make(store, b"other"))
    written = len(card.sent(PUT_DATA))
    with pytest.raises(ValueError, match="not for the key"):
        store.put_certificate(KEY_ID, other, "")
    with pytest.raises(ValueError, match=r"."):
        store.put_certificate(KEY_ID, other[:-1], "")
    with pytest.raises(KeyGone):
        store.put_certificate(b"none", other, "")
    assert len(card.sent(PUT_DATA)) == written


def test_the_card_attests_its_keys(store: PivKeyStore) -> None:
    key = make(store)
    attested = store.attestation(KEY_ID)
    assert attested is not None
    statement, issuer = map(x509.load_der_x509_certificate, attested)
    assert statement.public_key() == key.public_key()
    statement.verify_directly_issued_by(issuer)
    with pytest.raises(KeyGone):
        store.attestation(b"none")


def test_random_bytes_are_the_cards(card: QuirkyCard, store: PivKeyStore) -> None:
    drawn = {store.random(20) for _ in range(3)}
    assert {len(one) for one in drawn} == {20}
    assert len(drawn) == 3
    assert store.random(0) == b""
    with pytest.raises(ValueError, match="negative"):
        store.random(-1)


def test_there_are_no_macs_on_a_piv_card(store: PivKeyStore) -> None:
    assert store.mac_key(b"mac", "") is None
    with pytest.raises(ValueError, match="id"):
        store.mac_key(b"", "")


def test_a_closed_store_and_its_keys_do_nothing(desk: Desk) -> None:
    store = desk.open()
    key = make(store)
    store.close()
    store.close()
    sent = len(desk.card.log)
    for use in (
        lambda: works(key),
        store.list,
        store.info,
        lambda: store.key(KEY_ID),
        lambda: store.delete(KEY_ID),
        lambda: store.verify_pin("123456"),
        lambda: store.mac_key(b"x", ""),
    ):
        with pytest.raises(ModuleError, match="closed"):
            use()
    assert len(desk.card.log) == sent


def test_closing_logs_out(desk: Desk) -> None:
    with desk.open() as store:
        make(store)
    assert desk.card.log[-1] == bytes.fromhex("0020ff80")


def test_without_the_management_key_keys_are_used_but_not_made(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with desk.open() as store:
        make(store)
    with open_key_store(desk.uri(key=False)) as store:
        key = store.key(KEY_ID)
        assert isinstance(key, EcHardwareKey)
        assert works(key)
        for administer in (
            lambda: store.delete(KEY_ID),
            lambda: store.generate(KeyAlgorithm.P256, SIGN, key_id=b"other", label=""),
            lambda: store.put_certificate(KEY_ID, signed(key), ""),
        ):
            with pytest.raises(ManagementKeyRequired, match="management-key-source"):
                administer()
        monkeypatch.setenv(ENVIRONMENT, "01" * 24)
        with pytest.raises(ManagementKeyIncorrect):
            store.delete(KEY_ID)
        assert len(store.list()) == 1


@pytest.mark.parametrize(("place", "always"), [("9a", False), ("9C", True), ("9d", False), ("9e", False), ("95", 0)])
def test_a_key_is_made_in_the_slot_that_is_named(desk: Desk, place: str, always: bool) -> None:
    with desk.open() as store:
        key = make(store, place=place)
        assert (key.info.place, key.info.pin_always) == (place.lower(), always)
        assert works(key)
        with pytest.raises(TokenFull, match="is taken"):
            make(store, b"other", place=place)
    with desk.open() as again:
        assert works(_ec(again))


def test_a_slot_that_no_card_has_is_refused(store: PivKeyStore) -> None:
    for place in ("96", "9b", "f9", "x"):
        with pytest.raises(NotSupported, match="9a, 9c, 9d, 9e and 82 to 95"):
            make(store, place=place)


def test_keys_of_either_kind_are_cryptographys(store: PivKeyStore) -> None:
    assert isinstance(make(store), ec.EllipticCurvePrivateKey)
    assert isinstance(store.generate(KeyAlgorithm.RSA2048, SIGN, key_id=b"r", label=""), rsa.RSAPrivateKey)
