"""What a store does with a token: make, list, delete, certificates, MAC keys, PINs, and every way to be wrong."""

import datetime
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pkcs11 as p11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from fidoloop.hsm.errors import (
    KeyExists,
    KeyGone,
    KeyRefused,
    KeyStoreError,
    ModuleError,
    NotSupported,
    PinIncorrect,
    PinLocked,
    PinRequired,
    TokenAbsent,
    TokenAmbiguous,
    TokenFull,
    TokenNotInitialised,
    UriError,
)
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.pkcs11 import generate
from fidoloop.hsm.pkcs11.module import Module
from fidoloop.hsm.pkcs11.objects import read_key, read_public, search
from fidoloop.hsm.pkcs11.token import Token
from fidoloop.hsm.uri import parse_uri
from fidoloop.softhsm import current_softhsm_directory, find_softhsm_module, make_softhsm_token

from .conftest import PIN

SIGN, P256 = KeyUsage.SIGN, KeyAlgorithm.P256


def made(store: KeyStore, key_id: bytes = b"key") -> EcHardwareKey:
    key = store.generate(P256, SIGN, key_id=key_id, label="a key")
    assert isinstance(key, EcHardwareKey)
    return key


def session_of(store: KeyStore) -> p11.Session:
    return store._token.session()  # type: ignore[attr-defined, no-any-return]  # the real thing under test


def objects_in(store: KeyStore, key_id: bytes) -> int:
    return len(search(session_of(store), None, key_id))


# Keys


@pytest.mark.parametrize(
    ("algorithm", "usage"),
    [
        (KeyAlgorithm.P256, KeyUsage.SIGN),
        (KeyAlgorithm.P256, KeyUsage.DERIVE),
        (KeyAlgorithm.P384, KeyUsage.SIGN),
        (KeyAlgorithm.P384, KeyUsage.DERIVE),
        (KeyAlgorithm.RSA2048, KeyUsage.SIGN),
        (KeyAlgorithm.RSA2048, KeyUsage.DECRYPT),
    ],
)
def test_a_generated_key_cannot_leave_the_token(shared: KeyStore, algorithm: KeyAlgorithm, usage: KeyUsage) -> None:
    key_id = os.urandom(64)
    info = shared.generate(algorithm, usage, key_id=key_id, label="étiquette").info
    assert (info.algorithm, info.usage, info.label, info.key_id) == (algorithm, usage, "étiquette", key_id)
    assert (info.sensitive, info.extractable, info.never_extractable, info.local) == (True, False, True, True)
    private = search(session_of(shared), ObjectClass.PRIVATE_KEY, key_id)[0]
    secret = Attribute.PRIVATE_EXPONENT if algorithm is KeyAlgorithm.RSA2048 else Attribute.VALUE
    with pytest.raises(p11.AttributeSensitive):
        private[secret]
    uses = [Attribute.SIGN, Attribute.DERIVE, Attribute.DECRYPT, Attribute.UNWRAP]
    assert sum(bool(private[use]) for use in uses) == 1


@pytest.mark.parametrize(
    ("algorithm", "usage"),
    [
        (KeyAlgorithm.P256, KeyUsage.DECRYPT),
        (KeyAlgorithm.P256, KeyUsage.SIGN | KeyUsage.DERIVE),
        (KeyAlgorithm.RSA2048, KeyUsage.DERIVE),
        (KeyAlgorithm.RSA2048, KeyUsage(0)),
    ],
)
def test_a_usage_that_does_not_fit_is_refused(shared: KeyStore, algorithm: KeyAlgorithm, usage: KeyUsage) -> None:
    with pytest.raises(NotSupported):
        shared.generate(algorithm, usage, key_id=b"misfit", label="")
    assert objects_in(shared, b"misfit") == 0


def test_keys_are_listed_and_deleted(store: KeyStore) -> None:
    assert store.list() == []
    infos = [made(store, key_id).info for key_id in (b"2", b"1")]
    assert store.list() == infos[::-1]
    store.delete(b"1")
    assert store.list() == infos[:1]
    assert objects_in(store, b"1") == 0
    for missing in (b"1", b""):
        with pytest.raises(KeyGone):
            store.delete(missing)
    with pytest.raises(KeyGone):
        store.key(b"1")


def test_a_key_id_is_used_once(store: KeyStore) -> None:
    before = made(store).info
    with pytest.raises(KeyExists):
        made(store)
    assert store.list() == [before]
    with pytest.raises(ValueError, match="id"):
        made(store, b"")


def test_a_key_deleted_and_made_again_is_the_new_key(store: KeyStore) -> None:
    first = made(store)
    store.delete(b"key")
    second = made(store)
    assert store.key(b"key") is second
    assert second.public_key() != first.public_key()


