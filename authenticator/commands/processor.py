"""Carries out authenticator commands given as bytes (UAF authenticator commands 1.1, 6.2; digest section 7).

The rules themselves are `UafAuthenticator`'s; here stand the elements, the key handles and the statuses.
"""

import struct
from collections.abc import Sequence
from typing import Final

from fidoloop.authenticator.commands.key_handles import KeyHandles
from fidoloop.authenticator.commands.reading import MAX_KEY_HANDLES, Parameters, read_command
from fidoloop.authenticator.commands.registry import API_VERSION, RESPONSE, AuthenticatorType, Command, CommandTag
from fidoloop.authenticator.commands.user_verify_tokens import UserVerifyTokens
from fidoloop.authenticator.errors import REFUSALS, AuthenticatorError, CommandStatus, command_status
from fidoloop.authenticator.state import Registration
from fidoloop.authenticator.uaf_authenticator import UafAuthenticator
from fidoloop.authenticator.user_verification import VerificationRequest
from fidoloop.protocol.uaf.messages import DisplayPngCharacteristics
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME, Tag, UserVerification
from fidoloop.protocol.uaf.tlv import element, sequence

_METADATA = struct.Struct("<HBIHHHH")
_PNG = struct.Struct("<IIBBBBB")
_TYPE = AuthenticatorType.HANDLES_INSIDE | AuthenticatorType.WANTS_APPID | AuthenticatorType.USER_ENROLLED


