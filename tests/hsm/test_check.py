"""The round of checks: what it finds on real tokens, and that it leaves them as they were."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.exceptions import InvalidSignature

from fidoloop.hsm.check import (
    CheckResult,
    Outcome,
    check_store,
    missing_for_loop,
    unchecked_for_loop,
)
from fidoloop.hsm.check_operations import WrongAnswer, key_operations
from fidoloop.hsm.errors import KeyStoreError, NotSupported, TokenAbsent
from fidoloop.hsm.keystore import HardwareKey, KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.hsm.open import open_key_store
from fidoloop.softhsm import current_softhsm_directory

MAC_ID = b"mac of the loop"
OK, FAILED, NOT_SUPPORTED, NOT_CHECKED = Outcome.OK, Outcome.FAILED, Outcome.NOT_SUPPORTED, Outcome.NOT_CHECKED
QUICK = [(KeyAlgorithm.P256, KeyUsage.SIGN), (KeyAlgorithm.P256, KeyUsage.DERIVE)]
"""What is made in milliseconds."""
EVERY_KIND = [
    ("p256", "generate, to sign"),
    ("p256", "sign and verify"),
    ("p256", "write and read a certificate"),
    ("p256", "generate, to agree"),
    ("p256", "agree on a secret (ECDH)"),
    ("p384", "generate, to sign"),
    ("p384", "sign and verify"),
    ("p384", "generate, to agree"),
    ("p384", "agree on a secret (ECDH)"),
    ("rsa2048", "generate, to sign"),
    ("rsa2048", "sign and verify (PKCS #1)"),
    ("rsa2048", "sign and verify (PSS)"),
    ("rsa2048", "generate, to decrypt"),
    ("rsa2048", "decrypt (OAEP)"),
    ("hmac", "authenticate (HMAC)"),
]


class Wrapped:
    """A real store with some of its methods changed: a device that cannot do, or does wrong, what a test says."""

    def __init__(self, store: KeyStore, **changed: Callable[..., Any]) -> None:
        self._store = store
        self._changed = changed

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method of a store
        return self._changed.get(name) or getattr(self._store, name)


def check(store: KeyStore | Wrapped, *, create: bool = False, **options: Any) -> tuple[CheckResult, ...]:  # noqa: ANN401
    return check_store(store, mac_key_id=MAC_ID, create=create, **options)  # type: ignore[arg-type]


def by_name(results: tuple[CheckResult, ...]) -> dict[tuple[str, str], CheckResult]:
    return {(result.algorithm, result.operation): result for result in results}


def contents() -> dict[str, str]:
    """Returns what every file of every SoftHSM token of this process holds, the generation counter left out."""
    directory = current_softhsm_directory()
    assert directory is not None
    files = (path for path in sorted(Path(directory, "tokens").rglob("*")) if path.is_file())
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.suffix == ".object" and path.name != "token.object"
    }


@pytest.fixture(scope="module")
def furnished(make_token: Callable[[], str]) -> Iterator[KeyStore]:
    """A token with a key of every kind of the loop's own, a MAC key, and a key of somebody else's."""
    with open_key_store(make_token()) as store:
        store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"ours", label="fidoloop UAF F10B#0000")
        store.generate(KeyAlgorithm.P256, KeyUsage.DERIVE, key_id=b"derives", label="fidoloop target encryption")
        store.generate(KeyAlgorithm.RSA2048, KeyUsage.DECRYPT, key_id=b"decrypts", label="fidoloop target encryption")
        store.generate(KeyAlgorithm.RSA2048, KeyUsage.SIGN, key_id=b"theirs", label="a mail key")
        store.mac_key(MAC_ID, "fidoloop state MAC")
        yield store


@pytest.fixture(scope="module")
def bare(make_token: Callable[[], str]) -> Iterator[KeyStore]:
    """A token that every test here leaves empty."""
    with open_key_store(make_token()) as store:
        yield store
        assert store.list() == []


def test_everything_works_on_softhsm_and_nothing_stays(bare: KeyStore) -> None:
    before = contents()
    reported: list[CheckResult] = []
    results = check(bare, create=True, report=reported.append)
    assert list(results) == reported
    token, keys = results[:3], results[3:]
    assert [(one.operation, one.outcome) for one in token] == [("info", OK), ("list", OK), ("random", OK)]
    assert [(one.algorithm, one.operation) for one in keys] == EVERY_KIND
    assert {one.outcome for one in keys} == {OK}
    assert all(one.seconds is not None and one.seconds >= 0 for one in results)
    assert missing_for_loop(results) == unchecked_for_loop(results) == ()
    assert contents() == before


def test_without_create_nothing_changes_and_only_own_keys_are_used(furnished: KeyStore) -> None:
    before = contents()
    used: list[bytes] = []

    def key(key_id: bytes) -> HardwareKey:
        used.append(key_id)
        return furnished.key(key_id)

    results = check(Wrapped(furnished, key=key))
    assert contents() == before
    assert set(used) == {b"ours", b"derives", b"decrypts"}
    found = by_name(results)
    assert found["", "list"].detail == "4 keys, 3 of fidoloop's"
    for name in (("p256", "sign and verify"), ("p256", "agree on a secret (ECDH)"), ("rsa2048", "decrypt (OAEP)")):
        assert found[name].outcome is OK
        assert bytes.fromhex(found[name].key_id) in used
    assert found["p256", "read a certificate"].detail == "none is stored"
    assert found["hmac", "authenticate (HMAC)"].outcome is OK
    for name in (("rsa2048", "sign and verify (PSS)"), ("p384", "sign and verify")):
        assert (found[name].outcome, found[name].seconds) == (NOT_CHECKED, None)
    assert missing_for_loop(results) == unchecked_for_loop(results) == ()


def test_a_key_of_somebody_elses_is_tried_where_it_is_named(furnished: KeyStore) -> None:
    before = contents()
    found = by_name(check(furnished, key_ids=[b"theirs"]))
    assert contents() == before
    for name in (("rsa2048", "sign and verify (PKCS #1)"), ("rsa2048", "sign and verify (PSS)")):
        assert (found[name].outcome, found[name].key_id) == (OK, b"theirs".hex())


def test_an_empty_token_is_left_empty_and_little_is_known_of_it(bare: KeyStore) -> None:
    before = contents()
    results = check(bare)
    assert contents() == before
    assert by_name(results)["hmac", "authenticate (HMAC)"].outcome is NOT_CHECKED
    assert missing_for_loop(results) == ()
    assert unchecked_for_loop(results) == ("p256 sign and verify", "p256 key agreement or rsa2048 decryption")


def test_existing_keys_are_tried_too_where_keys_are_made(furnished: KeyStore) -> None:
    before = contents()
    results = check(furnished, create=True, kinds=QUICK)
    signing = [one for one in results if (one.algorithm, one.operation) == ("p256", "sign and verify")]
    assert [one.outcome for one in signing] == [OK, OK]
    assert signing[0].key_id == b"ours".hex()
    assert contents() == before


@pytest.mark.parametrize("stop", range(3, 9))
def test_ctrl_c_leaves_nothing_behind(bare: KeyStore, stop: int) -> None:
    before = contents()
    seen: list[CheckResult] = []

    def report(result: CheckResult) -> None:
        seen.append(result)
        if len(seen) > stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(bare, create=True, kinds=QUICK, report=report)
    assert len(seen) == stop + 1
    assert contents() == before


def test_ctrl_c_while_a_key_is_being_made_leaves_nothing_behind(bare: KeyStore) -> None:
    before = contents()

    def generate(*arguments: Any, **options: Any) -> HardwareKey:  # noqa: ANN401 - arguments of `generate`
        bare.generate(*arguments, **options)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(Wrapped(bare, generate=generate), create=True, kinds=QUICK)
    assert contents() == before


def test_a_second_ctrl_c_waits_until_the_key_is_gone(bare: KeyStore) -> None:
    before = contents()

    def delete(key_id: bytes) -> None:
        os.kill(os.getpid(), 2)
        bare.delete(key_id)

    with pytest.raises(KeyboardInterrupt):
        check(Wrapped(bare, delete=delete), create=True, kinds=QUICK)
    assert contents() == before


def test_a_device_that_cannot_agree_on_keys_but_decrypts_will_do(bare: KeyStore) -> None:
    def generate(algorithm: KeyAlgorithm, usage: KeyUsage, **options: Any) -> HardwareKey:  # noqa: ANN401
        if usage is KeyUsage.DERIVE:
            raise NotSupported("no CKM_ECDH1_DERIVE here")
        return bare.generate(algorithm, usage, **options)

    results = check(Wrapped(bare, generate=generate), create=True, kinds=QUICK)
    found = by_name(results)
    assert found["p256", "generate, to agree"].outcome is NOT_SUPPORTED
    assert found["p256", "generate, to agree"].detail == "no CKM_ECDH1_DERIVE here"
    assert ("p256", "agree on a secret (ECDH)") not in found
    assert missing_for_loop(results) == ()


def test_a_device_that_makes_no_keys_cannot_carry_the_loop_unless_it_has_some(
    bare: KeyStore, furnished: KeyStore
) -> None:
    def refuse(*_arguments: object, **_options: object) -> HardwareKey:
        raise NotSupported("not by this module")

    results = check(Wrapped(bare, generate=refuse), create=True)
    assert missing_for_loop(results) == ("p256 sign and verify", "p256 key agreement or rsa2048 decryption")
    assert missing_for_loop(check(Wrapped(furnished, generate=refuse), create=True)) == ()


def test_a_token_without_hmac_says_so_and_will_do(bare: KeyStore) -> None:
    results = check(Wrapped(bare, mac_key=lambda *_a, **_o: None), create=True, kinds=QUICK)
    found = by_name(results)["hmac", "authenticate (HMAC)"]
    assert (found.outcome, "no HMAC" in found.detail) == (NOT_SUPPORTED, True)
    assert missing_for_loop(results) == ()


class _LyingMac:
    def mac(self, data: bytes) -> bytes:
        return bytes(32)


def test_answers_that_are_wrong_are_failures(bare: KeyStore) -> None:
    """A device may answer without an error, and wrongly."""
    wrong = Wrapped(bare, random=bytes, mac_key=lambda *_a, **_o: _LyingMac(), certificate=lambda _key_id: b"another")
    found = by_name(check(wrong, create=True, kinds=QUICK))
    assert found["", "random"].outcome is FAILED
    assert found["hmac", "authenticate (HMAC)"].outcome is FAILED
    assert found["p256", "write and read a certificate"].outcome is FAILED
    assert found["p256", "sign and verify"].outcome is OK


@pytest.mark.parametrize(
    ("kind", "key_id", "answer"),
    [
        ((KeyAlgorithm.P256, KeyUsage.SIGN), b"ours", {"sign": bytes.fromhex("3006020101020101")}),
        ((KeyAlgorithm.P256, KeyUsage.DERIVE), b"derives", {"exchange": bytes(32)}),
        ((KeyAlgorithm.RSA2048, KeyUsage.DECRYPT), b"decrypts", {"decrypt": bytes(32)}),
        ((KeyAlgorithm.RSA2048, KeyUsage.SIGN), b"theirs", {"sign": bytes(256)}),
    ],
)
def test_what_a_key_answers_is_held_against_its_public_key(
    furnished: KeyStore, kind: tuple[KeyAlgorithm, KeyUsage], key_id: bytes, answer: dict[str, bytes]
) -> None:
    real = furnished.key(key_id)
    lying = mock.create_autospec(type(real), instance=True)
    lying.public_key.return_value = real.public_key()
    lying.curve, lying.key_size = getattr(real, "curve", None), getattr(real, "key_size", None)
    for name, value in answer.items():
        getattr(lying, name).return_value = value
    for _, operation in key_operations(*kind):
        assert operation(real) == ""
        with pytest.raises((InvalidSignature, WrongAnswer)):
            operation(lying)


def test_what_cannot_be_removed_is_named(bare: KeyStore) -> None:
    left: list[bytes] = []

    def delete(key_id: bytes) -> None:
        left.append(key_id)
        raise KeyStoreError("the token is write-protected")

    results = check(Wrapped(bare, delete=delete), create=True, kinds=QUICK)
    failures = [one for one in results if one.operation == "delete"]
    assert {one.outcome for one in failures} == {FAILED}
    assert [bytes.fromhex(one.key_id) for one in failures] == left
    assert all(one.key_id in one.detail for one in failures)
    for info in bare.list():
        bare.delete(info.key_id)


def test_a_token_that_is_pulled_fails_check_by_check(bare: KeyStore) -> None:
    def gone(*_arguments: object, **_options: object) -> Any:  # noqa: ANN401 - never returns
        raise TokenAbsent("the token was pulled out")

    results = check(Wrapped(bare, list=gone, random=gone, generate=gone, mac_key=gone, delete=gone), create=True)
    assert missing_for_loop(results) == (
        "list",
        "p256 sign and verify",
        "p256 key agreement or rsa2048 decryption",
    )


@pytest.mark.xdist_group("tpm")
def test_a_tpm_agrees_on_no_keys_but_decrypts_and_will_do(fidoloop_tpm_token: str) -> None:
    with open_key_store(fidoloop_tpm_token) as store:
        before = store.list()
        results = check(store, create=True)
        assert store.list() == before
    found = by_name(results)
    assert found["p256", "generate, to agree"].outcome is NOT_SUPPORTED
    assert found["hmac", "authenticate (HMAC)"].outcome is NOT_SUPPORTED
    for name in (("p256", "sign and verify"), ("p384", "sign and verify"), ("rsa2048", "decrypt (OAEP)")):
        assert found[name].outcome is OK
    assert {one.outcome for one in results} == {OK, NOT_SUPPORTED}
    assert missing_for_loop(results) == unchecked_for_loop(results) == ()


@pytest.mark.xdist_group("p11-kit")
def test_p11_kits_rpc_cannot_agree_on_keys_but_decrypts_and_will_do(fidoloop_remote_token: str) -> None:
    with open_key_store(fidoloop_remote_token) as store:
        before = store.list()
        results = check(store, create=True)
        assert store.list() == before
    found = by_name(results)
    other = {name for name, one in found.items() if one.outcome is not OK}
    assert other == {("p256", "generate, to agree"), ("p384", "generate, to agree")}
    assert found["p256", "generate, to agree"].outcome is NOT_SUPPORTED
    assert "CKM_ECDH1_DERIVE" in found["p256", "generate, to agree"].detail
    assert missing_for_loop(results) == unchecked_for_loop(results) == ()


@pytest.mark.xdist_group("p11-kit")
def test_nss_softoken_cannot_carry_the_loop(fidoloop_nss_token: str) -> None:
    """Its keys are not what was asked for, and are refused (and destroyed) as they are made."""
    with open_key_store(fidoloop_nss_token) as store:
        results = check(store, create=True, kinds=QUICK)
        assert store.list() == []
    found = by_name(results)["p256", "generate, to sign"]
    assert (found.outcome, "it does not protect keys" in found.detail) == (FAILED, True)
    assert "p256 sign and verify" in missing_for_loop(results)


def test_opensc_makes_no_keys_and_uses_those_on_the_card(fidoloop_opensc_token: str) -> None:
    with open_key_store(fidoloop_opensc_token) as store:
        before = store.list()
        alone = check(store, create=True, kinds=QUICK)
        named = by_name(check(store, create=True, key_ids=[b"\x01"], kinds=QUICK))
        assert store.list() == before
    assert by_name(alone)["p256", "generate, to sign"].outcome is NOT_SUPPORTED
    assert "p256 sign and verify" in missing_for_loop(alone)
    assert (named["p256", "sign and verify"].outcome, named["p256", "sign and verify"].key_id) == (OK, "01")
    assert named["p256", "read a certificate"].outcome is OK
