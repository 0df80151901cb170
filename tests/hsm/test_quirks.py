"""Modules that behave unlike SoftHSM: what the store makes of them, and how often it sends a PIN."""

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from fidoloop.hsm.errors import (
    KeyStoreError,
    ModuleError,
    NotSupported,
    PinIncorrect,
    PinLocked,
    TokenAbsent,
    TokenFull,
    TokenReadOnly,
)
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage, RsaHardwareKey
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.uri import parse_uri

from .conftest import PIN
from .quirky import Quirky

P256, RSA, SIGN = KeyAlgorithm.P256, KeyAlgorithm.RSA2048, KeyUsage.SIGN
DIGEST = hashlib.sha256(b"message").digest()
SHA256 = ec.ECDSA(hashes.SHA256())


def made(store: KeyStore, key_id: bytes = b"key") -> EcHardwareKey:
    key = store.generate(P256, SIGN, key_id=key_id, label="a key")
    assert isinstance(key, EcHardwareKey)
    return key


# PINs are sent once


def test_the_pin_is_sent_once_however_much_is_done(quirky: Quirky) -> None:
    with open_key_store(quirky.uri) as store:
        key = made(store)
        for _ in range(5):
            key.sign_digest_raw(DIGEST)
            store.list()
            store.certificate(b"key")
        with open_key_store(quirky.uri) as second:
            assert second.list() == store.list()
    assert quirky.logins() == ["user ok"]


def test_a_wrong_pin_is_sent_once_and_never_again(quirky: Quirky) -> None:
    with pytest.raises(PinIncorrect):
        open_key_store(quirky.uri, pin="999999")
    assert quirky.logins() == ["user wrong"]


def test_a_wrong_pin_typed_is_sent_once_and_the_right_one_after_it(quirky: Quirky) -> None:
    with open_key_store(quirky.uri) as store:
        key = made(store)
        with pytest.raises(PinIncorrect):
            store.verify_pin("999999")
        assert len(key.sign_digest_raw(DIGEST)) == 64
    assert quirky.logins() == ["user ok", "user wrong", "user ok"]


