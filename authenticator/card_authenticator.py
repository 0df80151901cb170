"""The ASM's side of a UAF card: a roaming first factor behind the APDU binding.

UAF ASM API 1.1, 3; UAF APDU 1.1; digest sections 7.1 and 8.
"""

import hashlib
import struct
from collections.abc import Callable, Sequence

from fidoloop.authenticator.card_model import CardModel, read_card_models
from fidoloop.authenticator.commands.registry import Command, CommandTag
from fidoloop.authenticator.commands.status_words import status_of_word
from fidoloop.authenticator.displays import confirmation
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.authenticator.uaf_authenticator import Registered
from fidoloop.authenticator.user_verification import PIN_TRIES, VerificationRequest
from fidoloop.hsm.errors import DeviceError, PinIncorrect, PinLocked
from fidoloop.hsm.uaf_card import UafCard
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.algorithms import digest
from fidoloop.protocol.uaf.assertions import parse_registration_assertion
from fidoloop.protocol.uaf.registry import Tag
from fidoloop.protocol.uaf.tlv import Element, element, parse, sequence

AskPin = Callable[[VerificationRequest, int], str | None]
"""Returns the card's PIN as the user typed it, or None where he gave up; told how many tries are left here."""
Choose = Callable[[Sequence[str]], int | None]
_Elements = list[tuple[int, bytes]]
_CONTENT_FIELD = {False: int(CommandTag.TRANSACTION_CONTENT), True: int(Tag.TRANSACTION_CONTENT_HASH)}


class UafCardUser:
    """A card in its reader, and whoever knows its PIN."""

    def __init__(self, card: UafCard, ask: AskPin, choose: Choose) -> None:
        """Take the card, how its PIN is asked for, and how an account is chosen of several."""
        self._card = card
        self._ask = ask
        self.choose = choose

    def authenticators(self) -> list["CardAuthenticator"]:
        """Return the authenticators in the card. Raises KeyStoreError."""
        status, elements = self.tell(Command.GET_INFO, [])
        if status is not CommandStatus.OK:
            raise DeviceError(f"the card's GetInfo was answered {status.name}")
        try:
            models = read_card_models(elements)
        except MalformedError as error:
            raise DeviceError(f"the card's GetInfo: {error}") from None
        return [CardAuthenticator(model, self) for model in models]

    def tell(
        self, command: Command, elements: _Elements, pin: str | None = None
    ) -> tuple[CommandStatus, tuple[Element, ...]]:
        """Send a command; return its status and what the response holds beside it. Raises KeyStoreError."""
        answer = self._card.exchange(element(command, sequence(*elements)), pin=pin)
        if not answer.response:
            return status_of_word(answer.word), ()
        try:
            (outer,) = parse(answer.response)
            if isinstance(outer.value, bytes) or outer.tag != command + 0x200:
                raise MalformedError("$", "not the command's response")
            status, *rest = outer.value
            if status.tag != CommandTag.STATUS_CODE or not isinstance(status.value, bytes):
                raise MalformedError("$", "does not begin with a status")
            return CommandStatus(int.from_bytes(status.value, "little")), tuple(rest)
        except (MalformedError, ValueError) as error:
            raise DeviceError(f"the card's answer cannot be read: {error}") from None

    def tell_verified(
        self, command: Command, elements: _Elements, request: VerificationRequest
    ) -> tuple[tuple[Element, ...], str]:
        """Have the card verify the user and do a command; return what the response holds, and the PIN.

        Raises:
            AuthenticatorError: the user, or what the card answered; KeyStoreError.
        """
        for tries_left in range(PIN_TRIES, 0, -1):
            pin = self._ask(request, tries_left)
            if pin is None:
                raise AuthenticatorError(CommandStatus.USER_CANCELLED, "no PIN was given")
            try:
                status, found = self.tell(command, elements, pin)
            except PinIncorrect:
                continue
            except PinLocked:
                raise AuthenticatorError(CommandStatus.USER_LOCKOUT, "the card's PIN is locked") from None
            _check(status)
            return found, pin
        raise AuthenticatorError(CommandStatus.ACCESS_DENIED, f"{PIN_TRIES} wrong PINs")