class CommandProcessor:
    """Several authenticators behind one door; AUTHENTICATOR_INDEX is their place in the sequence.

    They are bound or (as `handles` says) roaming. Every answer begins with a status code.
    """

    def __init__(
        self,
        authenticators: Sequence[UafAuthenticator],
        handles: KeyHandles,
        *,
        tokens: UserVerifyTokens | None = None,
    ) -> None:
        """Take at most 256 authenticators of one state; without `tokens` no user-verify token is accepted."""
        self._authenticators: Final = tuple(authenticators)
        self._handles = handles
        self._tokens = tokens
        self._roaming = AuthenticatorType.ROAMING if handles.roaming else AuthenticatorType.OWN_VERIFICATION_UI

    def process(self, command: bytes, token: bytes | None = None) -> tuple[CommandStatus, bytes]:
        """Do a command; return its status and the whole response, which begins with that status too.

        `token` is the user-verify token of commands that bring none of their own.
        """
        try:
            status, elements = CommandStatus.OK, self._respond(read_command(command), token)
        except REFUSALS as error:
            status, elements = command_status(error), b""
        tag = RESPONSE | (command[0] if command else 0)
        return status, element(tag, element(CommandTag.STATUS_CODE, struct.pack("<H", status)) + elements)

    def _respond(self, parameters: Parameters, token: bytes | None) -> bytes:
        if parameters.command is Command.GET_INFO:
            return self._get_info()
        authenticator = self._authenticator(parameters)
        if parameters.command is Command.REGISTER:
            return self._register(authenticator, parameters, token)
        if parameters.command is Command.SIGN:
            return self._sign(authenticator, parameters, token)
        if parameters.command is Command.DEREGISTER:
            return self._deregister(authenticator, parameters)
        raise AuthenticatorError(CommandStatus.CMD_NOT_SUPPORTED, "there are no settings to open")

    def _authenticator(self, parameters: Parameters) -> UafAuthenticator:
        index = parameters.number(CommandTag.AUTHENTICATOR_INDEX)
        if index >= len(self._authenticators):
            raise AuthenticatorError(CommandStatus.PARAMS_INVALID, f"no authenticator {index}")
        return self._authenticators[index]

    def _get_info(self) -> bytes:
        infos = [self._info(index, authenticator) for index, authenticator in enumerate(self._authenticators)]
        return element(CommandTag.API_VERSION, bytes([API_VERSION])) + b"".join(infos)

    def _info(self, index: int, authenticator: UafAuthenticator) -> bytes:
        model = authenticator.model
        kind = _TYPE | self._roaming
        if self._tokens is not None:
            kind |= AuthenticatorType.USER_VERIFY_TOKEN
        if model.is_second_factor:
            kind |= AuthenticatorType.SECOND_FACTOR
        if model.takes_hash:
            kind |= AuthenticatorType.TRANSACTION_HASH_ONLY
        metadata = _METADATA.pack(
            kind,
            MAX_KEY_HANDLES,
            model.verification,
            model.key_protection,
            model.matcher_protection,
            model.tc_display,
            model.key_kind.algorithm,
        )
        elements: list[tuple[int, bytes]] = [
            (CommandTag.AUTHENTICATOR_INDEX, bytes([index])),
            (Tag.AAID, model.aaid.encode("ascii")),
            (CommandTag.AUTHENTICATOR_METADATA, metadata),
        ]
        if model.tc_display_content_type:
            elements.append((CommandTag.TC_DISPLAY_CONTENT_TYPE, model.tc_display_content_type.encode("ascii")))
        elements += [(CommandTag.TC_DISPLAY_PNG_CHARACTERISTICS, _png(image)) for image in model.images or ()]
        elements += [
            (CommandTag.ASSERTION_SCHEME, ASSERTION_SCHEME.encode("ascii")),
            (CommandTag.ATTESTATION_TYPE, struct.pack("<H", model.key_kind.attestation)),
        ]
        return element(CommandTag.AUTHENTICATOR_INFO, sequence(*elements))

    def _register(self, authenticator: UafAuthenticator, parameters: Parameters, token: bytes | None) -> bytes:
        registered = authenticator.register(
            app_id=parameters.text(CommandTag.APPID),
            username=parameters.text(CommandTag.USERNAME),
            final_challenge_hash=parameters.required(Tag.FINAL_CHALLENGE_HASH),
            access_token=parameters.required(CommandTag.KEYHANDLE_ACCESS_TOKEN),
            attestation_type=parameters.number(CommandTag.ATTESTATION_TYPE),
            verified=self._verified(parameters, token),
        )
        self._spend()
        assertion = element(CommandTag.AUTHENTICATOR_ASSERTION, registered.assertion)
        if self._handles.roaming:
            return assertion
        handle = self._handles.wrap(authenticator.model.aaid, registered.key_id)
        return assertion + element(CommandTag.KEYHANDLE, handle)

    def _sign(self, authenticator: UafAuthenticator, parameters: Parameters, token: bytes | None) -> bytes:
        app_id = parameters.text(CommandTag.APPID)
        content = parameters.bytes_of(CommandTag.TRANSACTION_CONTENT)
        content_hash = parameters.bytes_of(Tag.TRANSACTION_CONTENT_HASH) or b""
        if content_hash and (content is not None or not authenticator.model.takes_hash):
            raise AuthenticatorError(CommandStatus.PARAMS_INVALID, "a transaction is shown, its hash is not enough")
        challenge_hash = parameters.required(Tag.FINAL_CHALLENGE_HASH)
        authenticator.check_hash(challenge_hash)
        verified = self._verified(parameters, token)
        key_ids = self._key_ids(authenticator, parameters)
        held = authenticator.candidates(app_id, parameters.required(CommandTag.KEYHANDLE_ACCESS_TOKEN), key_ids)
        if authenticator.model.is_second_factor:
            held = [authenticator.first_named(held, key_ids)]
        if len(held) > 1:
            # Usernames are not for somebody who was not verified.
            authenticator.verify_user(VerificationRequest("authentication", app_id), verified)
            return b"".join(self._username_and_handle(authenticator, entry) for entry in held[-MAX_KEY_HANDLES:])
        assertion = authenticator.sign_with(held[0], challenge_hash, content, verified, content_hash=content_hash)
        self._spend()
        return element(CommandTag.AUTHENTICATOR_ASSERTION, assertion)

    def _key_ids(self, authenticator: UafAuthenticator, parameters: Parameters) -> list[bytes] | None:
        """Return the KeyIDs in the handles given; None, which means all, where a roaming one is given none."""
        handles = parameters.values.get(CommandTag.KEYHANDLE, ())
        if self._handles.roaming and not handles:
            return None
        found = [self._handles.unwrap(authenticator.model.aaid, handle) for handle in handles]
        return [key_id for key_id in found if key_id is not None]

    def _username_and_handle(self, authenticator: UafAuthenticator, entry: Registration) -> bytes:
        inner = sequence(
            (CommandTag.USERNAME, entry.username.encode("utf-8")),
            (CommandTag.KEYHANDLE, self._handles.wrap(authenticator.model.aaid, entry.key_id)),
        )
        return element(CommandTag.USERNAME_AND_KEYHANDLE, inner)

    def _deregister(self, authenticator: UafAuthenticator, parameters: Parameters) -> bytes:
        app_id = parameters.text(CommandTag.APPID) if CommandTag.APPID in parameters.values else None
        key_id = parameters.required(Tag.KEYID) or None
        access_token = parameters.required(CommandTag.KEYHANDLE_ACCESS_TOKEN)
        gone = authenticator.deregister(app_id=app_id, key_id=key_id, access_token=access_token)
        if key_id is not None and not gone:
            # As for a key of another caller: whether there is such a key is nobody's business.
            raise AuthenticatorError(CommandStatus.ACCESS_DENIED, "no such key is registered here for this caller")
        return b""

    def _verified(self, parameters: Parameters, token: bytes | None) -> UserVerification | None:
        given = parameters.bytes_of(CommandTag.USERVERIFY_TOKEN) or token
        if given is None:
            return None
        if self._tokens is None:
            raise AuthenticatorError(CommandStatus.PARAMS_INVALID, "user-verify tokens are not supported")
        return self._tokens.verification(given)

    def _spend(self) -> None:
        if self._tokens is not None:
            self._tokens.spend()


def _png(image: DisplayPngCharacteristics) -> bytes:
    return _PNG.pack(
        image.width, image.height, image.bitDepth, image.colorType, image.compression, image.filter, image.interlace
    )
