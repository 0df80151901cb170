"""`fidoloop keys check`: the table, the JSON, the exit codes, and Ctrl-C."""

import os
import pty
import signal
import subprocess
from collections.abc import Callable

import pytest

from fidoloop.authenticator.state import MAC_KEY_ID
from fidoloop.cli import keys_check
from fidoloop.cli.exits import Exit
from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import HardwareKey, KeyAlgorithm, KeyUsage
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.pkcs11.store import Pkcs11KeyStore
from fidoloop.hsm.uri import parse_uri
from tests.cli.command import COMMAND, Done, environment, invoke
from tests.lab import SOFTHSM_PIN


@pytest.fixture(scope="module")
def full_uri(fidoloop_make_token: Callable[[], str]) -> str:
    return fidoloop_make_token()


@pytest.fixture(scope="module")
def uri(full_uri: str) -> str:
    return parse_uri(full_uri).without_pin()


def check(*arguments: str) -> Done:
    done = invoke("keys", "check", *arguments, pin=SOFTHSM_PIN)
    assert SOFTHSM_PIN not in done.all
    assert "\x1b" not in done.all
    return done


def test_a_token_that_can_carry_the_loop(uri: str, full_uri: str) -> None:
    done = check(uri, "--create", "--json")
    assert (done.code, done.err) == (Exit.OK, "")
    said = done.json
    assert (said["can_run"], said["missing"], said["unchecked"]) == (True, [], [])
    assert (said["checks"][0]["operation"], said["checks"][0]["outcome"]) == ("open and log in", "ok")
    assert {one["outcome"] for one in said["checks"]} == {"ok"}
    assert all(one["milliseconds"] >= 0 for one in said["checks"])
    with open_key_store(full_uri) as store:
        assert store.list() == []


def test_the_time_of_opening_is_without_that_of_typing_the_pin(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0

    def typed(_label: str) -> str:
        nonlocal clock
        clock += 60
        return SOFTHSM_PIN

    monkeypatch.setattr(keys_check, "ask_pin", typed)
    monkeypatch.setattr(keys_check, "perf_counter", lambda: clock)
    opened = check(uri, "--json").json["checks"][0]
    assert (opened["operation"], opened["milliseconds"], clock) == ("open and log in", 0, 60)


def test_an_empty_token_is_not_changed_and_said_to_be_unchecked(uri: str, full_uri: str) -> None:
    done = check(uri)
    assert done.code == Exit.OK
    assert "not checked: p256 sign and verify" in done.out.splitlines()[-1]
    assert "not checked" in done.out
    said = check(uri, "--json").json
    assert said["can_run"] is None
    with open_key_store(full_uri) as store:
        assert store.list() == []
        assert store.mac_key(MAC_KEY_ID, "", make=False) is None


def test_a_token_that_cannot_is_refused_and_what_it_lacks_is_named(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Pkcs11KeyStore.generate

    def generate(
        self: Pkcs11KeyStore, algorithm: KeyAlgorithm, usage: KeyUsage, *, key_id: bytes, label: str
    ) -> HardwareKey:
        if algorithm is not KeyAlgorithm.P384 and usage is not KeyUsage.SIGN:
            raise NotSupported("only [signs]")
        return real(self, algorithm, usage, key_id=key_id, label=label)

    monkeypatch.setattr(Pkcs11KeyStore, "generate", generate)
    done = check(uri, "--create")
    assert done.code == Exit.REFUSED
    assert "it lacks p256 key agreement or rsa2048 decryption" in done.out.splitlines()[-1]
    assert "only [signs]" in done.out
    said = check(uri, "--create", "--json")
    assert (said.code, said.json["can_run"]) == (Exit.REFUSED, False)


@pytest.mark.parametrize("wrong", ["pkcs11:token=x?module-path=/none.so", "absent"])
def test_a_device_that_cannot_be_opened(uri: str, wrong: str) -> None:
    named = wrong if wrong != "absent" else uri.replace("token=", "token=no-")
    done = check(named)
    assert (done.code, done.out) == (Exit.DEVICE, "")
    assert done.err.startswith("error: ")


def test_ctrl_c_leaves_nothing_in_the_token(uri: str, full_uri: str) -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "keys", "check", uri, "--create"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=follower,
        env=environment(FIDOLOOP_PIN=SOFTHSM_PIN, TERM="xterm"),
        start_new_session=True,
    ) as process:
        os.close(follower)
        seen = b""
        while b"p384" not in seen:
            seen += os.read(leader, 1024)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    os.close(leader)
    assert process.returncode not in (Exit.OK, Exit.REFUSED, Exit.DEVICE)
    assert b"can run" not in output
    with open_key_store(full_uri) as store:
        assert store.list() == []