class CardAuthenticator:
    """One authenticator in a card, with the same three operations as `UafAuthenticator`.

    It keeps its own keys: nothing of them is in the phone's file. Its access token is of the AppID alone, so that any
    host may use the keys that the user's PIN opens (ASM API 3.8, roaming).
    """

    def __init__(self, model: CardModel, user: UafCardUser) -> None:
        """Take what the card said of it."""
        self.model = model
        self.algorithm = model.algorithm
        self._user = user

    def register(
        self, *, app_id: str, username: str, final_challenge_hash: bytes, access_token: bytes, attestation_type: int
    ) -> Registered:
        """As `UafAuthenticator.register`; the token of a bound authenticator is not the card's."""
        del access_token
        elements: _Elements = [
            *self._beginning(app_id, final_challenge_hash),
            (CommandTag.USERNAME, username.encode()),
            (CommandTag.ATTESTATION_TYPE, struct.pack("<H", attestation_type)),
            (CommandTag.KEYHANDLE_ACCESS_TOKEN, _access_token(app_id)),
        ]
        request = VerificationRequest("registration", app_id, username)
        found, _ = self._user.tell_verified(Command.REGISTER, elements, request)
        assertion = _assertion(found)
        try:
            return Registered(parse_registration_assertion(assertion).key_id, assertion)
        except MalformedError as error:
            raise DeviceError(f"the card's assertion cannot be read: {error}") from None

    def sign(
        self,
        *,
        app_id: str,
        final_challenge_hash: bytes,
        access_token: bytes,
        key_ids: Sequence[bytes] | None,
        transaction: bytes | None = None,
    ) -> bytes:
        """As `UafAuthenticator.sign`; of several accounts the user chooses one, newest last."""
        del access_token
        content: _Elements = []
        request = VerificationRequest("authentication", app_id)
        if transaction is not None:
            # Where the card takes a hash, what it is of is shown here.
            request = confirmation(self.model, transaction, app_id=app_id, username=None)
            by_hash = self.model.takes_hash
            content = [(_CONTENT_FIELD[by_hash], digest(self.algorithm, transaction) if by_hash else transaction)]

        def elements(handles: Sequence[bytes]) -> _Elements:
            return [
                *self._beginning(app_id, final_challenge_hash),
                *content,
                (CommandTag.KEYHANDLE_ACCESS_TOKEN, _access_token(app_id)),
                *((int(CommandTag.KEYHANDLE), handle) for handle in handles),
            ]

        found, pin = self._user.tell_verified(Command.SIGN, elements(key_ids or ()), request)
        if found and found[0].tag == CommandTag.USERNAME_AND_KEYHANDLE:
            status, found = self._user.tell(Command.SIGN, elements([self._chosen(found)]), pin)
            _check(status)
        return _assertion(found)

    def holds(self, app_id: str) -> bool:
        """Tell whether the card has a key of the application: without the PIN it refuses, but otherwise than if not."""
        elements: _Elements = [
            *self._beginning(app_id, digest(self.algorithm, b"")),
            (CommandTag.KEYHANDLE_ACCESS_TOKEN, _access_token(app_id)),
        ]
        status, _ = self._user.tell(Command.SIGN, elements)
        return status in {CommandStatus.OK, CommandStatus.ACCESS_DENIED}

    def deregister(self, *, app_id: str | None, key_id: bytes | None, access_token: bytes) -> list[bytes]:
        """As `UafAuthenticator.deregister`; which keys went is known only where one was named."""
        del access_token
        app = app_id or ""
        elements: _Elements = [
            (CommandTag.AUTHENTICATOR_INDEX, bytes([self.model.index])),
            (CommandTag.APPID, app.encode()),
            (Tag.KEYID, key_id or b""),
            (CommandTag.KEYHANDLE_ACCESS_TOKEN, _access_token(app)),
        ]
        status, _ = self._user.tell(Command.DEREGISTER, elements)
        if status is CommandStatus.ACCESS_DENIED:
            return []  # not there, or not ours: which of them it does not tell
        _check(status)
        return [] if key_id is None else [key_id]

    def _beginning(self, app_id: str, final_challenge_hash: bytes) -> _Elements:
        return [
            (CommandTag.AUTHENTICATOR_INDEX, bytes([self.model.index])),
            (CommandTag.APPID, app_id.encode()),
            (Tag.FINAL_CHALLENGE_HASH, final_challenge_hash),
        ]

    def _chosen(self, found: Sequence[Element]) -> bytes:
        newest: dict[str, bytes] = {}
        for entry in found:
            values = {one.tag: one.value for one in entry.value if isinstance(one, Element)}
            username, handle = values.get(CommandTag.USERNAME), values.get(CommandTag.KEYHANDLE)
            if not isinstance(username, bytes) or not isinstance(handle, bytes):
                raise DeviceError("the card's list of accounts cannot be read")
            name = username.decode(errors="replace")
            newest.pop(name, None)
            newest[name] = handle
        usernames = list(newest)
        index = 0 if len(usernames) == 1 else self._user.choose(usernames)
        if index is None or not 0 <= index < len(usernames):
            raise AuthenticatorError(CommandStatus.USER_CANCELLED, "no account was chosen")
        return newest[usernames[index]]


def _access_token(app_id: str) -> bytes:
    return hashlib.sha256(app_id.encode()).digest()


def _assertion(found: Sequence[Element]) -> bytes:
    for one in found:
        if one.tag == CommandTag.AUTHENTICATOR_ASSERTION and isinstance(one.value, bytes):
            return one.value
    raise DeviceError("the card answered without an assertion")


def _check(status: CommandStatus) -> None:
    if status is not CommandStatus.OK:
        raise AuthenticatorError(status, "the card refused the command")
