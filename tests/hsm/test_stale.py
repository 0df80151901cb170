"""Sessions and handles that became void behind the store's back: found again once, or the right error."""

import os
import subprocess
import sys
from collections.abc import Callable

import pkcs11 as p11
import pytest

from fidoloop.hsm.errors import KeyGone, KeyStoreError, ModuleError, TokenAbsent
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.pkcs11.token import Token
from fidoloop.hsm.uri import parse_uri

from .conftest import PIN


def made(store: KeyStore, key_id: bytes = b"key") -> EcHardwareKey:
    key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=key_id, label="")
    assert isinstance(key, EcHardwareKey)
    return key


def token_of(store: KeyStore) -> Token:
    return store._token  # type: ignore[attr-defined, no-any-return]  # the state these tests break


def elsewhere(code: str, uri: str) -> None:
    """Run code in another process, with `store` open on the same token."""
    script = f"import sys\nfrom fidoloop.hsm.open import open_key_store\nstore = open_key_store(sys.argv[1])\n{code}"
    subprocess.run([sys.executable, "-c", script, uri], check=True, env=os.environ)


def close_session(store: KeyStore) -> None:
    token_of(store)._session.close()  # type: ignore[union-attr]


def log_out(store: KeyStore) -> None:
    """Log the whole process out, and leave the session open."""
    token = token_of(store)
    session = token._session
    assert session is not None
    token._session = session.token.open(rw=True)
    session.close()


def restart_module(store: KeyStore) -> None:
    library = token_of(store).module.library()
    library.finalize()
    library.initialize()


BREAKAGES = [close_session, log_out, restart_module]


@pytest.mark.parametrize("break_it", BREAKAGES)
def test_a_held_key_signs_again(store: KeyStore, break_it: Callable[[KeyStore], None]) -> None:
    keys = [made(store, b"1"), made(store, b"2")]
    break_it(store)
    for key in (*keys, *keys):
        assert len(key.sign_digest_raw(bytes(32))) == 64


@pytest.mark.parametrize("break_it", BREAKAGES)
def test_everything_else_works_again(store: KeyStore, break_it: Callable[[KeyStore], None]) -> None:
    key = made(store)
    mac = store.mac_key(b"mac", "")
    assert mac is not None
    code = mac.mac(b"row")
    for use in (
        lambda: store.list() == [key.info],
        lambda: store.certificate(b"key") is None,
        lambda: len(store.random(8)) == 8,
        lambda: store.info().kind == "softhsm",
        lambda: mac.mac(b"row") == code,
        lambda: store.verify_pin(PIN) is None,
        lambda: store.mac_key(b"mac", "") is not None,
        lambda: made(store, os.urandom(8)) is not None and store.delete(store.list()[-1].key_id) is None,
    ):
        break_it(store)
        if break_it is not log_out:
            assert use()
            continue
        # Nothing tells a search from one that is not logged in, so here a held key notices first.
        assert key.sign_digest_raw(bytes(32))
        assert use()


def test_a_key_is_not_called_gone_because_of_a_logout(store: KeyStore, uri: str) -> None:
    made(store)
    with open_key_store(uri) as other:
        log_out(store)
        assert isinstance(other.key(b"key"), EcHardwareKey)


def test_a_key_deleted_by_another_process_is_gone_and_the_others_stay(store: KeyStore, uri: str) -> None:
    key, other = made(store, b"1"), made(store, b"2")
    key.sign_digest_raw(bytes(32))
    elsewhere("store.delete(b'1')", uri)
    for _ in range(2):
        with pytest.raises(KeyGone):
            key.sign_digest_raw(bytes(32))
        assert len(other.sign_digest_raw(bytes(32))) == 64


def test_a_key_made_by_another_process_is_found(store: KeyStore, uri: str) -> None:
    code = "from fidoloop.hsm.keystore import *\n"
    code += "store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b'new', label='')"
    elsewhere(code, uri)
    key = store.key(b"new")
    assert isinstance(key, EcHardwareKey)
    assert len(key.sign_digest_raw(bytes(32))) == 64


def test_a_token_deleted_is_absent_or_its_key_gone(store: KeyStore, uri: str) -> None:
    key = made(store)
    label = parse_uri(uri).token
    assert label is not None
    subprocess.run(["softhsm2-util", "--delete-token", "--token", label], check=True, capture_output=True)
    with pytest.raises((TokenAbsent, KeyGone)):
        key.sign_digest_raw(bytes(32))
    with pytest.raises(TokenAbsent):
        open_key_store(f"pkcs11:token=none-such?module-path={parse_uri(uri).module_path}")
    with pytest.raises(TokenAbsent):
        key.sign_digest_raw(bytes(32))
    with pytest.raises(TokenAbsent):
        store.list()


def test_what_fails_twice_is_an_error_and_not_a_loop(store: KeyStore) -> None:
    key = made(store)
    calls = []

    def always(_: object) -> None:
        calls.append(1)
        raise p11.SessionHandleInvalid

    with pytest.raises(ModuleError, match="CKR_SESSION_HANDLE_INVALID"):
        key._held.call("testing", always)  # type: ignore[attr-defined]
    assert len(calls) == 2
    assert len(key.sign_digest_raw(bytes(32))) == 64


def test_a_closed_store_and_its_keys_do_nothing(uri: str) -> None:
    with open_key_store(uri) as other:
        store = open_key_store(uri)
        key = made(store)
        mac = store.mac_key(b"mac", "")
        assert mac is not None
        mac.mac(b"")
        store.close()
        store.close()
        for use in (
            lambda: key.sign_digest_raw(bytes(32)),
            lambda: mac.mac(b""),
            store.list,
            lambda: store.key(b"key"),
            lambda: store.verify_pin(PIN),
            lambda: store.random(1),
        ):
            with pytest.raises(KeyStoreError, match="closed"):
                use()
        assert other.list() == [key.info]


def test_the_last_store_closed_logs_out(uri: str) -> None:
    with open_key_store(uri) as store:
        made(store)
        module = token_of(store).module
    token = next(one for one in module.library().get_tokens(token_label=parse_uri(uri).token))
    session = token.open()
    assert list(session.get_objects({p11.Attribute.CLASS: p11.ObjectClass.PRIVATE_KEY})) == []
    session.close()
