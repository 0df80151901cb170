"""authenticatorClientPIN (CTAP 2.1, section 6.5.5). The PIN is the authenticator's own.

CTAP delivers a hash of the PIN, which cannot unlock a token; the token's PIN opened the store.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

from fido2.ctap import CtapError
from fido2.ctap2.pin import ClientPin

from fidoloop.authenticator.ctap2.auth_token import Permission
from fidoloop.authenticator.ctap2.core import Core
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.limits import MAX_PIN_BYTES
from fidoloop.authenticator.ctap2.members import Members, optional, required, required_unsigned
from fidoloop.authenticator.ctap2.pin_protocols import PinUvAuthProtocol, SharedSecret
from fidoloop.authenticator.ctap2.state import PIN_RETRIES, UV_RETRIES
from fidoloop.authenticator.ctap2.verification import check_protocol, perform_built_in

Subcommand = ClientPin.CMD
Result = ClientPin.RESULT
_PROTOCOL, _SUBCOMMAND, _KEY_AGREEMENT, _AUTH, _NEW_PIN, _PIN_HASH = range(1, 7)
_PERMISSIONS, _RP_ID = 9, 10
_PADDED_PIN_BYTES: Final = 64
_PIN_HASH_BYTES: Final = 16
WRONG_IN_A_ROW: Final = 3
_LEGACY: Final = Permission.MAKE_CREDENTIAL | Permission.GET_ASSERTION
_ALLOWED: Final = _LEGACY | Permission.CREDENTIAL_MGMT | Permission.LARGE_BLOB_WRITE | Permission.AUTHENTICATOR_CFG
_KNOWN: Final = _ALLOWED | Permission.BIO_ENROLL


def client_pin(core: Core, members: Members) -> dict[int, Any]:
    """Do one subcommand. Raises CtapError; TamperedStateError."""
    number = required_unsigned(members, _SUBCOMMAND)
    subcommand = _SUBCOMMANDS.get(number)
    if subcommand is None or (number == Subcommand.GET_TOKEN_USING_UV and not core.interaction.verifies):
        raise CtapError(ERR.INVALID_SUBCOMMAND)
    return subcommand(core, members)


def _get_pin_retries(core: Core, _members: Members) -> dict[int, Any]:
    return {
        Result.PIN_RETRIES: core.state.settings.pin_retries,
        Result.POWER_CYCLE_STATE: core.wrong_pins_in_a_row >= WRONG_IN_A_ROW,
    }


def _get_uv_retries(core: Core, _members: Members) -> dict[int, Any]:
    if not core.interaction.verifies:
        raise CtapError(ERR.INVALID_SUBCOMMAND)
    return {Result.UV_RETRIES: core.state.settings.uv_retries}


def _get_key_agreement(core: Core, members: Members) -> dict[int, Any]:
    return {Result.KEY_AGREEMENT: _protocol(core, members).public_key()}


def _set_pin(core: Core, members: Members) -> dict[int, Any]:
    protocol = _protocol(core, members)
    peer = required(members, _KEY_AGREEMENT, dict)
    new_pin, auth = required(members, _NEW_PIN, bytes), required(members, _AUTH, bytes)
    if core.pin_set:
        raise CtapError(ERR.PIN_AUTH_INVALID)
    shared = protocol.decapsulate(peer)
    if not shared.verify(new_pin, auth):
        raise CtapError(ERR.PIN_AUTH_INVALID)
    _store_pin(core, shared, new_pin)
    return {}


def _change_pin(core: Core, members: Members) -> dict[int, Any]:
    protocol = _protocol(core, members)
    peer = required(members, _KEY_AGREEMENT, dict)
    pin_hash, new_pin = required(members, _PIN_HASH, bytes), required(members, _NEW_PIN, bytes)
    auth = required(members, _AUTH, bytes)
    _check_pin_usable(core)
    shared = protocol.decapsulate(peer)
    if not shared.verify(new_pin + pin_hash, auth):
        raise CtapError(ERR.PIN_AUTH_INVALID)
    _check_pin(core, protocol, shared, pin_hash)
    _store_pin(core, shared, new_pin)
    core.token.stop()
    return {}


def _get_pin_token(core: Core, members: Members) -> dict[int, Any]:
    """Subcommand getPinToken, of CTAP 2.0."""
    if _PERMISSIONS in members or _RP_ID in members:
        raise CtapError(ERR.INVALID_PARAMETER)
    shared, protocol = _check_pin_parameters(core, members)
    if core.state.settings.force_pin_change:
        raise CtapError(ERR.PIN_INVALID)
    return _token(core, protocol, shared, _LEGACY, None, user_present=False)


def _get_token_using_pin(core: Core, members: Members) -> dict[int, Any]:
    permissions, rp_id = _permissions(members)
    shared, protocol = _check_pin_parameters(core, members)
    if core.state.settings.force_pin_change:
        raise CtapError(ERR.PIN_POLICY_VIOLATION)
    return _token(core, protocol, shared, permissions, rp_id, user_present=False)


def _get_token_using_uv(core: Core, members: Members) -> dict[int, Any]:
    protocol = _protocol(core, members)
    peer = required(members, _KEY_AGREEMENT, dict)
    permissions, rp_id = _permissions(members)
    shared = protocol.decapsulate(peer)
    perform_built_in(core, "verification", rp_id or "")
    return _token(core, protocol, shared, permissions, rp_id, user_present=True)


_SUBCOMMANDS: Final[dict[int, Callable[[Core, Members], dict[int, Any]]]] = {
    Subcommand.GET_PIN_RETRIES: _get_pin_retries,
    Subcommand.GET_KEY_AGREEMENT: _get_key_agreement,
    Subcommand.SET_PIN: _set_pin,
    Subcommand.CHANGE_PIN: _change_pin,
    Subcommand.GET_TOKEN_USING_PIN_LEGACY: _get_pin_token,
    Subcommand.GET_TOKEN_USING_UV: _get_token_using_uv,
    Subcommand.GET_UV_RETRIES: _get_uv_retries,
    Subcommand.GET_TOKEN_USING_PIN: _get_token_using_pin,
}


def _protocol(core: Core, members: Members) -> PinUvAuthProtocol:
    return core.protocols[check_protocol(core, optional(members, _PROTOCOL, int))]


def _permissions(members: Members) -> tuple[Permission, str | None]:
    """Read permissions and their RP ID; permissions that nobody knows are left out."""
    asked = required_unsigned(members, _PERMISSIONS)
    rp_id = optional(members, _RP_ID, str)
    if asked == 0:
        raise CtapError(ERR.INVALID_PARAMETER)
    permissions = Permission(asked & _KNOWN)
    if permissions & ~_ALLOWED:
        raise CtapError(ERR.UNAUTHORIZED_PERMISSION)
    if permissions & _LEGACY and rp_id is None:
        raise CtapError(ERR.MISSING_PARAMETER)
    return permissions, rp_id


def _check_pin_parameters(core: Core, members: Members) -> tuple[SharedSecret, PinUvAuthProtocol]:
    protocol = _protocol(core, members)
    peer, pin_hash = required(members, _KEY_AGREEMENT, dict), required(members, _PIN_HASH, bytes)
    _check_pin_usable(core)
    shared = protocol.decapsulate(peer)
    _check_pin(core, protocol, shared, pin_hash)
    return shared, protocol


def _check_pin_usable(core: Core) -> None:
    if not core.pin_set:
        raise CtapError(ERR.PIN_NOT_SET)
    if not core.state.settings.pin_retries:
        raise CtapError(ERR.PIN_BLOCKED)
    if core.wrong_pins_in_a_row >= WRONG_IN_A_ROW:
        raise CtapError(ERR.PIN_AUTH_BLOCKED)


def _check_pin(core: Core, protocol: PinUvAuthProtocol, shared: SharedSecret, pin_hash_enc: bytes) -> None:
    """Hold the PIN's hash against the one set; a try is counted, on the disk, before it is looked at.

    Raises:
        CtapError: PIN_INVALID, PIN_AUTH_BLOCKED after three in a row, PIN_BLOCKED after eight.
    """
    settings = core.state.take_try("pin_retries")
    pin_hash = shared.decrypt(pin_hash_enc)
    expected = settings.pin or b""
    if pin_hash is not None and hmac.compare_digest(_pin_mac(core, pin_hash), expected):
        core.wrong_pins_in_a_row = 0
        core.state.update(pin_retries=PIN_RETRIES, uv_retries=UV_RETRIES)
        return
    protocol.regenerate()
    core.wrong_pins_in_a_row += 1
    if not settings.pin_retries:
        raise CtapError(ERR.PIN_BLOCKED)
    if core.wrong_pins_in_a_row >= WRONG_IN_A_ROW:
        raise CtapError(ERR.PIN_AUTH_BLOCKED)
    raise CtapError(ERR.PIN_INVALID)


def _store_pin(core: Core, shared: SharedSecret, new_pin_enc: bytes) -> None:
    padded = shared.decrypt(new_pin_enc)
    if padded is None or len(padded) != _PADDED_PIN_BYTES:
        raise CtapError(ERR.INVALID_PARAMETER)
    pin = padded.rstrip(b"\0")
    settings = core.state.settings
    try:
        length = len(pin.decode("utf-8"))
    except UnicodeDecodeError:
        raise CtapError(ERR.PIN_POLICY_VIOLATION) from None
    if length < settings.min_pin_length or len(pin) > MAX_PIN_BYTES:
        raise CtapError(ERR.PIN_POLICY_VIOLATION)
    mac = _pin_mac(core, hashlib.sha256(pin).digest()[:_PIN_HASH_BYTES])
    if settings.force_pin_change and settings.pin is not None and hmac.compare_digest(mac, settings.pin):
        raise CtapError(ERR.PIN_POLICY_VIOLATION)
    core.state.update(pin=mac, pin_length=length, pin_retries=PIN_RETRIES, force_pin_change=False)


def _pin_mac(core: Core, pin_hash: bytes) -> bytes:
    """Return what is stored of a PIN: a MAC of the hash, so that the file alone lets nobody try PINs."""
    return core.state.secret_mac("PIN", pin_hash)


def _token(
    core: Core,
    protocol: PinUvAuthProtocol,
    shared: SharedSecret,
    permissions: Permission,
    rp_id: str | None,
    *,
    user_present: bool,
) -> dict[int, Any]:
    token = core.token.begin(protocol.protocol, permissions, rp_id, user_present=user_present)
    return {Result.PIN_UV_TOKEN: shared.encrypt(token)}
