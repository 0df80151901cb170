import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.errors import AsmError, TamperedStateError
from fidoloop.authenticator.state import AuthenticatorState, Registration
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol.uaf.status import AsmStatus
from tests.authenticator.test_uaf_authenticator import register, status_of

KEY_ID = b"k" * 32


def registration(key_id: bytes = KEY_ID) -> Registration:
    return Registration(key_id, "F10B#0113", "https://rp.example", "jeff", b"t" * 32, 0, 0)


def test_counters_survive_a_restart_and_never_repeat(store: KeyStore, tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(4):
        state = AuthenticatorState(tmp_path / "p.sqlite", store)
        if not seen:
            state.add(registration())
        for _ in range(5):
            value = state.next_sign_counter(KEY_ID)
            assert value is not None
            seen.append(value)
        state.close()
    assert seen == sorted(set(seen))


def test_a_short_lived_phone_wastes_no_counter_values(store: KeyStore, tmp_path: Path) -> None:
    values: list[int | None] = []
    for _ in range(3):
        state = AuthenticatorState(tmp_path / "p.sqlite", store)
        if not values:
            state.add(registration())
        values.append(state.next_sign_counter(KEY_ID))
        state.close()
    assert values == [1, 2, 3]


def test_two_processes_of_one_phone_never_sign_one_counter_twice(store: KeyStore, tmp_path: Path) -> None:
    first = AuthenticatorState(tmp_path / "p.sqlite", store)
    second = AuthenticatorState(tmp_path / "p.sqlite", store)
    first.add(registration())
    values = []
    for state in (first, first, first, second, first, second, second, first):
        value = state.next_sign_counter(KEY_ID)
        assert value is not None
        values.append(value)
    assert values == sorted(set(values))
    first.close()
    second.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.hsm.open import open_key_store
state = AuthenticatorState(Path(sys.argv[1]), open_key_store(sys.argv[2]))
for _ in range(int(sys.argv[3])):
    print(state.next_sign_counter(b"k" * 32), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_skips_ahead_and_never_back(store: KeyStore, uri: str, tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    state = AuthenticatorState(path, store)
    state.add(registration())
    seen = [0]
    for rounds in (1, 5, 20):
        command = [sys.executable, "-c", KILLED, str(path), uri, str(rounds)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ.copy(), check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        values = [int(line) for line in done.stdout.split()]
        assert len(values) == rounds
        assert values[0] > seen[-1]
        seen += values
        after = state.next_sign_counter(KEY_ID)
        assert after is not None
        assert after > seen[-1]
        seen.append(after)
    assert seen == sorted(set(seen))
    state.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE registration SET sign_ceiling = 0",
        "UPDATE registration SET app_id = 'https://evil.example'",
        "UPDATE registration SET access_token = x'00'",
        "UPDATE registration SET mac = NULL",
        "UPDATE registration SET sign_ceiling = 'none'",
    ],
)
def test_a_row_changed_from_outside_refuses_to_sign(
    asm: Asm, state: AuthenticatorState, tmp_path: Path, change: str
) -> None:
    key_id = register(asm)
    for _ in range(3):
        state.next_sign_counter(key_id)
    with sqlite3.connect(tmp_path / "phone.sqlite") as other:
        other.execute(change)
    other.close()
    assert status_of(asm, [key_id]) is AsmStatus.ACCESS_DENIED


def test_a_row_carried_into_another_phones_file_refuses_to_sign(store: KeyStore, tmp_path: Path) -> None:
    one, two = AuthenticatorState(tmp_path / "1.sqlite", store), AuthenticatorState(tmp_path / "2.sqlite", store)
    one.add(registration())
    one.close()
    two.close()
    with sqlite3.connect(tmp_path / "2.sqlite") as other:
        other.execute("ATTACH ? AS one", (str(tmp_path / "1.sqlite"),))
        other.execute("INSERT INTO registration SELECT * FROM one.registration")
    other.close()
    two = AuthenticatorState(tmp_path / "2.sqlite", store)
    with pytest.raises(TamperedStateError):
        two.registration(KEY_ID)
    two.close()


def test_a_tampered_registration_counter_registers_nothing(asm: Asm, store: KeyStore, tmp_path: Path) -> None:
    register(asm)
    keys = len(store.list())
    with sqlite3.connect(tmp_path / "phone.sqlite") as other:
        other.execute("UPDATE registration_counter SET value = 0")
    other.close()
    with pytest.raises(AsmError) as refused:
        register(asm)
    assert refused.value.status is AsmStatus.ACCESS_DENIED
    assert len(store.list()) == keys


def test_the_file_is_its_owners_alone(state: AuthenticatorState, tmp_path: Path) -> None:
    assert (tmp_path / "phone.sqlite").stat().st_mode & 0o077 == 0
