"""The PIV card application (NIST SP 800-73-4) with Yubico's extensions, as an applet of a simulated card."""

from collections.abc import Callable
from typing import Final

from fidoloop.hsm.piv.tlv import TlvError, encode, fields, only
from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord
from fidoloop.hsm.sim.card import Applet
from fidoloop.hsm.sim.piv.attestation import Attestation
from fidoloop.hsm.sim.piv.keys import Keys
from fidoloop.hsm.sim.piv.management import TEMPLATE, Management, default_management_key
from fidoloop.hsm.sim.piv.objects import Objects, factory_objects
from fidoloop.hsm.sim.piv.pins import Pins, default_pin, default_puk
from fidoloop.hsm.sim.piv.registry import AID, ATTESTATION, ATTESTATION_CERTIFICATE, MANAGEMENT, Ins
from fidoloop.hsm.sim.piv.session import Session
from fidoloop.hsm.sim.piv.state import StateStore

LABEL: Final = "fidoloop simulated card"


class PivApplet(Applet):
    """A PIV application whose state is in a `StateStore`."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._session = Session()
        pins, objects = Pins(store, self._session), Objects(store, self._session)
        self._keys, self._management = Keys(store, self._session), Management(store, self._session)
        self._commands: dict[int, Callable[[Command], bytes]] = {
            Ins.VERIFY: pins.verify,
            Ins.CHANGE_REFERENCE_DATA: pins.change,
            Ins.RESET_RETRY_COUNTER: pins.unblock,
            Ins.SET_PIN_RETRIES: pins.set_retries,
            Ins.GET_DATA: objects.get,
            Ins.PUT_DATA: objects.put,
            Ins.GENERATE_ASYMMETRIC_KEY_PAIR: self._keys.generate,
            Ins.GENERAL_AUTHENTICATE: self._authenticate,
            Ins.IMPORT_KEY: self._keys.import_key,
            Ins.MOVE_KEY: self._keys.move,
            Ins.GET_METADATA: self._keys.metadata,
            Ins.SET_MANAGEMENT_KEY: self._management.set_key,
            Ins.ATTEST: Attestation(store).attest,
            Ins.GET_SERIAL: self._serial,
            Ins.GET_VERSION: self._version,
            Ins.RESET: self._factory_reset,
        }

    @property
    def aid(self) -> bytes:
        """The PIV application's identifier, version 1.0."""
        return AID

    def select(self) -> bytes:
        """Return the application property template (SP 800-73-4 part 2, table 3); the label says what this is."""
        authority = encode(0x79, encode(0x4F, AID[:5]))
        return encode(0x61, encode(0x4F, AID[5:]) + authority + encode(0x50, LABEL.encode()))

    def reset(self) -> None:
        """Forget PIN verification and management-key authentication."""
        self._session.forget_pin()
        self._session.management_authenticated = False
        self._session.pending = None

    def process(self, command: Command) -> bytes:
        """Do one command of the application."""
        if command.cla:
            raise ApduError(StatusWord.CLASS_NOT_SUPPORTED)
        do = self._commands.get(command.ins)
        if do is None:
            raise ApduError(StatusWord.INSTRUCTION_NOT_SUPPORTED)
        if command.ins != Ins.GENERAL_AUTHENTICATE:
            self._session.pending = None
            self._session.pin_just_verified = False
        return do(command)

    def _authenticate(self, command: Command) -> bytes:
        try:
            given = fields(only(command.data, TEMPLATE))
            use = self._management.authenticate if command.p2 == MANAGEMENT else self._keys.use
            return use(command, given)
        except TlvError:
            raise ApduError(StatusWord.INCORRECT_DATA) from None
        finally:
            self._session.pin_just_verified = False

    def _serial(self, command: Command) -> bytes:
        """GET SERIAL (Yubico): four bytes."""
        command.require(p1=0, p2=0)
        command.without_data()
        return self._store.state.serial.to_bytes(4)

    def _version(self, command: Command) -> bytes:
        """GET VERSION (Yubico): three bytes."""
        command.require(p1=0, p2=0)
        command.without_data()
        return bytes(self._store.state.firmware)

    def _factory_reset(self, command: Command) -> bytes:
        """RESET (Yubico): once PIN and PUK are blocked, all but slot F9 is as it was in a new card."""
        command.require(p1=0, p2=0)
        command.without_data()
        state = self._store.state
        if state.pin.left or state.puk.left:
            raise ApduError(StatusWord.CONDITIONS_NOT_SATISFIED)
        state.pin, state.puk, state.management = default_pin(), default_puk(), default_management_key()
        state.keys = {slot: key for slot, key in state.keys.items() if slot == ATTESTATION}
        kept = {tag: value for tag, value in state.objects.items() if tag == ATTESTATION_CERTIFICATE}
        state.objects = factory_objects() | kept
        self._store.save()
        self.reset()
        return b""
