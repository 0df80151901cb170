"""authenticatorConfig (CTAP 2.1, section 6.11): toggleAlwaysUv, setMinPINLength."""

from typing import Any

from fido2.ctap import CtapError
from fido2.ctap2.config import Config

from fidoloop.authenticator.ctap2.auth_token import Permission
from fidoloop.authenticator.ctap2.core import Core
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.limits import MAX_PIN_BYTES, MAX_RP_IDS
from fidoloop.authenticator.ctap2.members import Members, encoded, optional, required_unsigned, typed, unsigned
from fidoloop.authenticator.ctap2.proofs import require_proof

Subcommand = Config.CMD
Parameter = Config.PARAM
_SUBCOMMAND, _PARAMETERS, _PROTOCOL, _AUTH = range(1, 5)
_COMMAND = 0x0D


def config(core: Core, members: Members) -> dict[int, Any]:
    """Do one subcommand. Raises CtapError; TamperedStateError."""
    number = required_unsigned(members, _SUBCOMMAND)
    parameters: dict[Any, Any] = optional(members, _PARAMETERS, dict) or {}
    if number not in (Subcommand.TOGGLE_ALWAYS_UV, Subcommand.SET_MIN_PIN_LENGTH):
        raise CtapError(ERR.INVALID_SUBCOMMAND)
    # Of the right type also where they are not wanted.
    optional(members, _AUTH, bytes)
    unsigned(members, _PROTOCOL)
    # Under alwaysUv only alwaysUv itself can be changed by whoever is not verified.
    if core.protected or (core.state.settings.always_uv and number != Subcommand.TOGGLE_ALWAYS_UV):
        message = b"\xff" * 32 + bytes((_COMMAND, number)) + encoded(members, _PARAMETERS)
        require_proof(
            core, members, protocol=_PROTOCOL, parameter=_AUTH, message=message, permission=Permission.AUTHENTICATOR_CFG
        )
    if number == Subcommand.TOGGLE_ALWAYS_UV:
        core.state.update(always_uv=not core.state.settings.always_uv)
    else:
        _set_min_pin_length(core, parameters)
    return {}


def _set_min_pin_length(core: Core, parameters: Members) -> None:
    settings = core.state.settings
    asked = unsigned(parameters, Parameter.NEW_MIN_PIN_LENGTH)
    rp_ids = optional(parameters, Parameter.MIN_PIN_LENGTH_RPIDS, list)
    force = bool(optional(parameters, Parameter.FORCE_CHANGE_PIN, bool))
    length = settings.min_pin_length if asked is None else asked
    if not settings.min_pin_length <= length <= MAX_PIN_BYTES:
        raise CtapError(ERR.PIN_POLICY_VIOLATION)
    if force and settings.pin is None:
        raise CtapError(ERR.PIN_NOT_SET)
    if rp_ids is not None and len(rp_ids) > MAX_RP_IDS:
        raise CtapError(ERR.KEY_STORE_FULL)
    changes: dict[str, object] = {"min_pin_length": length}
    if rp_ids is not None:
        changes["min_pin_rp_ids"] = tuple(typed(rp_id, str) for rp_id in rp_ids)
    if force or (settings.pin is not None and settings.pin_length < length):
        changes["force_pin_change"] = True
        core.token.stop()
    core.state.update(**changes)
