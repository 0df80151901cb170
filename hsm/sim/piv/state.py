"""What a simulated PIV card remembers: in memory, or in a file that is replaced as a whole at every change."""

import fcntl
import os
from pathlib import Path
from typing import Literal, Self

import msgspec

from fidoloop.hsm.errors import KeyStoreError
from fidoloop.hsm.sim.apdu import ApduError, StatusWord

_FILE, _NEW_FILE = "card.json", "card.json.new"
_MAX_FILE = 4 << 20


class CardStateError(KeyStoreError):
    """The directory holds no usable card, or another process runs the card in it."""

    code = "card_state"


class ReferenceData(msgspec.Struct, forbid_unknown_fields=True):
    """PIN or PUK: 8 bytes, filled up with FF; `left` counts down from `tries` and is 0 where it is blocked."""

    value: bytes
    tries: int
    left: int


class StoredKey(msgspec.Struct, forbid_unknown_fields=True):
    """A private key: PKCS #8, DER; the numbers are those of `registry`."""

    algorithm: int
    private: bytes
    pin_policy: int
    origin: int


class ManagementKey(msgspec.Struct, forbid_unknown_fields=True):
    """The card management key, 9B."""

    algorithm: int
    value: bytes


class CardState(msgspec.Struct, forbid_unknown_fields=True):
    """Everything in the card that outlives a reset; keys by key reference, objects by tag."""

    serial: int
    firmware: tuple[int, int, int]
    yubikey_shape: bool
    pin: ReferenceData
    puk: ReferenceData
    management: ManagementKey
    keys: dict[int, StoredKey]
    objects: dict[int, bytes]
    format: Literal[1] = 1


class StateStore:
    """Holds a card's state; without a directory it ends with the process."""

    def __init__(self, state: CardState, directory: Path | None = None) -> None:
        """Keep a new card's state and write it. Raises CardStateError as `open` does."""
        self.state = state
        self._directory = directory
        self._lock = None if directory is None else _lock(directory)
        self._saved = b""
        try:
            self.save()
        except ApduError:
            self.close()
            raise CardStateError(f"the card cannot be written into {directory}") from None

    @classmethod
    def open(cls, directory: Path) -> Self | None:
        """Read the card in `directory`; None where there is none.

        Raises:
            CardStateError: the file is damaged or of another version, or another process runs this card.
        """
        path = directory / _FILE
        if not path.exists():
            return None
        lock = _lock(directory)
        raw = path.read_bytes() if path.stat().st_size <= _MAX_FILE else b""
        try:
            state = msgspec.json.decode(raw, type=CardState)
        except msgspec.DecodeError as error:
            os.close(lock)
            raise CardStateError(f"{path} is no card of this program: {error}") from None
        store = cls.__new__(cls)
        store.state, store._directory, store._lock, store._saved = state, directory, lock, raw
        return store

    def save(self) -> None:
        """Replace the file by what is in memory: what was saved survives the end of the process, however it ends.

        Raises:
            ApduError: 6581, it cannot be written; memory and file are as they were.
        """
        if self._directory is None:
            return
        encoded = msgspec.json.encode(self.state)
        try:
            self._replace_file(encoded)
        except OSError:
            if self._saved:
                self.state = msgspec.json.decode(self._saved, type=CardState)
            raise ApduError(StatusWord.MEMORY_FAILURE) from None
        self._saved = encoded

    def _replace_file(self, content: bytes) -> None:
        assert self._directory is not None
        new = self._directory / _NEW_FILE
        try:
            with open(new, "wb", opener=_for_owner) as file:
                file.write(content)
            os.replace(new, self._directory / _FILE)
        except OSError:
            new.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Let another process run this card."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _lock(directory: Path) -> int:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise CardStateError(f"another process runs the card in {directory}") from None
    return lock
