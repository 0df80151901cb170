"""The card's memory: what outlives a reset, the process and its sudden end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.sim.piv.registry import Ins
from fidoloop.hsm.sim.piv.state import CardStateError, StateStore
from fidoloop.hsm.sim.piv_card import piv_card
from tests.hsm.sim.host import NOW, Host

WRONG = b"00000000"


def made(directory: Path, factory: Factory) -> Host:
    store = StateStore(factory.personalise(now=NOW), directory)
    return Host(piv_card(store), store)


def reopened(directory: Path) -> Host:
    store = StateStore.open(directory)
    assert store is not None
    return Host(piv_card(store), store)


def test_everything_but_the_session_is_there_again(tmp_path: Path, fidoloop_card_factory: Factory) -> None:
    host = made(tmp_path, fidoloop_card_factory)
    host.authenticate()
    public = host.generate(0x9E)
    host.ok(Ins.PUT_DATA, 0x3F, 0xFF, b"\x5c\x03\x5f\xc1\x05\x53\x01\xaa")
    host.verify(WRONG)
    host.verify()
    before = host.store.state
    host.store.close()
    again = reopened(tmp_path)
    assert again.store.state == before
    assert again.status(Ins.VERIFY, 0, 0x80) == 0x63C3
    assert again.status(Ins.PUT_DATA, 0x3F, 0xFF, b"\x5c\x03\x5f\xc1\x05\x53\x00") == 0x6982
    assert public in again.ok(Ins.GET_METADATA, 0, 0x9E)


KILLED_WHILE_COMPARING = """
import os, signal, sys
from pathlib import Path
from fidoloop.hsm.sim.piv import pins
from fidoloop.hsm.sim.piv.state import StateStore
from fidoloop.hsm.sim.piv_card import piv_card

def killed(a, b):
    os.kill(os.getpid(), signal.SIGKILL)

pins.compare_digest = killed
piv_card(StateStore.open(Path(sys.argv[1]))).transmit(bytes.fromhex("0020008008313233343536ffff"))
"""


def test_a_try_counts_even_where_the_card_dies_before_it_answers(
    tmp_path: Path, fidoloop_card_factory: Factory
) -> None:
    made(tmp_path, fidoloop_card_factory).store.close()
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_COMPARING, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    host = reopened(tmp_path)
    assert [host.status(Ins.VERIFY, 0, 0x80), host.verify(WRONG), host.verify()] == [0x63C2, 0x63C1, 0x9000]


def test_one_card_is_run_by_one_process(tmp_path: Path, fidoloop_card_factory: Factory) -> None:
    host = made(tmp_path, fidoloop_card_factory)
    with pytest.raises(CardStateError, match="another process"):
        StateStore.open(tmp_path)
    with pytest.raises(CardStateError, match="another process"):
        StateStore(host.store.state, tmp_path)
    host.store.close()
    host.store.close()
    reopened(tmp_path).store.close()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"format":1}', b"\xff", b"[1]"])
def test_a_damaged_card_is_refused_and_left_alone(
    tmp_path: Path, fidoloop_card_factory: Factory, content: bytes
) -> None:
    made(tmp_path, fidoloop_card_factory).store.close()
    (tmp_path / "card.json").write_bytes(content)
    for _ in range(2):  # the lock is given back
        with pytest.raises(CardStateError, match="no card of this program"):
            StateStore.open(tmp_path)
    assert (tmp_path / "card.json").read_bytes() == content


def test_a_card_of_another_format_is_refused(tmp_path: Path, fidoloop_card_factory: Factory) -> None:
    made(tmp_path, fidoloop_card_factory).store.close()
    file = tmp_path / "card.json"
    file.write_text(file.read_text().replace('"format":1', '"format":2'))
    with pytest.raises(CardStateError, match="format"):
        StateStore.open(tmp_path)


def test_where_there_is_no_card_none_is_made(tmp_path: Path) -> None:
    assert StateStore.open(tmp_path / "nowhere") is None
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_for_its_owner_only_and_nothing_lies_beside_it(
    tmp_path: Path, fidoloop_card_factory: Factory
) -> None:
    host = made(tmp_path / "card", fidoloop_card_factory)
    host.verify()
    assert (tmp_path / "card").stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "card").iterdir()} == {
        "card.json": 0o600,
        "lock": 0o600,
    }


def test_what_cannot_be_written_did_not_happen(
    tmp_path: Path, fidoloop_card_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = made(tmp_path, fidoloop_card_factory)
    host.authenticate()
    host.generate(0x9E)
    before = (tmp_path / "card.json").read_bytes()

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert host.status(Ins.GENERATE_ASYMMETRIC_KEY_PAIR, 0, 0x9E, bytes.fromhex("ac03800111")) == 0x6581
        assert host.status(Ins.PUT_DATA, 0x3F, 0xFF, b"\x5c\x03\x5f\xc1\x05\x53\x01\xaa") == 0x6581
        assert host.verify() == 0x6581
        assert host.use(0x9A, b"x")[0] == 0x6A86
    assert (tmp_path / "card.json").read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"card.json", "lock"}
    assert host.status(Ins.GET_DATA, 0x3F, 0xFF, b"\x5c\x03\x5f\xc1\x05") == 0x6A82
    assert host.status(Ins.VERIFY, 0, 0x80) == 0x63C3
    assert host.verify() == 0x9000
