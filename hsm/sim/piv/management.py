"""The card management key, 9B: authenticating by it, replacing it (SP 800-73-4 part 2, 3.2.4 and appendix A.1)."""

import secrets
from collections.abc import Mapping
from hmac import compare_digest
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fidoloop.hsm.piv.tlv import encode
from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord
from fidoloop.hsm.sim.piv.registry import MANAGEMENT, Algorithm
from fidoloop.hsm.sim.piv.session import Pending, Session
from fidoloop.hsm.sim.piv.state import ManagementKey, StateStore

DEFAULT_KEY: Final = bytes.fromhex("010203040506070801020304050607080102030405060708")
LENGTHS: Final = {Algorithm.TDES: 24, Algorithm.AES128: 16, Algorithm.AES192: 24, Algorithm.AES256: 32}
WITNESS, CHALLENGE, RESPONSE, TEMPLATE = 0x80, 0x81, 0x82, 0x7C
_NO_TOUCH = 0xFF


class Management:
    """GENERAL AUTHENTICATE with the management key, and SET MANAGEMENT KEY."""

    def __init__(self, store: StateStore, session: Session) -> None:
        self._store = store
        self._session = session

    def authenticate(self, command: Command, fields: Mapping[int, bytes]) -> bytes:
        """Authenticate the host alone (challenge, response) or both sides (witness, then challenge and response).

        There is no encryption of what the host chooses before the host has shown that it has the key.
        """
        pending, self._session.pending = self._session.pending, None
        # SP 800-78-4 table 6-2: 00 is another number of 3DES.
        if (command.p1 or Algorithm.TDES) != self._store.state.management.algorithm:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        given = {tag: value for tag, value in fields.items() if value}
        if not given and set(fields) == {CHALLENGE}:
            return self._start(mutual=False)
        if not given and set(fields) == {WITNESS}:
            return self._start(mutual=True)
        if set(given) == {RESPONSE}:
            return self._finish(pending, given[RESPONSE], mutual=False)
        if set(given) == {WITNESS, CHALLENGE}:
            if len(given[CHALLENGE]) != self._block:
                raise ApduError(StatusWord.INCORRECT_DATA)
            self._finish(pending, given[WITNESS], mutual=True)
            return encode(TEMPLATE, encode(RESPONSE, self._encrypt(given[CHALLENGE])))
        raise ApduError(StatusWord.INCORRECT_DATA)

    def set_key(self, command: Command) -> bytes:
        """SET MANAGEMENT KEY (Yubico): algorithm, 9B, length, key; there is no button that could be asked for."""
        command.require(p1=0xFF, p2=_NO_TOUCH)
        self._session.require_management()
        head, key = command.data[:3], command.data[3:]
        if len(head) != 3 or head[1] != MANAGEMENT or head[2] != len(key) or LENGTHS.get(head[0]) != len(key):  # type: ignore[call-overload]
            raise ApduError(StatusWord.INCORRECT_DATA)
        self._store.state.management = ManagementKey(head[0], key)
        self._store.save()
        return b""

    @property
    def _block(self) -> int:
        return 8 if self._store.state.management.algorithm == Algorithm.TDES else 16

    def _start(self, *, mutual: bool) -> bytes:
        value = secrets.token_bytes(self._block)
        encrypted = self._encrypt(value)
        if mutual:
            self._session.pending = Pending(expected=value, mutual=True)
            return encode(TEMPLATE, encode(WITNESS, encrypted))
        self._session.pending = Pending(expected=encrypted, mutual=False)
        return encode(TEMPLATE, encode(CHALLENGE, value))

    def _finish(self, pending: Pending | None, given: bytes, *, mutual: bool) -> bytes:
        right = pending is not None and pending.mutual == mutual and compare_digest(pending.expected, given)
        self._session.management_authenticated = right
        if not right:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        return b""

    def _encrypt(self, block: bytes) -> bytes:
        key = self._store.state.management
        cipher = TripleDES(key.value) if key.algorithm == Algorithm.TDES else algorithms.AES(key.value)
        encryptor = Cipher(cipher, modes.ECB()).encryptor()  # noqa: S305 - one random block, as the standard says
        return encryptor.update(block) + encryptor.finalize()


def default_management_key() -> ManagementKey:
    """Return the management key of a new card: 3DES, which every tool knows."""
    return ManagementKey(Algorithm.TDES, DEFAULT_KEY)
