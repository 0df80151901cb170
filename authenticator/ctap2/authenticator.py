"""The authenticator: one message in, one out (CTAP 2.1, sections 6 and 8)."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from fido2.ctap import CtapError
from fido2.ctap2.base import Ctap2

from fidoloop.authenticator.ctap2.client_pin import client_pin
from fidoloop.authenticator.ctap2.config import config
from fidoloop.authenticator.ctap2.core import Core, within
from fidoloop.authenticator.ctap2.credential_management import credential_management
from fidoloop.authenticator.ctap2.errors import ERR, FAILURES, status_of
from fidoloop.authenticator.ctap2.get_assertion import get_assertion, get_next_assertion
from fidoloop.authenticator.ctap2.get_info import get_info, u2f_enabled
from fidoloop.authenticator.ctap2.large_blobs import large_blobs
from fidoloop.authenticator.ctap2.limits import MAX_MESSAGE
from fidoloop.authenticator.ctap2.make_credential import make_credential
from fidoloop.authenticator.ctap2.members import Members, typed
from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.user_verification import UserVerifier
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol.ctap.canonical_cbor import CborError, decode, encode

CMD = Ctap2.CMD
_NEXT_ASSERTION, _CREDENTIAL_MANAGEMENT = int(CMD.GET_NEXT_ASSERTION), int(CMD.CREDENTIAL_MGMT)
RESET_SECONDS: Final = 10.0
"""Within which after power-up the authenticator may be reset (section 6.6)."""


def _selection(core: Core) -> dict[int, Any]:
    core.interaction.presence("selection")
    return {}


def _reset(core: Core) -> dict[int, Any]:
    within(core, RESET_SECONDS, core.powered_at)
    core.interaction.presence("reset")
    core.state.reset()
    core.destroy_all_keys()
    core.forget_session()
    return {}


_WITHOUT_PARAMETERS: Final[dict[int, Callable[[Core], dict[int, Any]]]] = {
    CMD.GET_INFO: get_info,
    CMD.RESET: _reset,
    CMD.GET_NEXT_ASSERTION: get_next_assertion,
    CMD.SELECTION: _selection,
}
_WITH_PARAMETERS: Final[dict[int, Callable[[Core, Members], dict[int, Any]]]] = {
    CMD.MAKE_CREDENTIAL: make_credential,
    CMD.GET_ASSERTION: get_assertion,
    CMD.CLIENT_PIN: client_pin,
    CMD.CREDENTIAL_MGMT: credential_management,
    CMD.LARGE_BLOBS: large_blobs,
    CMD.CONFIG: config,
}


_NEVER: Final = threading.Event()


class Authenticator:
    """A CTAP2 authenticator over a key store; thread-safe, one command at a time."""

    def __init__(
        self,
        store: KeyStore,
        state: Ctap2State,
        verifier: UserVerifier,
        *,
        transports: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Power the authenticator up.

        Args:
            store: where keys are made and stay.
            state: the authenticator's file.
            verifier: who tests presence, and verifies users where it can; `AutoApprove` is refused.
            transports: as getInfo gives them, e.g. "nfc".
            clock: monotonic, in seconds.

        Raises:
            ValueError: the verifier asks nobody; KeyStoreError: the token; TamperedStateError: the file.
        """
        self.core: Final = Core(store, state, verifier, transports=transports, clock=clock)
        self._lock = threading.Lock()

    def power_cycle(self) -> None:
        """Take the power away and give it back."""
        with self._lock:
            self.core.power_cycle()

    @property
    def takes_u2f(self) -> bool:
        """Whether U2F is served, too; where that cannot be read, trying it will tell."""
        try:
            return u2f_enabled(self.core)
        except FAILURES:
            return True

    def process(
        self, message: bytes, *, cancelled: threading.Event | None = None, on_asking: Callable[[], None] | None = None
    ) -> bytes:
        """Answer a command (one byte, and parameters in CBOR) with a status byte, and a map in CBOR where it has one.

        Nothing is raised for a message, whatever it is. `cancelled` calls the command off, `on_asking` is called when
        the user is about to be asked.
        """
        interaction = self.core.interaction
        with self._lock:
            interaction.cancelled, interaction.on_asking = cancelled or _NEVER, on_asking
            try:
                response = self._dispatch(message)
            except CtapError as error:
                return bytes((error.code,))
            except FAILURES as error:
                return bytes((status_of(error),))
        return b"\0" + (encode(response) if response else b"")

    @contextmanager
    def interaction(
        self, cancelled: threading.Event | None = None, on_asking: Callable[[], None] | None = None
    ) -> Iterator[Core]:
        """Have the authenticator for one command."""
        with self._lock:
            self.core.interaction.cancelled = cancelled or _NEVER
            self.core.interaction.on_asking = on_asking
            yield self.core

    def _dispatch(self, message: bytes) -> dict[int, Any]:
        if not message:
            raise CtapError(ERR.INVALID_LENGTH)
        if len(message) > MAX_MESSAGE:
            raise CtapError(ERR.REQUEST_TOO_LARGE)
        command = message[0]
        # What one command left for the next ones of its kind does not outlast another command.
        self.core.forget_enumerations(
            assertions=command != _NEXT_ASSERTION, credentials=command != _CREDENTIAL_MANAGEMENT
        )
        simple = _WITHOUT_PARAMETERS.get(command)
        if simple is not None:
            if len(message) > 1:
                raise CtapError(ERR.INVALID_LENGTH)
            return simple(self.core)
        full = _WITH_PARAMETERS.get(command)
        if full is None:
            raise CtapError(ERR.INVALID_COMMAND)
        return full(self.core, _parameters(message))


def _parameters(message: bytes) -> Members:
    try:
        members = decode(message[1:])
    except CborError:
        raise CtapError(ERR.INVALID_CBOR) from None
    if not isinstance(members, dict):
        raise CtapError(ERR.CBOR_UNEXPECTED_TYPE)
    for name in members:
        typed(name, int)
    return members