def test_a_pin_changed_elsewhere_is_sent_once_and_never_again(quirky: Quirky, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that has to log in anew does not lock the token with a PIN that was the right one once."""
    with open_key_store(quirky.uri) as store:
        key = made(store)
        monkeypatch.setenv("QUIRKY_PIN", "161803")
        store._token.reopen()  # type: ignore[attr-defined]  # as a pulled card or a broken session does
        for use in (
            lambda: key.sign_digest_raw(DIGEST),
            store.list,
            lambda: key.sign_digest_raw(DIGEST),
            lambda: store.delete(b"key"),
            lambda: store.random(1),
        ):
            with pytest.raises(PinIncorrect):
                use()
        assert quirky.logins() == ["user ok", "user wrong"]
        store.verify_pin("161803")
        assert len(key.sign_digest_raw(DIGEST)) == 64
        assert len(store.list()) == 1
    assert quirky.logins() == ["user ok", "user wrong", "user ok"]


def test_tries_left_are_told_and_a_locked_pin_is_locked(quirky: Quirky) -> None:
    quirky.become("locks")
    left: list[int | None] = []
    for _ in range(2):
        with pytest.raises(PinIncorrect) as wrong:
            open_key_store(quirky.uri, pin="999999")
        left.append(wrong.value.tries_left)
    assert left == [None, 1]
    for pin in ("999999", PIN):
        with pytest.raises(PinLocked):
            open_key_store(quirky.uri, pin=pin)
    assert quirky.logins() == ["user wrong"] * 3 + ["user refused"]


def test_a_store_whose_pin_was_locked_meanwhile_says_so_and_works_when_it_is_unlocked(quirky: Quirky) -> None:
    quirky.become("locks")
    with open_key_store(quirky.uri) as store:
        key = made(store)
        for _ in range(4):  # the right PIN in between makes the token count from the beginning
            with pytest.raises(PinIncorrect):
                store.verify_pin("999999")
            key.sign_digest_raw(DIGEST)
        quirky.become("locked")
        store._token.reopen()  # type: ignore[attr-defined]
        for _ in range(2):
            with pytest.raises(PinLocked):
                key.sign_digest_raw(DIGEST)
            with pytest.raises(PinLocked):
                store.verify_pin(PIN)
        quirky.become()
        assert len(key.sign_digest_raw(DIGEST)) == 64


# PIN pads


def test_with_a_pin_pad_no_pin_is_asked_for_or_sent(quirky: Quirky) -> None:
    quirky.become("pad")

    def never(label: str) -> str:
        raise AssertionError(f"asked for the PIN of {label}")

    with open_key_store(parse_uri(quirky.uri).without_pin(), pin_prompt=never) as store:
        assert store.info().pin_pad
        assert len(made(store).sign_digest_raw(DIGEST)) == 64
        store.verify_pin("what is typed here does not matter")
        assert len(store.list()) == 1
    assert quirky.logins() == ["pad ok", "pad ok"]


def test_a_key_that_wants_the_pin_pad_at_every_use_is_refused_clearly(quirky: Quirky) -> None:
    quirky.become("pad", "pin-always")
    with open_key_store(quirky.uri) as store, pytest.raises(NotSupported, match="on the device before every use"):
        made(store).sign_digest_raw(DIGEST)


# Keys that want the PIN at every use


def test_a_key_that_wants_the_pin_at_every_use_gets_it(quirky: Quirky) -> None:
    quirky.become("pin-always")
    with open_key_store(quirky.uri) as store:
        key = made(store)
        assert key.info.pin_always
        key.public_key().verify(key.sign(b"message", SHA256), b"message", SHA256)
        rsa = store.generate(RSA, SIGN, key_id=b"rsa", label="")
        assert isinstance(rsa, RsaHardwareKey)
        rsa.public_key().verify(
            rsa.sign(b"m", padding.PKCS1v15(), hashes.SHA256()), b"m", padding.PKCS1v15(), hashes.SHA256()
        )
    with open_key_store(quirky.uri) as store:
        found = store.key(b"key")
        assert isinstance(found, EcHardwareKey)
        assert len(found.sign_digest_raw(DIGEST)) == 64
    assert quirky.logins() == ["user ok", "again ok", "again ok", "user ok", "again ok"]


def test_the_pin_of_every_use_is_not_sent_again_once_it_was_wrong(
    quirky: Quirky, monkeypatch: pytest.MonkeyPatch
) -> None:
    quirky.become("pin-always")
    with open_key_store(quirky.uri) as store:
        key = made(store)
        monkeypatch.setenv("QUIRKY_PIN", "161803")
        for _ in range(3):
            with pytest.raises(PinIncorrect):
                key.sign_digest_raw(DIGEST)
    assert quirky.logins() == ["user ok", "again wrong"]


# What is there and what is not


def test_bare_points_are_read(quirky: Quirky) -> None:
    quirky.become("raw-points")
    with open_key_store(quirky.uri) as store:
        for algorithm in (P256, KeyAlgorithm.P384):
            key = store.generate(algorithm, SIGN, key_id=algorithm.encode(), label="")
            assert isinstance(key, EcHardwareKey)
            key.public_key().verify(key.sign(b"message", SHA256), b"message", SHA256)
        assert [info.algorithm for info in store.list()] == [P256, KeyAlgorithm.P384]


def test_a_token_without_ecdh_makes_no_keys_for_it(quirky: Quirky) -> None:
    quirky.become("no-ecdh")
    with open_key_store(quirky.uri) as store:
        assert "ECDH1_DERIVE" not in store.info().mechanisms
        with pytest.raises(NotSupported, match="CKM_ECDH1_DERIVE"):
            store.generate(P256, KeyUsage.DERIVE, key_id=b"key", label="")
        assert store.list() == []


def test_a_token_that_only_signs_what_it_hashed_itself_is_told_apart(quirky: Quirky) -> None:
    """CKM_ECDSA is what every module has; where it is missing, CKM_ECDSA_SHA256 is no help for a digest."""
    with open_key_store(quirky.uri) as store:
        key = made(store)
        quirky.become("hashing-only")
        for _ in range(2):
            with pytest.raises(NotSupported, match="CKR_MECHANISM_INVALID"):
                key.sign_digest_raw(DIGEST)
        with pytest.raises(NotSupported, match="CKM_ECDSA"):
            made(store, b"other")
        assert store.list() == [key.info]


def test_a_module_that_makes_no_keys_says_so_and_what_to_do(quirky: Quirky) -> None:
    quirky.become("no-keygen")
    with open_key_store(quirky.uri) as store:
        with pytest.raises(NotSupported, match=r"not made by this module.*adopt"):
            made(store)
        assert store.generate(RSA, SIGN, key_id=b"rsa", label="").info.algorithm is RSA


def test_numbers_that_are_no_mechanisms_are_left_out(quirky: Quirky) -> None:
    quirky.become("no-ecdh", "garbage")
    with open_key_store(quirky.uri) as store:
        assert all(not name.startswith("0x7f") for name in store.info().mechanisms)


def test_a_full_token_says_so_and_keeps_what_is_there(quirky: Quirky) -> None:
    with open_key_store(quirky.uri) as store:
        before = made(store).info
        quirky.become("full")
        with pytest.raises(TokenFull):
            made(store, b"other")
        assert store.list() == [before]


def test_a_read_only_token_signs_and_makes_nothing(quirky: Quirky) -> None:
    with open_key_store(quirky.uri) as store:
        made(store)
    quirky.become("read-only")
    with open_key_store(quirky.uri) as store:
        key = store.key(b"key")
        assert isinstance(key, EcHardwareKey)
        assert len(key.sign_digest_raw(DIGEST)) == 64
        with pytest.raises(TokenReadOnly):
            made(store, b"other")


def test_one_session_is_enough_even_after_wrong_pins(quirky: Quirky) -> None:
    quirky.become("one-session")
    with open_key_store(quirky.uri) as store:
        key = made(store)
        for _ in range(3):
            with pytest.raises(PinIncorrect):
                store.verify_pin("999999")
            store.verify_pin(PIN)
            assert len(key.sign_digest_raw(DIGEST)) == 64
        with open_key_store(quirky.uri) as second:
            assert second.list() == store.list()


# Tokens pulled out


USES: list[Callable[[KeyStore, EcHardwareKey], object]] = [
    lambda _, key: key.sign_digest_raw(DIGEST),
    lambda store, _: store.list(),
    lambda store, _: store.generate(P256, SIGN, key_id=b"other", label=""),
    lambda store, _: store.verify_pin(PIN),
    lambda store, _: store.certificate(b"key"),
]


@pytest.mark.parametrize("use", USES, ids=["sign", "list", "generate", "verify_pin", "certificate"])
def test_a_token_pulled_out_is_absent_and_works_again_when_it_is_back(
    quirky: Quirky, use: Callable[[KeyStore, EcHardwareKey], object]
) -> None:
    with open_key_store(quirky.uri) as store:
        key = made(store)
        quirky.become("pulled")
        for _ in range(2):
            with pytest.raises(TokenAbsent):
                use(store, key)
        quirky.become()
        use(store, key)
        assert len(key.sign_digest_raw(DIGEST)) == 64
    assert set(quirky.logins()) == {"user ok"}


# Modules that are none


def test_a_file_that_is_no_module_says_what_is_wrong() -> None:
    library = "/lib/x86_64-linux-gnu/libc.so.6"
    cases = ("/does/not/exist.so", "No such file"), (library, "C_GetFunctionList"), ("/etc/passwd", "ELF")
    for path, reason in cases:
        with pytest.raises(ModuleError, match=reason) as error:
            open_key_store(f"pkcs11:token=a?module-path={path}")
        assert path in str(error.value)


def test_a_module_that_does_not_start_names_its_reason(quirky: Quirky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIRKY_TARGET", "/does/not/exist.so")
    with pytest.raises(ModuleError, match="CKR_GENERAL_ERROR"):
        open_key_store(quirky.uri)


def test_a_token_open_through_two_modules_at_once_is_told_apart(quirky: Quirky) -> None:
    """The process is logged in already, through the module behind this one, and its PIN was never sent here."""
    target = quirky.uri.replace("quirky.so", "libsofthsm2.so")
    with open_key_store(target) as behind:
        made(behind)
        with pytest.raises(KeyStoreError):
            open_key_store(quirky.uri)
