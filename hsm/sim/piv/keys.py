"""The slots of asymmetric keys: making, importing, moving, describing and using what is in them."""

from collections.abc import Mapping
from typing import Final

from fidoloop.hsm.piv.tlv import TlvError, encode, fields, only
from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord
from fidoloop.hsm.sim.piv import private_keys
from fidoloop.hsm.sim.piv.management import CHALLENGE, DEFAULT_KEY, RESPONSE, TEMPLATE
from fidoloop.hsm.sim.piv.pins import DEFAULT_PIN, DEFAULT_PUK
from fidoloop.hsm.sim.piv.registry import (
    ATTESTATION,
    CARD_AUTHENTICATION,
    MANAGEMENT,
    PIN,
    PUK,
    SIGNATURE,
    SLOTS,
    Origin,
    PinPolicy,
)
from fidoloop.hsm.sim.piv.session import Session
from fidoloop.hsm.sim.piv.state import ReferenceData, StateStore, StoredKey

TOUCH_NEVER: Final = 1
_DELETE = 0xFF
_EXPONENTIATION = 0x85
_ALGORITHM, _PARAMETER, _PIN_POLICY, _TOUCH_POLICY = 0x80, 0x81, 0xAA, 0xAB
_NO_ALGORITHM = 0xFF


class Keys:
    """GENERATE ASYMMETRIC KEY PAIR, GENERAL AUTHENTICATE with a private key, and Yubico's key commands."""

    def __init__(self, store: StateStore, session: Session) -> None:
        self._store = store
        self._session = session

    def use(self, command: Command, given: Mapping[int, bytes]) -> bytes:
        """GENERAL AUTHENTICATE: sign or raise 81, or agree on a secret with the point 85 (part 2, appendix A)."""
        key = self._store.state.keys.get(command.p2) if command.p2 in SLOTS else None
        if key is None or key.algorithm != command.p1:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        self._session.require_pin(PinPolicy(key.pin_policy))
        if given.get(RESPONSE) != b"" or len(given) != 2:
            raise ApduError(StatusWord.INCORRECT_DATA)
        private = private_keys.from_pkcs8(key.private)
        if CHALLENGE in given:
            answer = private_keys.respond(private, given[CHALLENGE])
        elif _EXPONENTIATION in given:
            answer = private_keys.agree(private, given[_EXPONENTIATION])
        else:
            raise ApduError(StatusWord.INCORRECT_DATA)
        return encode(TEMPLATE, encode(RESPONSE, answer))

    def generate(self, command: Command) -> bytes:
        """GENERATE ASYMMETRIC KEY PAIR: a new key in place of what was in the slot; returns its public key."""
        command.require(p1=0)
        self._session.require_management()
        if command.p2 not in SLOTS:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        try:
            given = fields(only(command.data, 0xAC))
        except TlvError:
            raise ApduError(StatusWord.INCORRECT_DATA) from None
        policy = _policies(given, command.p2)
        if not set(given) <= {_ALGORITHM, _PARAMETER} or len(given.get(_ALGORITHM, b"")) != 1:
            raise ApduError(StatusWord.INCORRECT_DATA)
        algorithm = given[_ALGORITHM][0]
        private = private_keys.generate(algorithm)
        self._keep(command.p2, algorithm, private, policy, Origin.GENERATED)
        return encode(0x7F49, private_keys.public_objects(private.public_key()))

    def import_key(self, command: Command) -> bytes:
        """IMPORT ASYMMETRIC KEY (Yubico): P1 algorithm, P2 slot, or F9 for a CA of one's own."""
        self._session.require_management()
        if command.p2 not in SLOTS | {ATTESTATION}:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        try:
            given = fields(command.data)
        except TlvError:
            raise ApduError(StatusWord.INCORRECT_DATA) from None
        policy = _policies(given, command.p2)
        private = private_keys.from_components(command.p1, given)
        self._keep(command.p2, command.p1, private, policy, Origin.IMPORTED)
        return b""

    def move(self, command: Command) -> bytes:
        """MOVE KEY (Yubico): from slot P2 into slot P1, which must be free; to FF deletes it."""
        command.without_data()
        self._session.require_management()
        keys = self._store.state.keys
        if command.p2 not in SLOTS or command.p1 not in SLOTS | {_DELETE}:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        if command.p2 not in keys:
            raise ApduError(StatusWord.REFERENCE_NOT_FOUND)
        if command.p1 in keys:
            raise ApduError(StatusWord.CONDITIONS_NOT_SATISFIED)
        key = keys.pop(command.p2)
        if command.p1 != _DELETE:
            keys[command.p1] = key
        self._store.save()
        return b""

    def metadata(self, command: Command) -> bytes:
        """GET METADATA (Yubico) of a key, PIN, PUK or the management key."""
        command.require(p1=0)
        command.without_data()
        state = self._store.state
        if command.p2 == PIN:
            return _reference_metadata(state.pin, DEFAULT_PIN)
        if command.p2 == PUK:
            return _reference_metadata(state.puk, DEFAULT_PUK)
        if command.p2 == MANAGEMENT:
            default = bytes([state.management.value == DEFAULT_KEY])
            head = encode(0x01, bytes([state.management.algorithm]))
            return head + encode(0x02, bytes([PinPolicy.DEFAULT, TOUCH_NEVER])) + encode(0x05, default)
        key = state.keys.get(command.p2)
        if key is None:
            raise ApduError(StatusWord.REFERENCE_NOT_FOUND)
        public = private_keys.public_objects(private_keys.from_pkcs8(key.private).public_key())
        return (
            encode(0x01, bytes([key.algorithm]))
            + encode(0x02, bytes([key.pin_policy, TOUCH_NEVER]))
            + encode(0x03, bytes([key.origin]))
            + encode(0x04, public)
        )

    def _keep(
        self, slot: int, algorithm: int, private: private_keys.PrivateKey, policy: PinPolicy, origin: Origin
    ) -> None:
        self._store.state.keys[slot] = StoredKey(algorithm, private_keys.to_pkcs8(private), policy, origin)
        self._store.save()


def _policies(given: dict[int, bytes], slot: int) -> PinPolicy:
    """Take the policies out of `given`; return when the PIN is wanted. Touch is refused: the card has no button."""
    pin = given.pop(_PIN_POLICY, bytes([PinPolicy.DEFAULT]))
    touch = given.pop(_TOUCH_POLICY, bytes([TOUCH_NEVER]))
    if len(pin) != 1 or pin[0] > PinPolicy.ALWAYS or touch not in (b"\x00", b"\x01"):
        raise ApduError(StatusWord.INCORRECT_DATA)
    if pin[0] != PinPolicy.DEFAULT:
        return PinPolicy(pin[0])
    # SP 800-73-4 part 1, table 4.
    return {SIGNATURE: PinPolicy.ALWAYS, CARD_AUTHENTICATION: PinPolicy.NEVER}.get(slot, PinPolicy.ONCE)


def _reference_metadata(reference: ReferenceData, default: bytes) -> bytes:
    return (
        encode(0x01, bytes([_NO_ALGORITHM]))
        + encode(0x05, bytes([reference.value == default]))
        + encode(0x06, bytes([reference.tries, reference.left]))
    )
