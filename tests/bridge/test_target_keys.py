"""The two hardware keys of a dispatch target, also on a token that cannot derive."""

import base64
import dataclasses
import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.user_verification import TokenPin
from fidoloop.bridge.inbox import decode
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.bridge.scan import scan_image
from fidoloop.bridge.target_keys import delete_target_keys, make_target_keys
from fidoloop.hsm.errors import TokenFull
from fidoloop.hsm.keystore import KeyAlgorithm, KeyStore, KeyUsage, TokenInfo
from fidoloop.hsm.open import open_key_store
from fidoloop.protocol import base64url, jose, strictjson
from tests.lab import SOFTHSM_PIN, Lab


class Store:
    """A key store without some mechanisms, which may be full for some usage; everything else is the real one's."""

    def __init__(
        self, store: KeyStore, *, without: frozenset[str] = frozenset(), full_for: KeyUsage | None = None
    ) -> None:
        self._store = store
        self._without = without
        self._full_for = full_for

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the real one has
        return getattr(self._store, name)

    def info(self) -> TokenInfo:
        info = self._store.info()
        return dataclasses.replace(info, mechanisms=info.mechanisms - self._without)

    def generate(self, algorithm: KeyAlgorithm, usage: KeyUsage, *, key_id: bytes, label: str) -> Any:  # noqa: ANN401
        if usage is self._full_for:
            raise TokenFull("full")
        assert usage is not KeyUsage.DERIVE or "ECDH1_DERIVE" not in self._without
        return self._store.generate(algorithm, usage, key_id=key_id, label=label)


@pytest.fixture(scope="module")
def store(fidoloop_make_token: Callable[[], str]) -> Iterator[KeyStore]:
    with open_key_store(fidoloop_make_token()) as opened:
        attest_init(opened, now=datetime.datetime.now(datetime.UTC))
        yield opened


def ids(store: KeyStore) -> set[bytes]:
    return {info.key_id for info in store.list()}


def without_ecdh(store: KeyStore) -> Any:  # noqa: ANN401  # stands in for a KeyStore
    return Store(store, without=frozenset({"ECDH1_DERIVE"}))


def test_a_target_has_a_key_that_signs_and_one_that_derives(store: KeyStore) -> None:
    made = make_target_keys(store)
    signing, deriving = store.key(made.signature_key_id), store.key(made.encryption_key_id)
    assert (signing.info.usage, deriving.info.usage) == (KeyUsage.SIGN, KeyUsage.DERIVE)
    for key, jwk in ((signing, made.signature_jwk), (deriving, made.encryption_jwk)):
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.info.sensitive
        assert not key.info.extractable
        assert jose.public_jwk(key.public_key()) == jwk
    assert made.signature_key_id != made.encryption_key_id
    delete_target_keys(store, made.signature_key_id, made.encryption_key_id)


def test_where_the_token_cannot_derive_the_encryption_key_is_rsa(store: KeyStore) -> None:
    made = make_target_keys(without_ecdh(store))
    decrypting = store.key(made.encryption_key_id)
    assert isinstance(decrypting, rsa.RSAPrivateKey)
    assert (decrypting.key_size, decrypting.info.usage) == (2048, KeyUsage.DECRYPT)
    sealed = jose.encrypt_compact(b'{"a":1}', made.encryption_jwk)
    assert jose.decrypt_compact(sealed, decrypting) == b'{"a":1}'
    delete_target_keys(store, made.signature_key_id, made.encryption_key_id)


@pytest.mark.parametrize("usage", [KeyUsage.SIGN, KeyUsage.DERIVE, KeyUsage.DECRYPT], ids=lambda usage: usage.name)
def test_a_full_token_is_left_as_it_was(store: KeyStore, usage: KeyUsage) -> None:
    before = ids(store)
    lacking = frozenset({"ECDH1_DERIVE"}) if usage is KeyUsage.DECRYPT else frozenset[str]()
    full: Any = Store(store, without=lacking, full_for=usage)
    with pytest.raises(TokenFull):
        make_target_keys(full)
    assert ids(store) == before


def test_keys_that_are_gone_are_deleted_already(store: KeyStore) -> None:
    made = make_target_keys(store)
    before = ids(store)
    delete_target_keys(store, made.signature_key_id, None, b"never there")
    assert ids(store) == before - {made.signature_key_id}
    delete_target_keys(store, made.signature_key_id, made.encryption_key_id)


def test_the_whole_loop_with_an_rsa_key_in_the_token(fidoloop_lab: Lab) -> None:
    """Registered, dispatched to, decrypted by RSA-OAEP-256 in SoftHSM, redeemed, signed, removed."""
    username = fidoloop_lab.new_user()
    laptop, store = fidoloop_lab.laptop, fidoloop_lab.store
    before = ids(store)
    profile = Profile(fidoloop_lab.directory / "rsa.sqlite")
    profile.create(keys_uri="pkcs11:", verification="pin", ca=str(fidoloop_lab.server.ca))
    verifier = TokenPin(store, lambda _request, _tries: SOFTHSM_PIN)
    with Phone(profile, without_ecdh(store), verifier, confirm=lambda _: True) as phone:
        phone.register(fidoloop_lab.server.enrol(username), target_name="rsa")
        (account,) = phone.accounts()
        assert account.encryption_key_id is not None
        assert isinstance(store.key(account.encryption_key_id), rsa.RSAPrivateKey)
        (target,) = laptop.targets(username)
        dispatched = laptop.dispatch(username=username, target_id=target.id, dispatcher="png-qr-code")
        screen = fidoloop_lab.directory / "rsa.png"
        screen.write_bytes(base64.b64decode(dispatched.response))
        text = scan_image(screen)
        payload = decode(text)
        assert isinstance(payload.nma_data, str)
        header = strictjson.loads(base64url.decode(payload.nma_data.partition(".")[0]))
        assert isinstance(header, dict)
        assert (header["alg"], header["enc"]) == ("RSA-OAEP-256", "A256GCM")
        assert header["kid"] == account.encryption_thumbprint
        assert phone.scan(text).username == username
        assert laptop.status(dispatched.session_id).status == "succeeded"
        ((aaid, key_id),) = phone.remove(account)
        assert aaid.startswith("F10B#01")
        assert len(base64url.decode(key_id)) == 32
    profile.close()
    assert laptop.targets(username) == ()
    assert ids(store) == before
