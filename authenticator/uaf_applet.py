"""The UAF authenticator as a card's applet (UAF APDU 1.1; digest section 7.1).

Of statuses the binding has a status word for, only that word is answered. Of all others, which a host that went by the
word alone would take for one unknown error, the whole TLV response is, with 9000: its status code tells.
"""

from fidoloop.authenticator.attestation import load_attestation
from fidoloop.authenticator.commands.key_handles import KeyHandles
from fidoloop.authenticator.commands.processor import CommandProcessor
from fidoloop.authenticator.commands.registry import CommandTag
from fidoloop.authenticator.commands.status_words import STATUS_WORDS
from fidoloop.authenticator.commands.user_verify_tokens import UserVerifyTokens
from fidoloop.authenticator.errors import CommandStatus, TamperedStateError
from fidoloop.authenticator.models import card_models
from fidoloop.authenticator.pin_tries import PinTries
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.uaf_authenticator import UafAuthenticator
from fidoloop.authenticator.user_keys import MadeKeys
from fidoloop.authenticator.user_verification import NotVerifiedHere
from fidoloop.hsm.errors import KeyStoreError, PinIncorrect, PinLocked
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord
from fidoloop.hsm.sim.card import Applet
from fidoloop.hsm.uaf_card import AID
from fidoloop.protocol.uaf.registry import AttestationType, UserVerification
from fidoloop.protocol.uaf.tlv import element

UAF_COMMAND, VERIFY, VERIFY_BIOMETRIC = 0x36, 0x20, 0x21
_PROPRIETARY = 0x80
_FIRST, _NEXT = 0x00, 0x01  # P2 of a UAF command
_NO_DIAGNOSIS = 0x6F00
_MAX_PIN_BYTES = 64


class UafApplet(Applet):
    """Roaming first-factor authenticators (models of kind 08) with their keys in a key store, behind the store's PIN.

    A VERIFY holds for one Register or Sign, for a short time, until the card is reset or another applet selected.
    """

    def __init__(
        self,
        store: KeyStore,
        state: AuthenticatorState,
        *,
        tokens: UserVerifyTokens | None = None,
        get_response: bool = True,
    ) -> None:
        """Open the token's models; without `get_response` long answers go the binding's own way (tag 2813).

        Raises:
            KeyStoreError: the token.
        """
        attestation = load_attestation(store)
        self._store = store
        self._tokens = tokens or UserVerifyTokens()
        self._tries = PinTries(state)
        self._get_response = get_response
        self._verified: bytes | None = None
        self._remaining = b""
        authenticators = [
            UafAuthenticator(model, MadeKeys(store), state, NotVerifiedHere(UserVerification.PASSCODE), attestation)
            for model in card_models(store.info())
            if attestation is not None or model.key_kind.attestation is not AttestationType.BASIC_FULL
        ]
        self._processor = CommandProcessor(authenticators, KeyHandles(state, roaming=True), tokens=self._tokens)

    @property
    def aid(self) -> bytes:
        """The AID of UAF authenticators."""
        return AID

    def select(self) -> bytes:
        """Answer nothing."""
        return b""

    def reset(self) -> None:
        """Forget that the user was verified, and what was not read of a long answer."""
        self._verified = None
        self._remaining = b""
        self._tokens.spend()

    def process(self, command: Command) -> bytes:
        """Do a UAF command or verify the user."""
        if command.ins == UAF_COMMAND and command.cla == _PROPRIETARY:
            return self._uaf_command(command)
        if command.ins == VERIFY:
            return self._verify(command)
        if command.ins == VERIFY_BIOMETRIC:
            raise ApduError(StatusWord.FUNCTION_NOT_SUPPORTED)
        raise ApduError(StatusWord.INSTRUCTION_NOT_SUPPORTED)

    def _uaf_command(self, command: Command) -> bytes:
        remaining, self._remaining = self._remaining, b""
        command.require(p1=0)
        most = command.ne or 0x100
        if command.p2 == _NEXT and remaining:
            self._remaining = remaining[most:]
            return remaining[:most]
        command.require(p2=_FIRST)
        status, response = self._processor.process(command.data, self._verified)
        if status is not CommandStatus.OK and status in STATUS_WORDS:
            raise ApduError(STATUS_WORDS[status])
        if self._get_response or len(response) <= most:
            return response
        self._remaining = response
        return element(CommandTag.TOTAL_LENGTH, len(response).to_bytes(2, "little"))

    def _verify(self, command: Command) -> bytes:
        """Check the PIN (7816-4, 7.5.6); CLA 80 is given the user-verify token, as an element to put into a command.

        Without data it only tells, as ISO wants it, how many tries are left, unless the user is verified.
        """
        command.require(p1=0, p2=0)
        if command.cla not in (0, _PROPRIETARY):
            raise ApduError(StatusWord.CLASS_NOT_SUPPORTED)
        try:
            if not command.data:
                return self._tell_verified()
            self._verified = None
            self._tokens.spend()
            self._check_pin(command.data)
        except (KeyStoreError, TamperedStateError):
            raise ApduError(_NO_DIAGNOSIS) from None
        token = self._tokens.issue(UserVerification.PASSCODE)
        if command.cla == _PROPRIETARY:
            return element(CommandTag.USERVERIFY_TOKEN, token)
        self._verified = token
        return b""

    def _tell_verified(self) -> bytes:
        if self._verified is None:
            raise self._wrong_pin()
        return b""

    def _wrong_pin(self) -> ApduError:
        remaining = self._tries.remaining()
        return ApduError(StatusWord.VERIFICATION_FAILED | remaining if remaining else StatusWord.AUTHENTICATION_BLOCKED)

    def _check_pin(self, pin: bytes) -> None:
        if len(pin) > _MAX_PIN_BYTES:
            raise ApduError(StatusWord.WRONG_LENGTH)
        if not self._tries.remaining():
            raise ApduError(StatusWord.AUTHENTICATION_BLOCKED)
        self._tries.take()
        try:
            self._store.verify_pin(pin.decode("utf-8"))
        except (PinIncorrect, UnicodeDecodeError):
            raise self._wrong_pin() from None
        except PinLocked:
            raise ApduError(StatusWord.AUTHENTICATION_BLOCKED) from None
        self._tries.restore()