def test_keys_of_other_kinds_are_left_out(store: KeyStore) -> None:
    session = session_of(store)
    session.generate_keypair(KeyType.RSA, 1024, id=b"small", store=True)
    domain = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: bytes.fromhex("06092b2403030208010107")}, local=True
    )
    domain.generate_keypair(id=b"brainpool", store=True, mechanism=Mechanism.EC_KEY_PAIR_GEN)
    assert store.list() == []
    for key_id in (b"small", b"brainpool"):
        with pytest.raises(NotSupported):
            store.key(key_id)


def test_an_extractable_key_is_destroyed_and_refused(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """SoftHSM is asked for a really extractable key, as some modules answer any request."""
    monkeypatch.setitem(generate._PROTECTED, Attribute.EXTRACTABLE, True)
    for algorithm in KeyAlgorithm:
        with pytest.raises(KeyRefused, match="extractable"):
            store.generate(algorithm, SIGN, key_id=b"key", label="")
        assert objects_in(store, b"key") == 0
    with pytest.raises(KeyRefused):
        store.mac_key(b"mac", "")
    assert objects_in(store, b"mac") == 0


def test_a_key_that_is_not_sensitive_is_destroyed_and_refused(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generate._PROTECTED, Attribute.SENSITIVE, False)
    with pytest.raises(KeyRefused, match="not sensitive"):
        made(store)
    assert objects_in(store, b"key") == 0


def test_a_key_brought_in_from_outside_is_known_as_such(store: KeyStore) -> None:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    public = numbers.public_numbers

    def big(number: int) -> bytes:
        return number.to_bytes((number.bit_length() + 7) // 8, "big")

    private = session_of(store).create_object(
        {
            Attribute.CLASS: ObjectClass.PRIVATE_KEY,
            Attribute.KEY_TYPE: KeyType.RSA,
            Attribute.ID: b"imported",
            Attribute.TOKEN: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.MODULUS: big(public.n),
            Attribute.PUBLIC_EXPONENT: big(public.e),
            Attribute.PRIVATE_EXPONENT: big(numbers.d),
            Attribute.PRIME_1: big(numbers.p),
            Attribute.PRIME_2: big(numbers.q),
            Attribute.EXPONENT_1: big(numbers.dmp1),
            Attribute.EXPONENT_2: big(numbers.dmq1),
            Attribute.COEFFICIENT: big(numbers.iqmp),
        }
    )
    info = read_key(private, {})
    assert info is not None
    assert store.list() == [info]
    assert (info.local, info.never_extractable, info.extractable) == (False, False, False)
    with pytest.raises(KeyRefused, match="not made in the token"):
        generate.check_protection(
            sensitive=info.sensitive,
            extractable=info.extractable,
            never_extractable=info.never_extractable,
            local=info.local,
        )


def test_attributes_a_token_does_not_tell_count_as_unprotected(store: KeyStore) -> None:
    made(store)
    session = session_of(store)
    public = search(session, ObjectClass.PUBLIC_KEY, b"key")[0]

    class Silent:
        def get_attributes(self, _: object) -> dict[Attribute, object]:
            return {Attribute.KEY_TYPE: KeyType.EC, Attribute.EC_PARAMS: public[Attribute.EC_PARAMS]}

    info = read_key(Silent(), read_public(public))
    assert info is not None
    assert (info.sensitive, info.extractable, info.never_extractable, info.local) == (False, True, False, False)


def test_a_failure_half_way_leaves_no_half_pair(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """SoftHSM does not fill up, so the failure is made just after the pair is."""

    def full(_: object) -> None:
        raise p11.DeviceMemory

    monkeypatch.setattr(generate, "read_public", full)
    with pytest.raises(TokenFull):
        made(store)
    assert objects_in(store, b"key") == 0


# Certificates, MAC keys, random


def certificate(serial: int, key: EcHardwareKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, now, now)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_certificate_lives_beside_its_key_and_is_replaced(store: KeyStore, uri: str) -> None:
    key = made(store)
    assert store.certificate(b"key") is None
    for serial in (1, 2**159 - 1, 128):
        der = certificate(serial, key)
        store.put_certificate(b"key", der, "lab")
        assert store.certificate(b"key") == der
        assert len(search(session_of(store), ObjectClass.CERTIFICATE, b"key")) == 1
    with open_key_store(uri) as other:
        assert other.certificate(b"key") == der
    store.delete(b"key")
    assert store.certificate(b"key") is None


def test_broken_der_is_not_stored(store: KeyStore) -> None:
    with pytest.raises(ValueError, match=r"."):
        store.put_certificate(b"key", b"\x30\x00", "lab")
    assert objects_in(store, b"key") == 0


def test_a_mac_key_is_made_once_and_stays_in_the_token(store: KeyStore, uri: str) -> None:
    key = store.mac_key(b"mac", "rows")
    assert key is not None
    code = key.mac(b"row")
    assert len(code) == 32
    with open_key_store(uri) as other:
        again = other.mac_key(b"mac", "rows")
        assert again is not None
        assert again.mac(b"row") == code != again.mac(b"rox")
    assert objects_in(store, b"mac") == 1
    with pytest.raises(p11.AttributeSensitive):
        search(session_of(store), ObjectClass.SECRET_KEY, b"mac")[0][Attribute.VALUE]
    assert store.list() == []
    store.delete(b"mac")
    with pytest.raises(KeyGone):
        key.mac(b"row")


def test_no_mac_key_where_the_token_has_no_hmac(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fidoloop.hsm.pkcs11.store._HMAC", {Mechanism.ML_KEM})
    assert store.mac_key(b"mac", "rows") is None


def test_random_bytes(shared: KeyStore) -> None:
    assert [len(shared.random(n)) for n in (0, 1, 33, 4096)] == [0, 1, 33, 4096]
    assert shared.random(32) != shared.random(32)
    with pytest.raises(ValueError, match="negative"):
        shared.random(-1)


def test_the_token_describes_itself_and_softhsm_is_no_hardware(shared: KeyStore) -> None:
    info = shared.info()
    assert (info.kind, info.hardware, info.manufacturer) == ("softhsm", False, "SoftHSM project")
    assert {"ECDSA", "ECDH1_DERIVE", "RSA_PKCS_OAEP", "SHA256_HMAC"} <= info.mechanisms
    assert info.label.startswith("hsm-test-")
    assert info.serial
    assert info.firmware.startswith("2.")


# Finding and opening a token


def test_a_token_is_found_by_any_of_its_names(uri: str, store: KeyStore) -> None:
    info = store.info()
    module = parse_uri(uri).module_path
    slot = store._token.identity[0]  # type: ignore[attr-defined]
    for path in (f"serial={info.serial}", f"token={info.label};model=SoftHSM%20v2", f"slot-id={slot}"):
        with open_key_store(f"pkcs11:{path}?module-path={module}", pin=PIN) as other:
            assert other.info() == info


@pytest.mark.parametrize("path", ["token=none", "serial=00", "slot-id=4711", "manufacturer=Nobody", "model=None"])
def test_an_absent_token(uri: str, path: str) -> None:
    module = parse_uri(uri).module_path
    with pytest.raises(TokenAbsent):
        open_key_store(f"pkcs11:{path}?module-path={module}", pin=PIN)


def test_several_tokens_that_match_ask_for_more(make_token: Callable[..., str]) -> None:
    uri = make_token("twin")
    make_token("twin")
    with pytest.raises(TokenAmbiguous, match=r"serial=.*serial="):
        open_key_store(uri)


def test_a_token_never_initialised(uri: str) -> None:
    """SoftHSM always shows one free slot with an uninitialised token."""
    with pytest.raises(TokenNotInitialised):
        open_key_store(f"pkcs11:slot-id={free_slot()}?module-path={parse_uri(uri).module_path}")


def free_slot() -> str:
    shown = subprocess.run(["softhsm2-util", "--show-slots"], capture_output=True, text=True, check=True).stdout
    slots = shown.split("\nSlot ")[1:]
    return next(slot.split()[0] for slot in slots if "Initialized:      no" in slot)


def test_a_module_that_cannot_be_loaded(tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"not a library")
    for path in ("/does/not/exist.so", broken):
        with pytest.raises(ModuleError, match=r"cannot be loaded"):
            open_key_store(f"pkcs11:token=a?module-path={path}")


def test_uris_that_name_no_key_store() -> None:
    for text in ("piv:raeder=0", "pkcs11:token=a", "nonsense"):
        with pytest.raises(UriError):
            open_key_store(text)


# PINs


def test_a_pin_is_needed(uri: str) -> None:
    with pytest.raises(PinRequired):
        open_key_store(parse_uri(uri).without_pin())


def test_a_pin_is_needed_even_while_the_process_is_logged_in(uri: str, store: KeyStore) -> None:
    with pytest.raises(PinRequired):
        open_key_store(parse_uri(uri).without_pin())
    with pytest.raises(PinIncorrect):
        open_key_store(uri, pin="999999")
    made(store)


@pytest.mark.parametrize("pin", ["999999", "1", "", "x" * 300])
def test_a_wrong_pin(uri: str, pin: str) -> None:
    with pytest.raises(PinIncorrect) as caught:
        open_key_store(uri, pin=pin)
    assert caught.value.tries_left is None
    assert "999" not in str(caught.value)


def test_the_prompt_is_asked_only_for_want_of_a_pin(uri: str) -> None:
    asked: list[str] = []

    def prompt(label: str) -> str:
        asked.append(label)
        return PIN

    open_key_store(uri, pin_prompt=prompt).close()
    assert asked == []
    open_key_store(parse_uri(uri).without_pin(), pin_prompt=prompt).close()
    assert asked == [parse_uri(uri).token]
    with pytest.raises(TokenAbsent):
        open_key_store(f"pkcs11:token=none?module-path={find_softhsm_module()}", pin_prompt=prompt)
    assert len(asked) == 1


def test_verify_pin_really_asks_and_stays_logged_in(uri: str, store: KeyStore) -> None:
    key = made(store)
    with open_key_store(uri) as second:
        other = second.key(b"key")
        assert isinstance(other, EcHardwareKey)
        for _ in range(20):  # more than enough to run out of sessions that wrong PINs leave behind
            store.verify_pin(PIN)
            with pytest.raises(PinIncorrect):
                store.verify_pin("000000")
        for one in (key, other):
            assert len(one.sign_digest_raw(bytes(32))) == 64
    assert store.list() == [key.info]


def test_sessions_lost_to_wrong_pins_are_given_back_in_time(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """python-pkcs11 opens a session before it logs in, and loses it when that fails; tokens have few sessions."""
    key = made(store)
    fresh: list[int] = []
    reinitialise = Module.reinitialise

    def counted(module: Module) -> None:
        fresh.append(1)
        reinitialise(module)

    monkeypatch.setattr(Module, "reinitialise", counted)
    for _ in range(40):
        with pytest.raises(PinIncorrect):
            store.verify_pin("000000")
    assert len(fresh) == 40 // 16
    assert len(key.sign_digest_raw(bytes(32))) == 64


def test_a_pin_changed_elsewhere_is_noticed(uri: str, store: KeyStore) -> None:
    session_of(store).set_pin(PIN, "161803")
    with pytest.raises(PinIncorrect):
        store.verify_pin(PIN)
    store.verify_pin("161803")
    made(store)
    session_of(store).set_pin("161803", PIN)


def test_a_pin_locked_by_a_wrong_try_is_locked_from_then_on(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """SoftHSM does not lock; here the token's answer to a login is replaced."""
    key = made(store)

    def locked(*_: object) -> None:
        raise p11.PinLocked

    with monkeypatch.context() as patch:
        patch.setattr(Token, "_open_once", locked)
        with pytest.raises(PinLocked):
            store.verify_pin("000000")
        with pytest.raises(PinLocked):
            key.sign_digest_raw(bytes(32))
    assert len(key.sign_digest_raw(bytes(32))) == 64


def test_no_error_ever_shows_the_pin(uri: str) -> None:
    secret = "s3cr3t-pin"
    for attempt in (
        lambda: open_key_store(uri, pin=secret),
        lambda: open_key_store(f"pkcs11:token=none?module-path={find_softhsm_module()}", pin=secret),
        lambda: open_key_store(f"pkcs11:token=none?module-path={find_softhsm_module()}&pin-value={secret}"),
        lambda: open_key_store(f"pkcs11:token=none?module-path=/none&pin-value={secret}"),
    ):
        with pytest.raises(KeyStoreError) as caught:
            attempt()
        error: BaseException | None = caught.value
        while error is not None:
            assert secret not in f"{error!r} {error}"
            error = error.__cause__ or error.__context__


def test_the_stores_uri_is_redacted(store: KeyStore) -> None:
    assert PIN not in store.uri
    assert store.uri.startswith("pkcs11:token=hsm-test-")


# Making tokens


def test_a_token_that_cannot_be_made_is_an_error() -> None:
    directory = current_softhsm_directory()
    assert directory is not None
    with pytest.raises(KeyStoreError, match="softhsm2-util"):
        make_softhsm_token(directory, "short", "1", "1")


def test_one_process_has_one_directory_of_tokens(uri: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="one directory"):
        make_softhsm_token(tmp_path, "x", PIN, PIN)


def test_where_softhsm_looks_is_said_where_it_has_no_such_token(uri: str) -> None:
    looked = re.escape(os.environ["SOFTHSM2_CONF"])
    with pytest.raises(TokenAbsent, match=f"SOFTHSM2_CONF, where SoftHSM looks, is {looked}"):
        open_key_store(f"pkcs11:token=none?module-path={parse_uri(uri).module_path}", pin=PIN)
